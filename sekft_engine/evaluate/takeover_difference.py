"""What a world answered when the commands of a session were typed into it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from sekft_engine.trajectory import Turn


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
