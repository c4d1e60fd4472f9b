"""Episodes per minute: sekft against the plain loop and against transformers' continuous batching.

All three let the same base act in the same worlds, greedily and with the same limits: six commands
in an episode, of at most 16 tokens each (a trained adapter's commands have five on average; a base
rambles on to any limit). The longer an episode, the more the peers lose by its history: the demo
allows twelve commands, and six are done with within minutes. The peers are given what sekft has: a
loaded model, ready worlds, no bookkeeping.

sekft: the product's own loop. Its seconds are told apart: feeding new ids, decode steps, the rest,
    and, beside these, what the worlds took on their own threads.
plain: one episode at a time; each turn renders the whole history and calls ``model.generate``.
continuous: all episodes at once; each turn gives the whole histories of the live ones to
    ``model.generate_batch`` with a persistent manager (its paged cache and block sharing).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from benchmarks.shared.given import held_out
from benchmarks.shared.report import arguments, run_main, tell
from sekft_engine.data.scenario import Scenario
from sekft_engine.episodes.command_turn import CommandTurn
from sekft_engine.episodes.episode import Episode, FinishedEpisode
from sekft_engine.model.kernels.packed_linear import PackedLinears
from sekft_engine.model.resident import ResidentBase
from sekft_engine.operators.decode import BatchedDecoder
from sekft_engine.operators.operator import ModelOperator
from sekft_engine.operators.runner import run_episodes
from sekft_engine.worlds import open_world

Commands = dict[str, list[str]]


class TimedEpisode(Episode):
    """Adds up what its world takes, in ``spent``."""

    spent: ClassVar[Counter[str]] = Counter()

    def open(self) -> str | None:
        with timed(self.spent, "world start"):
            return super().open()

    def type(self, said: CommandTurn) -> str | None:
        with timed(self.spent, "world commands"):
            return super().type(said)

    def finish(self) -> FinishedEpisode:
        with timed(self.spent, "world verdict and end"):
            return super().finish()


class TimedDecoder(BatchedDecoder):
    """Adds up what feeding and decoding take, in ``spent``."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.spent: Counter[str] = Counter()

    def _prefill(self, keys: list[str]) -> dict[str, Any]:
        with timed(self.spent, "feeding new ids"):
            return super()._prefill(keys)

    def _advance(self, keys: Sequence[str]) -> dict[str, Any]:
        with timed(self.spent, "decode steps"):
            return super()._advance(keys)


@contextlib.contextmanager
def timed(spent: Counter[str], what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    spent[what] += time.perf_counter() - began  # type: ignore[assignment]


def episodes(scenarios: Sequence[Scenario], options: argparse.Namespace) -> list[Episode]:
    return [
        TimedEpisode(scenario, "base", step_cap=options.step_cap, open_world=open_world)
        for scenario in scenarios
    ]


def sekft(
    base: ResidentBase, scenarios: Sequence[Scenario], options: argparse.Namespace
) -> Commands:
    """The product's own loop."""
    decoder = TimedDecoder(
        base.model,
        stop_ids=sorted(base.tokenizer.end_of_turn_ids),
        kernels=PackedLinears(base.model),
    )
    operator = ModelOperator(decoder, base.tokenizer, turn_tokens=options.turn_tokens, context=4096)
    done: Commands = {}

    def keep(episode: Episode, _finished: FinishedEpisode) -> None:
        done[episode.key] = commands_of(episode)

    run_episodes(episodes(scenarios, options), operator, rows=len(scenarios), on_done=keep)
    TimedEpisode.spent.update(decoder.spent)
    return done


class Plain:
    """Renders and encodes the whole history at each turn."""

    def __init__(self, base: ResidentBase, turn_tokens: int) -> None:
        from transformers import AutoTokenizer, GenerationConfig

        self.model = base.model
        self.tokenizer = AutoTokenizer.from_pretrained(base.path, local_files_only=True)
        stop = base.tokenizer.end_of_turn_id
        self.config = GenerationConfig(
            max_new_tokens=turn_tokens, do_sample=False, eos_token_id=stop, pad_token_id=stop
        )

    def prompt(self, episode: Episode) -> list[int]:
        messages = [{"role": turn.role, "content": turn.content} for turn in episode.turns]
        ids: list[int] = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
        return ids

    def text(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))


