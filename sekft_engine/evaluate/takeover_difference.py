"""What is not as it was: in the answers to commands typed again, and in the world at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from sekft_engine.errors import SekftError
from sekft_engine.evaluate.episode import Finished
from sekft_engine.evaluate.reference import StateDifference, compared, solution_changes
from sekft_engine.evaluate.state import changes_of
from sekft_engine.scenario import Scenario
from sekft_engine.trajectory import Turn
from sekft_engine.worlds import World


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One turn that is not as recorded. ``now`` is None where the session had ended by then."""

    turn: int
    recorded: str
    now: str | None
    recorded_status: int | None = None
    now_status: int | None = None

    @property
    def in_words(self) -> str:
        """What differs, in one clause."""
        if self.now is None:
            return "the session had ended by then"
        if self.recorded == self.now:
            return f"exit status {self.now_status}, recorded {self.recorded_status}"
        return "another answer than recorded"

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(self)
        return {key: value for key, value in found.items() if value is not None or key == "now"}


def differences(recorded: Sequence[Turn], now: Sequence[Turn]) -> tuple[Difference, ...]:
    """The turns of ``recorded`` that ``now`` does not repeat: another text or exit status."""
    found: list[Difference] = []
    for number, turn in enumerate(recorded):
        if number >= len(now):
            found.append(Difference(turn=number, recorded=turn.content, now=None))
            break
        again = now[number]
        status = turn.exit_status is not None and turn.exit_status != again.exit_status
        if turn.content != again.content or status:
            found.append(
                Difference(
                    turn=number,
                    recorded=turn.content,
                    now=again.content,
                    recorded_status=turn.exit_status,
                    now_status=again.exit_status,
                )
            )
    return tuple(found)


def against_reference(
    scenario: Scenario, finished: Finished, open_world: Callable[[Scenario], World]
) -> StateDifference:
    """How what a session left differs from what the reference solution leaves in such a world."""
    try:
        with open_world(scenario) as world:
            there = solution_changes(scenario, world)
    except SekftError as error:
        return StateDifference(unknown=str(error))
    return compared(scenario, changes_of(finished.trajectory), there)
