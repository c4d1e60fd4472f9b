"""What an eval fed and sampled is what training renders of it, token by token; where it is not,
the first token that differs is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.core.errors import BadInput
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.episodes.episode import Episode, FinishedEpisode
from sekft_engine.operators.decode import BatchedDecoder, SampledTurn
from sekft_engine.operators.operator import ModelOperator
from sekft_engine.operators.runner import run_episodes
from sekft_engine.render import ChatTokenizer, Dropped, build_row
from sekft_engine.render.rows.difference import TokenDifference, first_difference
from sekft_engine.render.template.prompt import encode_prompt, encode_sampled
from sekft_engine.worlds import open_world
from tests.evaluation.conftest import _sandbox, make_scenario
from tests.render.conftest import Base, MakeBase
from tests.render.sessions import PLAIN, session
from tests.render.test_equals_transformers import row

__all__ = ["_sandbox", "make_scenario"]
Make = Callable[..., Scenario]


@pytest.fixture(scope="module")
def tiny(tiny_base: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_base).eval()


@contextmanager
def set_on(model: Any, ids: Sequence[int]) -> Iterator[None]:
    """The model wants exactly these tokens, one after the other; all else about it is real."""
    wanted = iter(ids)

    def steer(_module: Any, _given: Any, out: Any) -> Any:
        out.logits[..., next(wanted)] += 1e6
        return out

    handle = model.register_forward_hook(steer)
    try:
        yield
    finally:
        handle.remove()


def sampled_difference(
    trajectory: Trajectory, tokenizer: ChatTokenizer
) -> TokenDifference | Dropped | None:
    """The first token in which an episode (ours) and its training row (theirs) differ."""
    sampled = encode_sampled(tokenizer, trajectory.turns)
    built = build_row(trajectory, tokenizer)
    if isinstance(built, Dropped):
        return built
    return first_difference(sampled, built.ids[: built.spans[-1].end].tolist(), tokenizer)


def play(
    scenario: Scenario,
    model: Any,
    tokenizer: ChatTokenizer,
    *,
    step_cap: int,
    turn_tokens: int = 40,
) -> tuple[Trajectory, list[int]]:
    """One episode in a real world; its stored trajectory and all ids that the model fed on."""
    fed: list[int] = []

    class Listening(BatchedDecoder):
        def feed(self, key: str, ids: Sequence[int], room: int) -> None:
            fed.extend(ids)
            super().feed(key, ids, room)

        def step(self) -> dict[str, SampledTurn]:
            out = super().step()
            for turn in out.values():
                fed.extend((*turn.ids, *([] if turn.stop is None else [turn.stop])))
            return out

    decoder = Listening(model, stop_ids=sorted(tokenizer.end_of_turn_ids))
    operator = ModelOperator(decoder, tokenizer, turn_tokens=turn_tokens, context=2048)
    done: list[FinishedEpisode] = []
    run_episodes(
        [Episode(scenario, "model", step_cap=step_cap, open_world=open_world)],
        operator,
        rows=1,
        on_done=lambda _episode, finished: done.append(finished),
    )
    assert not done[0].verdict.invalid
    stored = Trajectory.from_json(json.loads(json.dumps(done[0].trajectory.to_json())), "episode")
    return stored, fed


def canonical(tokenizer: ChatTokenizer, *commands: str) -> list[int]:
    """The commands as the tokenizer itself writes them, each with what ends the turn."""
    built = [row(session("$", command), tokenizer) for command in commands]
    return [
        token for one in built for token in one.ids[one.spans[0].start : one.spans[0].end].tolist()
    ]


COMMANDS = ("ls -la", "cat word.txt", "cp word.txt copy.txt", "exit")


@pytest.mark.parametrize("name", ["smollm2", "v1", "v3", "tekken-v3"])
def test_an_episode_is_its_training_row_at_every_position(
    name: str, bases: MakeBase, tiny: Any, make_scenario: Make
) -> None:
    tokenizer = bases(name).ours
    wanted = canonical(tokenizer, *COMMANDS)
    if tokenizer.vocab_size > tiny.config.vocab_size:
        tiny = grown(tiny, tokenizer.vocab_size)
    with set_on(tiny, wanted):
        episode, fed = play(make_scenario(), tiny, tokenizer, step_cap=6)
    assert episode.commands == COMMANDS
    assert episode.outcome == "exit"
    assert episode.verified
    assert "plover" in episode.turns[4].content
    built = row(episode, tokenizer)
    assert (
        encode_sampled(tokenizer, episode.turns) == fed == built.ids[: built.spans[-1].end].tolist()
    )
    assert sampled_difference(episode, tokenizer) is None


def grown(model: Any, vocabulary: int) -> Any:
    """The same small model for a larger vocabulary."""
    from transformers import LlamaForCausalLM

    config = type(model.config)(**(model.config.to_dict() | {"vocab_size": vocabulary}))
    return LlamaForCausalLM(config).eval()


def test_a_command_sampled_in_other_tokens_is_kept_and_named(
    bases: MakeBase, tiny: Any, make_scenario: Make
) -> None:
    """A model may sample `▁` + `ls` where the tokenizer writes `▁l` + `s`. The episode goes on with
    what was sampled; the row that training would make of it differs there and only there."""
    base = bases("v3")
    odd = base.theirs.convert_tokens_to_ids(["▁", "ls", "▁-", "la", "</s>"])
    rest = canonical(base.ours, *COMMANDS[1:])
    with set_on(tiny, [*odd, *rest]):
        episode, fed = play(make_scenario(), tiny, base.ours, step_cap=6)
    assert episode.commands == COMMANDS
    assert episode.turns[1].ids == tuple(odd)
    assert encode_sampled(base.ours, episode.turns) == fed
    begins = len(encode_prompt(base.ours, episode.turns[:1]))
    found = sampled_difference(episode, base.ours)
    assert isinstance(found, TokenDifference)
    assert found.index == begins
    assert (found.ours[:2], found.theirs[:2]) == ((" ", "ls"), (" l", "s"))
    assert found.same_text
    assert found.sentence("was sampled", "is trained") == (
        f"token {begins}: ' ' was sampled, ' l' is trained; after ':' '~$' '[/INST]'; "
        "the same text in other tokens"
    )
    trained = row(episode, base.ours).ids.tolist()
    assert fed[begins + 2 :] == trained[begins + 2 : len(fed)]


def test_white_space_that_an_eval_does_not_type_is_named(
    smol: Base, tiny: Any, make_scenario: Make
) -> None:
    tokenizer = smol.ours
    end = tokenizer.end_of_turn_id
    typed = [*canonical(tokenizer, "ls")[:-1], *tokenizer.guard.encode("\n").ids, end]
    with set_on(tiny, [*typed, *canonical(tokenizer, "exit")]):
        episode, fed = play(make_scenario(), tiny, tokenizer, step_cap=6)
    assert episode.commands == ("ls", "exit")
    assert encode_sampled(tokenizer, episode.turns) == fed
    found = sampled_difference(episode, tokenizer)
    assert isinstance(found, TokenDifference)
    assert not found.same_text
    assert (found.before[-1], found.ours[0], found.theirs[0]) == ("ls", "\n", "<|im_end|>")


def test_a_command_cut_by_the_cap_is_closed_as_the_row_closes_it(
    smol: Base, tiny: Any, make_scenario: Make
) -> None:
    tokenizer = smol.ours
    cut = canonical(tokenizer, "echo one two three")[:-1]
    with set_on(tiny, [*cut, *canonical(tokenizer, "exit")]):
        episode, fed = play(make_scenario(), tiny, tokenizer, step_cap=6, turn_tokens=len(cut))
    assert episode.turns[1].extra == {"cut": True}
    assert episode.commands == ("echo one two three", "exit")
    assert encode_sampled(tokenizer, episode.turns) == fed
    assert sampled_difference(episode, tokenizer) is None


def test_a_session_without_the_ids_of_a_model_says_so(smol: Base) -> None:
    with pytest.raises(BadInput, match="command turn 1 has no sampled ids"):
        encode_sampled(smol.ours, PLAIN.turns)


def test_a_session_that_cannot_be_trained_on_says_why(
    smol: Base, tiny: Any, make_scenario: Make
) -> None:
    """A blank line is a turn of an episode and no command to learn."""
    end = smol.ours.end_of_turn_id
    with set_on(tiny, [end, *canonical(smol.ours, "exit")]):
        episode, fed = play(make_scenario(), tiny, smol.ours, step_cap=6)
    assert encode_sampled(smol.ours, episode.turns) == fed
    found = sampled_difference(episode, smol.ours)
    assert isinstance(found, Dropped)
    assert found.reason == "empty_command"


def test_a_real_model_left_to_itself(smol: Base, smollm2: Path, make_scenario: Make) -> None:
    """Whatever it says: the rebuilt ids are those it was fed; and where training would take other
    tokens, they say the same but for the white space that is not typed."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32).eval()
    episode, fed = play(make_scenario(), model, smol.ours, step_cap=2, turn_tokens=12)
    sampled = encode_sampled(smol.ours, episode.turns)
    assert sampled[: len(fed)] == fed
    assert len(sampled) <= len(fed) + 1  # the end of a last command that the cap cut
    found = sampled_difference(episode, smol.ours)
    if isinstance(found, TokenDifference):
        stripped = any(
            smol.ours.decode(turn.ids or ()).strip() != smol.ours.decode(turn.ids or ())
            for turn in episode.turns
            if turn.is_command
        )
        assert found.same_text or stripped
