"""Whole sessions of whoever says anything at all, in a real world: each ends in a way that has a
name, can be stored and read back, and is nobody's fault but the model's."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sekft_engine.data.scenario import Announcement, Provider, Scenario
from sekft_engine.episodes.command_turn import MAX_BYTES, MAX_LINES, CommandTurn
from sekft_engine.episodes.endings import ENDINGS, ending_of
from sekft_engine.episodes.episode import Episode
from sekft_engine.episodes.store import read_episode, write_episode
from sekft_engine.records.events import TurnDone, decode, encode
from sekft_engine.worlds import Limits, World, open_world
from tests.evaluation.hostile import hostile_turns
from tests.fuzzing import LONG, fuzz

SCENARIO = Scenario(
    id="hostile",
    provider=Provider(name="quil", script="#!/bin/sh\necho orders\n"),
    announcement=Announcement(channel="motd", text="Orders: quil"),
    checker="exit 1",
)
#: Much that is said waits for ever; a limit of ten seconds would make a fuzzer of few examples.
QUICK = Limits(command_s=0.5)


def quick_world(scenario: Scenario) -> World:
    return open_world(scenario, limits=QUICK)


def long_turns() -> st.SearchStrategy[str]:
    """Around the bounds, and far over them."""
    sizes = st.sampled_from([4095, 4096, MAX_BYTES, MAX_BYTES + 1, 1_000_000])
    lines = st.sampled_from([MAX_LINES, MAX_LINES + 1, 10_000])
    units = st.sampled_from(["x", "é", "\x00", "'", "\\", "<<A ", "\x1b[A", "\ud800", " "])
    return st.one_of(
        st.builds(lambda unit, size: "echo " + unit * (size // len(unit)), units, sizes),
        st.builds(
            lambda unit, count: f"{unit}\n" * count, st.sampled_from(["", ":", "<<A"]), lines
        ),
    )


def _echo(unit: str, size: int) -> str:
    return f"echo {unit * (size // len(unit))}"


def _lines(unit: str, count: int) -> str:
    return f"{unit}\n" * count


@settings(fuzz(12), derandomize=not LONG)
@given(st.lists(st.one_of(hostile_turns(), hostile_turns(), long_turns()), min_size=1, max_size=5))
@example(["cat " + "<<A " * 1000, "cat " + "<<A " * 1000])
@example(["echo " + "x" * 1_000_000, ":\n" * 10_000, "\x00\x01\x02\x03"])
@example(["echo \ud800\x1b]0;x\x07 > f", "cat f", "printf '\\001\\002'"])
def test_a_hostile_session_ends_by_name_and_is_stored_as_it_was(said: Sequence[str]) -> None:
    episode = Episode(SCENARIO, "hostile", step_cap=99, open_world=quick_world)
    try:
        assert episode.open() is not None
        for text in said:
            if not episode.over:
                episode.type(CommandTurn(text=text))
        # The prompt answers, whatever the session has made of it. A Ctrl-C in what was typed has a
        # prompt of its own, which may come late.
        answers: list[str] = []
        while not episode.over and "ok" not in "".join(answers) and len(answers) < 3:
            answers.append(episode.type(CommandTurn(text="echo 'o'k")) or "")
        over = episode.over
        finished = episode.finish()
    finally:
        episode.close()
    # A session can end itself, but not make itself one that does not count.
    assert finished.verdict.invalid == ""
    assert ending_of(finished) in ENDINGS
    assert over or "ok" in "".join(answers), answers
    for number, turn in enumerate(finished.trajectory.turns):
        event = TurnDone(
            job="", subject="", scenario="", number=number, role=turn.role,
            content=turn.content, at=turn.t or 0.0,
        )  # fmt: skip
        told = decode(encode(event))
        assert isinstance(told, TurnDone)
        assert told.content == turn.content
    with tempfile.TemporaryDirectory() as folder:
        stored = read_episode(write_episode(Path(folder), "hostile", finished))
    assert stored.trajectory == finished.trajectory
    assert stored.verdict == finished.verdict