def plain(
    base: ResidentBase, scenarios: Sequence[Scenario], options: argparse.Namespace
) -> Commands:
    """One episode after another."""
    import torch

    operator = Plain(base, options.turn_tokens)
    done: Commands = {}
    for episode in episodes(scenarios, options):
        shown = episode.open()
        while shown is not None:
            prompt = operator.prompt(episode)
            with torch.inference_mode():
                out = operator.model.generate(
                    torch.tensor([prompt], device=base.device), generation_config=operator.config
                )
            shown = episode.type(CommandTurn(text=operator.text(out[0, len(prompt) :].tolist())))
        episode.finish()
        done[episode.key] = commands_of(episode)
    return done


def continuous(
    base: ResidentBase, scenarios: Sequence[Scenario], options: argparse.Namespace
) -> Commands:
    """All episodes at once, each turn through continuous batching."""
    operator = Plain(base, options.turn_tokens)
    live = episodes(scenarios, options)
    done: Commands = {}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(Episode.open, live))
        while live:
            answers = operator.model.generate_batch(
                [operator.prompt(episode) for episode in live],
                generation_config=operator.config,
                persistent_manager=True,
                warmup=False,
            )
            ordered = sorted(answers.values(), key=lambda one: int(one.request_id.split("_")[-1]))
            said = [CommandTurn(text=operator.text(one.generated_tokens)) for one in ordered]
            shown = list(pool.map(Episode.type, live, said))
            for episode, answer in zip(live, shown, strict=True):
                if answer is None:
                    episode.finish()
                    done[episode.key] = commands_of(episode)
            live = [one for one, answer in zip(live, shown, strict=True) if answer is not None]
    return done


def commands_of(episode: Episode) -> list[str]:
    return [turn.content for turn in episode.turns if turn.is_command]


PEERS = ("plain", "continuous")
LOOPS: Mapping[str, Callable[[ResidentBase, Sequence[Scenario], argparse.Namespace], Commands]] = {
    "sekft": sekft,
    "plain": plain,
    "continuous": continuous,
}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Time each loop once on the same worlds, after a short warm-up of the model."""
    scenarios = held_out(options.n)
    base = ResidentBase.load(options.base)
    warm = argparse.Namespace(step_cap=1, turn_tokens=4)
    sekft(base, scenarios[:2], warm)
    result: dict[str, Any] = {"n": len(scenarios), **vars(options), "loops": {}}
    typed: dict[str, Commands] = {}
    for name in ("sekft", *options.peers):
        TimedEpisode.spent.clear()
        began, used = time.perf_counter(), sum(os.times()[:4])
        typed[name] = LOOPS[name](base, scenarios, options)
        seconds = time.perf_counter() - began
        result["loops"][name] = {
            "seconds": round(seconds, 2),
            "cpu_seconds": round(sum(os.times()[:4]) - used, 2),
            "episodes_per_minute": round(60 * len(scenarios) / seconds, 2),
            "same_commands": sum(typed[name][key] == typed["sekft"][key] for key in typed["sekft"]),
            "of_these": {what: round(took, 2) for what, took in TimedEpisode.spent.items()},
        }
    loops = result["loops"]
    for peer in options.peers:
        result[f"ratio_{peer}"] = round(loops[peer]["seconds"] / loops["sekft"]["seconds"], 2)
    return result


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--n", type=int, default=16, help="episodes")
    parser.add_argument("--step-cap", type=int, default=6, help="commands in an episode")
    parser.add_argument("--turn-tokens", type=int, default=16, help="tokens in a command")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    options = parser.parse_args()
    tell(measure(options), show, as_json=options.json)


def show(result: dict[str, Any]) -> None:
    print(
        f"{result['n']} episodes of at most {result['step_cap']} commands "
        f"of {result['turn_tokens']} tokens"
    )
    heads = ("seconds", "of a core", "episodes/min", "same commands", "ratio")
    print(f"{'':12}{heads[0]:>9}{heads[1]:>11}{heads[2]:>14}{heads[3]:>15}{heads[4]:>8}")
    for name, loop in result["loops"].items():
        ratio = result.get(f"ratio_{name}", 1.0)
        print(
            f"{name:12}{loop['seconds']:>9.1f}{loop['cpu_seconds']:>11.1f}"
            f"{loop['episodes_per_minute']:>14.1f}"
            f"{loop['same_commands']:>12}/{result['n']:<2}{ratio:>8.2f}"
        )
    print("sekft's seconds (worlds: on their own threads, all together)")
    for what, took in sorted(result["loops"]["sekft"]["of_these"].items()):
        print(f"  {what:24}{took:>8.1f}")


if __name__ == "__main__":
    run_main(main)
