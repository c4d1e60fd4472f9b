"""Differences of a session that is typed again: in its turns, and in the state that it leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from sekft_engine.core.errors import SekftError
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Turn
from sekft_engine.episodes.episode import FinishedEpisode
from sekft_engine.episodes.reference import StateDifference, compare_changes, run_reference
from sekft_engine.episodes.state import changes_of
from sekft_engine.worlds import World


class TurnDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A turn that is not as recorded.

    Attributes:
        turn: its number, counted from 0.
        recorded, now: its text; ``now`` is None where the session had ended before it.
        recorded_status, now_status: its exit status, where it is a command with one.
    """

    turn: int
    recorded: str
    now: str | None
    recorded_status: int | None = None
    now_status: int | None = None

    @property
    def in_words(self) -> str:
        """The difference in a few words."""
        if self.now is None:
            return "the session had ended by then"
        if self.recorded == self.now:
            return f"exit status {self.now_status}, recorded {self.recorded_status}"
        return "another answer than recorded"

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(self)
        return {key: value for key, value in found.items() if value is not None or key == "now"}


def differences(recorded: Sequence[Turn], now: Sequence[Turn]) -> tuple[TurnDifference, ...]:
    """The turns of ``recorded`` that have another text or exit status in ``now``."""
    found: list[TurnDifference] = []
    for number, turn in enumerate(recorded):
        if number >= len(now):
            found.append(TurnDifference(turn=number, recorded=turn.content, now=None))
            break
        again = now[number]
        status = turn.exit_status is not None and turn.exit_status != again.exit_status
        if turn.content != again.content or status:
            found.append(
                TurnDifference(
                    turn=number,
                    recorded=turn.content,
                    now=again.content,
                    recorded_status=turn.exit_status,
                    now_status=again.exit_status,
                )
            )
    return tuple(found)


def against_reference(
    scenario: Scenario, finished: FinishedEpisode, open_world: Callable[[Scenario], World]
) -> StateDifference:
    """How the state that a session left differs from what the reference solution leaves.

    Args:
        scenario: of the session.
        finished: the session.
        open_world: makes the world for the reference solution.
    """
    try:
        there = run_reference(scenario, open_world).changes
    except SekftError as error:
        return StateDifference(unknown=str(error))
    return compare_changes(scenario, changes_of(finished.trajectory), there)
