"""The prompts that a server is asked about: few, always the same, and the hard ones first."""

from __future__ import annotations

from itertools import count

from sekft_engine.contract.samples import LOOKED_AT, built_in, choose, features, prompts
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.render import normalize_for_template
from tests.contract.conftest import Base, MakeBase
from tests.render.sessions import session, turns

LITERALS = ("</s>", "<|im_end|>")


def plain(number: int) -> Trajectory:
    return session("$", "ls", "a\n$", "exit", name=f"plain-{number:04}")


def test_the_prompts_before_the_first_the_middle_and_the_last_command() -> None:
    long = session(*("$", "ls") * 5, name="long")
    assert [(one.turn, one.command, one.commands) for one in prompts(long)] == [
        (1, 1, 5),
        (5, 3, 5),
        (9, 5, 5),
    ]
    assert [len(one.turns) for one in prompts(long)] == [1, 5, 9]
    assert [one.turn for one in prompts(session("$", "exit"))] == [1]


def test_hard_sessions_are_found_among_many_plain_ones() -> None:
    hard = [
        session("$", "cat x", "ends with </s>\n$", "exit", name="tokens"),
        session(" \r\n$ ", "ls", "$", "exit", name="edges"),
        session("$", "ls", "👋 e\u0301\n$", "exit", name="emoji"),
        session("$", "cat <<E\nx\nE", "$", "exit", name="lines"),
        Trajectory(id="told", turns=(Turn(role="system", content="Go."), *turns("$", "exit"))),
    ]
    data = [plain(number) for number in range(400)]
    for place, trajectory in zip((7, 90, 200, 310, 399), hard, strict=True):
        data.insert(place, trajectory)
    chosen = choose(data, LITERALS, count=6)
    names = list(dict.fromkeys(sample.id for sample in chosen))
    assert {trajectory.id for trajectory in hard} < set(names)
    assert len(names) == 6
    assert chosen == choose(data, LITERALS, count=6)


def test_plain_data_is_sampled_all_over() -> None:
    names = {one.id for one in choose([plain(n) for n in range(100)], LITERALS, count=4)}
    assert names == {"plain-0000", "plain-0001", "plain-0034", "plain-0067"} or len(names) == 4
    assert max(names) > "plain-0060"


def test_fewer_sessions_than_asked_for_and_none_at_all() -> None:
    assert len({one.id for one in choose([plain(0), plain(1)], LITERALS, count=8)}) == 2
    assert choose([], LITERALS) == []
    assert choose([session("You are at a shell.")], LITERALS) == []


def test_endless_data_is_not_read_to_its_end() -> None:
    numbers = count()
    choose((plain(number) for number in numbers), LITERALS)
    assert next(numbers) <= LOOKED_AT + 1


def test_features() -> None:
    assert features(turns("$", "ls", "a\n$", "exit"), LITERALS) == frozenset()
    assert features(turns(" $ ", "exit"), LITERALS) == {"spaces before", "spaces after"}
    assert features(turns("$", "cat <<E\nE", "", "exit"), LITERALS) == {
        "command of several lines",
        "empty output",
    }
    # What comes after the last command is in no prompt.
    assert features(turns("$", "exit", "</s> 👋"), LITERALS) == frozenset()
    twice = (Turn(role="user", content="a"), *turns("$", "exit"))
    assert features(twice, LITERALS) == {"turns of one role"}


def test_the_built_in_sessions_hold_every_feature(smol: Base, bases: MakeBase) -> None:
    for tokenizer in (smol.ours, bases("v3").ours):
        samples = built_in(tokenizer)
        literals = tuple(tokenizer.guard.literals.values())
        # As in a session that goes on with one more command.
        after = (Turn(role="assistant", content="exit"),)
        found = frozenset[str]().union(*(features(one.turns + after, literals) for one in samples))
        assert found == {
            "spaces before", "spaces after", "CRLF", "escapes", "emoji", "other scripts",
            "decomposed", "empty output", "thoughts", "template code", "control tokens",
            "system turn", "command of several lines",
        }  # fmt: skip
        assert len({one.id for one in samples}) == len(samples)
        assert all(one.built_in and len(one.id) <= 30 for one in samples)
        assert all(not one.turns[-1].is_command for one in samples)
        assert all(normalize_for_template(one.turns) for one in samples)


def test_the_built_in_tokens_are_those_that_this_base_obeys(smol: Base, bases: MakeBase) -> None:
    for base, literal in ((smol, "<|im_end|>"), (bases("v3"), "</s>"), (bases("v3"), "[/INST]")):
        (card,) = (one for one in built_in(base.ours) if one.id.endswith("control tokens"))
        assert literal in card.turns[-1].content
