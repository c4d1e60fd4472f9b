"""Render, mask and certify sessions, against the two usual ways, on the same data in one run.

    python benchmarks/render.py [--sessions 1500] [--traced] [--json]

``prefix`` is the plain way: `apply_chat_template` of transformers for each growing beginning of
the session, labels by difference. ``trl`` is what TRL's trainer does to prepare an assistant-only
loss: `SFTTrainer._prepare_dataset` on a `datasets.Dataset`, in one process and in as many as there
are cores; the faster of the two counts as ``ratio_trl``. ``trl, inner`` is the function that it
calls for each example, without the data set around it: a lower bound that nobody trains with,
told as ``ratio_trl_inner``. Neither of them checks anything, while ``sekft`` certifies each row
and holds more of it (turns, places in the text). ``kept`` and ``found`` are the cache of rows.

``traced`` is what tracing the template gains (see docs/render.md), in seconds of processor time: to
build a session with the proof from traced runs, and with each prompt rendered and compared; the
first session of its length, and later ones.

The base is SmolLM2-135M-Instruct (ChatML). All three train the command and its `<|im_end|>`, and
the labels are compared, token by token; for that TRL is given the base's template with
`{% generation %}` around just that. (TRL's own training templates for ChatML train the line break
behind `<|im_end|>` as well, which no model is asked to write: one token more per command.)

The sessions are those of the factory: its scenarios' commands, with outputs drawn by a seed, since
no sandbox is needed then. Times are the best of several turns that the ways take one after the
other, so that other work on the machine hits all of them alike.
"""

from __future__ import annotations

import logging
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.shared.report import arguments, run_main, tell

#: Lines that a shell shows; {w} is a word and {n} a number.
_LINES = (
    "total {n}",
    "drwxr-xr-x  2 root root  {n} Jan  1 00:00 {w}",
    "-rw-r--r--  1 user user   {n} Jan  1 00:00 {w}.txt",
    "{w}: unknown topic, try '{w} --help'",
    "  {w}  FILE   count the lines of FILE",
    "{w}: {n} entrées, 0 errors",
    "Put {w}/{w}.list backwards, line by line, into {w}/rope.txt",
    "grep: /var/log/{w}: Permission denied",
    "{n} 17 0.25 2026-11-23T06:44:11Z {w}@box",
)
Labels = list[tuple[list[int], list[int]]]


def lines(chance: random.Random, count: int) -> list[str]:
    """Output of a shell, hardly a line of it twice."""
    return [
        line.format(w="".join(chance.choices("aeioubdgklmnprst", k=6)), n=chance.randrange(10**5))
        for line in chance.choices(_LINES, k=count)
    ]


def sessions(count: int, seed: int = 1) -> list[Any]:
    """Trajectories with the commands of the factory's scenarios."""
    from sekft_engine.data.trajectory import Trajectory, Turn
    from sekft_engine.factory.compose import compose
    from sekft_engine.factory.splits import specs

    chance = random.Random(seed)
    solutions = [compose(spec).reference_solution for spec in specs("train", 400, seed)]
    out = []
    for number in range(count):
        turns = []
        for command in solutions[number % len(solutions)]:
            shown = "\n".join((*lines(chance, chance.choice((0, 1, 1, 2, 3, 6))), "user@box:~$"))
            turns += [Turn(role="user", content=shown), Turn(role="assistant", content=command)]
        out.append(Trajectory(id=f"s{number}", turns=tuple(turns)))
    return out


def long_session(turns: int) -> Any:
    from sekft_engine.data.trajectory import Trajectory, Turn

    chance = random.Random(turns)
    return Trajectory(
        id=f"long-{turns}",
        turns=tuple(
            Turn(role="assistant", content=f"cat notes-{n}.txt")
            if n % 2
            else Turn(role="user", content="\n".join((*lines(chance, 7), "user@box:~$")))
            for n in range(turns)
        ),
    )


# --- the ways ------------------------------------------------------------------------------------


