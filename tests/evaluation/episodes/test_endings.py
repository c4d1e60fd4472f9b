"""Where episodes end and why, told apart in one word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sekft_engine.data.trajectory import Outcome, Trajectory, Turn
from sekft_engine.episodes.endings import ENDINGS, ending_of, is_loop
from sekft_engine.episodes.store import as_finished


def episode(
    commands: Sequence[str], outcome: Outcome = "exit", *, verified: bool = False, **meta: Any
) -> Trajectory:
    turns = [Turn(role="user", content="$ ")]
    for command in commands:
        turns += [Turn(role="assistant", content=command), Turn(role="user", content="$ ")]
    return Trajectory(
        id="a",
        turns=tuple(turns[:-1]),
        outcome=outcome,
        steps=len(commands),
        verified=verified,
        meta={"clean": True, "expected": "exit", "commands_needed": 2} | meta,
    )


@pytest.mark.parametrize(
    ("trajectory", "ending"),
    [
        (episode(["ls", "cp a b", "exit"], verified=True), "done"),
        (episode(["ls", "cp a b", "exit"]), "not done"),
        (episode(["ls", "exit"]), "early exit"),
        (episode(["panic"], "panic"), "wrong terminal"),
        (episode(["Sure, I can help!"], "cap", clean=False), "prose"),
        (episode(["ls", "exit"], invalid="the sandbox died"), "invalid"),
        (episode(["ls"] * 12, "cap", limit="commands"), "loop"),
        (episode(["a", "ls", "cat x", "ls", "cat x", "ls", "cat x"], "cap"), "loop"),
        (episode(["ls", "cat x", "cat y"], "cap", limit="commands"), "cap"),
        (episode(["ls", "cat x"], "cap", limit="context"), "no room"),
        (episode(["sleep 9", "cat x"], "cap", limit="time"), "no room"),
        (episode(["kill -9 $$"], "error"), "died"),
    ],
)
def test_each_way_to_end_has_its_name(trajectory: Trajectory, ending: str) -> None:
    assert ending_of(as_finished(trajectory)) == ending
    assert ending in ENDINGS


def test_the_same_command_twice_is_no_loop() -> None:
    assert not is_loop(["ls", "make", "make"])
    assert is_loop(["make", "make", "make"])
    assert not is_loop(["make", "make", "make", "ls"])