def sekft(trajectories: Sequence[Any], tokenizer: Any) -> Labels:
    from sekft_engine.render import Row, build_rows

    rows = (row for row in build_rows(trajectories, tokenizer) if isinstance(row, Row))
    return [(row.ids, row.labels) for row in rows]  # type: ignore[misc]


def cached(trajectories: Sequence[Any], tokenizer: Any, folder: Path) -> int:
    from sekft_engine.render import Row
    from sekft_engine.render.bulk.cache import cached_rows

    rows = cached_rows(trajectories, tokenizer, folder=folder)
    return sum(row.trained_tokens for row in rows if isinstance(row, Row))


def prefix(chats: Sequence[list[dict[str, str]]], tokenizer: Any) -> Labels:
    """Tokens that appear with a command's turn are trained, up to its end-of-turn token."""
    out = []
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    for chat in chats:
        ids = _template_ids(tokenizer, chat)
        labels = [-100] * len(ids)
        for turn in range(1, len(chat), 2):
            before = _template_ids(tokenizer, chat[:turn], add_generation_prompt=True)
            after = _template_ids(tokenizer, chat[: turn + 1])
            if ids[: len(before)] != before or ids[: len(after)] != after:
                raise SystemExit("the template is not additive")
            stop = max(n for n in range(len(before), len(after)) if after[n] == end) + 1
            labels[len(before) : stop] = ids[len(before) : stop]
        out.append((ids, labels))
    return out


def _template_ids(tokenizer: Any, chat: list[dict[str, str]], **named: Any) -> list[int]:
    ids: list[int] = tokenizer.apply_chat_template(chat, return_dict=False, **named)
    return ids


def trl_inner(chats: Sequence[list[dict[str, str]]], tokenizer: Any, template: str) -> Labels:
    """What TRL calls per example, and how it makes labels of it."""
    from trl.trainer.sft_trainer import _tokenize

    out = []
    for chat in chats:
        found = _tokenize(
            tokenizer,
            chat,
            return_assistant_tokens_mask=True,
            chat_template=template,
            tools=None,
        )
        ids, mask = found["input_ids"], found["assistant_masks"]
        if 1 not in mask:
            raise SystemExit("TRL found nothing to train")
        labels = [one if bit else -100 for one, bit in zip(ids, mask, strict=False)]
        out.append((ids, labels))
    return out


class Trl:
    """TRL's trainer as far as it prepares a data set: no model is needed for that."""

    def __init__(self, tokenizer: Any, template: str, folder: Path) -> None:
        from trl import SFTConfig, SFTTrainer

        self._tokenizer = tokenizer
        self._trainer: Any = object.__new__(SFTTrainer)
        self._trainer.chat_template = template
        self._trainer.completion_only_loss = False
        self._config: Any = SFTConfig(
            output_dir=str(folder),
            assistant_only_loss=True,
            max_length=None,
            shuffle_dataset=False,
            use_cpu=True,
            bf16=False,
            report_to=[],
        )

    def prepare(self, chats: Sequence[list[dict[str, str]]], processes: int | None) -> Any:
        from datasets import Dataset

        data = Dataset.from_dict({"messages": list(chats)})
        self._config.dataset_num_proc = processes
        # What its constructor calls.
        return self._trainer._prepare_dataset(  # noqa: SLF001
            data, self._tokenizer, self._config, False, None, "train"
        )


# --- measuring -----------------------------------------------------------------------------------


def best(ways: dict[str, Callable[[], object]], turns: dict[str, int]) -> dict[str, float]:
    """Seconds of each way: the best of so many, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(max(turns.values())):
        for name, way in ways.items():
            if number < turns[name]:
                start = time.perf_counter()
                way()
                times[name].append(time.perf_counter() - start)
    return {name: min(some) for name, some in times.items()}


def compare(count: int, folder: Path) -> dict[str, Any]:
    from transformers import AutoTokenizer

    from sekft_engine.bases import add_base, cache_root
    from sekft_engine.render import ChatTokenizer

    base = Path(add_base("smollm2-135m", cache_root()).base.path)
    ours, theirs = ChatTokenizer.load(base), AutoTokenizer.from_pretrained(str(base))
    template = _with_markers(theirs.chat_template)
    trajectories = sessions(count)
    chats = [
        [{"role": turn.role, "content": turn.content} for turn in one.turns] for one in trajectories
    ]
    trl = Trl(theirs, template, folder)
    few = max(1, count // 5)
    equal_prefix = _same(sekft(trajectories[:few], ours), prefix(chats[:few], theirs))
    equal_trl = _same(sekft(trajectories, ours), trl_inner(chats, theirs, template))
    prepared = trl.prepare(chats[:few], None)
    pairs = list(zip(prepared["input_ids"], prepared["labels"], strict=True))
    equal_trainer = _same(sekft(trajectories[:few], ours), pairs)
    cores = len(os.sched_getaffinity(0))
    rows = folder / "rows"
    fresh = (folder / f"fresh{n}" for n in range(100))
    seconds = best(
        {
            "sekft": lambda: sekft(trajectories, ours),
            "sekft, and kept": lambda: cached(trajectories, ours, next(fresh)),
            "sekft, found": lambda: cached(trajectories, ours, rows),
            "prefix": lambda: prefix(chats[:few], theirs),
            "trl, inner": lambda: trl_inner(chats, theirs, template),
            "trl": lambda: trl.prepare(chats, None),
            f"trl, {cores} processes": lambda: trl.prepare(chats, cores),
        },
        {"sekft": 6, "sekft, and kept": 3, "sekft, found": 6, "prefix": 3}
        | {"trl, inner": 4, "trl": 4, f"trl, {cores} processes": 3},
    )
    # The slowest way goes through a part of the data.
    seconds["prefix"] *= count / few
    tokens = sum(len(ids) for ids, _ in sekft(trajectories, ours))
    trainer = min(seconds["trl"], seconds[f"trl, {cores} processes"])
    return {
        "sessions": count,
        "turns": sum(len(chat) for chat in chats) / count,
        "tokens": tokens,
        "cores": cores,
        "labels_equal": {
            "prefix": equal_prefix,
            "trl, inner": equal_trl,
            "trl": equal_trainer,
        },
        "per_second": {name: count / value for name, value in seconds.items()},
        "tokens_per_second": {name: tokens / value for name, value in seconds.items()},
        "ratio_prefix": seconds["prefix"] / seconds["sekft"],
        "ratio_trl": trainer / seconds["sekft"],
        "ratio_trl_inner": seconds["trl, inner"] / seconds["sekft"],
        "ratio_found": seconds["sekft"] / seconds["sekft, found"],
        "long": list(_long(ours, theirs)),
        "traced": list(traced(ours)),
    }


def _with_markers(template: str) -> str:
    """The base's template with TRL's markers around what is trained."""
    before = "message['content'] + '<|im_end|>' + '\n'}}"
    if before not in template:
        raise SystemExit("the base's template is another one")
    after = "''}}{% if message['role'] == 'assistant' %}{% generation %}"
    after += "{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    after += "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n'}}"
    return template.replace(before, after)


def _same(ours: Labels, theirs: Labels) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return all(list(a) == list(c) and list(b) == list(d) for (a, b), (c, d) in pairs)


def _long(ours: Any, theirs: Any) -> Iterator[dict[str, float]]:
    """Sessions of growing length: the first under a template, later ones, and the plain way."""
    from sekft_engine.render import Row, build_row

    for turns in (10, 100, 1_000, 10_000):
        one = long_session(turns)
        anew = ours.with_template(ours.template.source)
        start = time.perf_counter()
        row = build_row(one, anew)
        first = time.perf_counter() - start
        if not isinstance(row, Row):
            raise SystemExit(f"dropped: {row.reason}")
        again = best({"again": lambda: build_row(one, anew)}, {"again": 3})["again"]  # noqa: B023
        out = {"turns": turns, "tokens": len(row), "first": first, "again": again}
        if turns <= 100:
            chat = [{"role": turn.role, "content": turn.content} for turn in one.turns]
            start = time.perf_counter()
            prefix([chat], theirs)
            out["prefix"] = time.perf_counter() - start
        yield out


def traced(tokenizer: Any) -> Iterator[dict[str, float]]:
    """Sessions of growing length, proven by a traced template and compared prompt by prompt."""
    from sekft_engine.render import build_row

    def seconds(session: Any, proven: bool) -> tuple[float, float]:
        """Of the first session of its length under a new template, and the least of three more."""
        anew = tokenizer.with_template(tokenizer.template.source)
        if not proven:
            anew.distrust()
        times = []
        for _ in range(4):
            start = time.process_time()
            build_row(session, anew)
            times.append(time.process_time() - start)
        return times[0], min(times[1:])

    for turns in (10, 30, 100, 300, 1000):
        session = long_session(turns)
        rounds = [(seconds(session, True), seconds(session, False)) for _ in range(3)]
        out: dict[str, float] = {"turns": turns}
        for number, which in enumerate(("first", "later")):
            out[f"{which}_proven"] = min(proven[number] for proven, _ in rounds)
            out[f"{which}_compared"] = min(compared[number] for _, compared in rounds)
            out[f"{which}_ratio"] = out[f"{which}_compared"] / out[f"{which}_proven"]
        yield out


def show(found: dict[str, Any]) -> None:
    print(
        f"{found['sessions']} sessions of {found['turns']:.1f} turns and "
        f"{found['tokens'] / found['sessions']:.0f} tokens, {found['cores']} cores"
    )
    print(f"\n{'way':<22}{'sessions/s':>12}{'tokens/s':>12}{'sekft is':>12}")
    mine = found["per_second"]["sekft"]
    for name, rate in found["per_second"].items():
        tokens = found["tokens_per_second"][name]
        print(f"{name:<22}{rate:>12,.0f}{tokens:>12,.0f}{mine / rate:>11.1f}x")
    for name, same in found["labels_equal"].items():
        print(f"labels equal to those of {name}: {'yes, all' if same else 'NO'}")
    print(
        f"\n{'turns':>8}{'tokens':>11}{'first s':>10}{'then s':>10}{'µs/turn':>10}{'prefix s':>10}"
    )
    for row in found["long"]:
        per_turn = row["again"] / row["turns"] * 1e6
        plain = f"{row['prefix']:>10.3f}" if "prefix" in row else f"{'-':>10}"
        print(
            f"{row['turns']:>8,}{row['tokens']:>11,}{row['first']:>10.4f}{row['again']:>10.4f}"
            f"{per_turn:>10.1f}{plain}"
        )
    show_traced(found["traced"])


def show_traced(rows: list[dict[str, float]]) -> None:
    heads = ("first: proven s", "compared s", "ratio", "later: proven s", "compared s", "ratio")
    print(f"\n{'turns':>8}" + "".join(f"{head:>17}" for head in heads))
    for row in rows:
        cells = [
            f"{row[f'{which}_{what}']:>17.{1 if what == 'ratio' else 5}f}"
            for which in ("first", "later")
            for what in ("proven", "compared", "ratio")
        ]
        print(f"{row['turns']:>8,}" + "".join(cells))


def trace_only() -> list[dict[str, float]]:
    """What tracing gains, without the other ways."""
    from sekft_engine.bases import add_base, cache_root
    from sekft_engine.render import ChatTokenizer

    base = add_base("smollm2-135m", cache_root()).base.path
    return list(traced(ChatTokenizer.load(base)))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--sessions", type=int, default=1500)
    parser.add_argument("--traced", action="store_true", help="only what tracing gains")
    options = parser.parse_args()
    if options.traced:
        tell(
            {"traced": trace_only()},
            lambda found: show_traced(found["traced"]),
            as_json=options.json,
        )
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HF_HOME"] = os.environ["HF_DATASETS_CACHE"] = str(folder / "hf")
        os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = os.environ["HF_HUB_OFFLINE"] = "1"
        logging.disable(logging.WARNING)
        found = compare(options.sessions, folder)
    tell(found, show, as_json=options.json)


if __name__ == "__main__":
    run_main(main)
