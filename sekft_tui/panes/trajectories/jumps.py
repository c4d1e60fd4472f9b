"""Jumps in the list: to a search match, a dropped trajectory, or a failed certificate.

If the next hit is not known yet, the jump waits for the background scan, shows its progress, and
can be cancelled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt

from sekft_engine.data.reasons import LINES
from sekft_tui.input.actions import key_for
from sekft_tui.library import ListState
from sekft_tui.library.scan import CodeTable, Order, next_hit

if TYPE_CHECKING:
    from sekft_tui.library import Library

Kind = Literal["match", "dropped", "failed"]
_NONE = {
    "match": "{needle!r} is in none of these trajectories",
    "dropped": "none of these trajectories was dropped",
    "failed": "no certificate of these trajectories has a line that fails",
}
_UNREAD = (
    "none that could be read was dropped; "
    f"{key_for('trajectories.statistics')} counts the others by reason"
)
_ONLY = {
    "match": "{needle!r} is in no other trajectory here",
    "dropped": "no other of these trajectories was dropped",
    "failed": "no other certificate here has a line that fails",
}


class JumpTarget(Protocol):
    """Where jumps are made: the list and its cursor."""

    library: Library | None
    listed: ListState

    @property
    def number(self) -> int: ...
    @property
    def settled(self) -> bool: ...
    def land(self, position: int, kind: Kind, by: int) -> None: ...
    def note(self, text: str) -> None: ...


class Jumps:
    """At most one jump waits at a time."""

    def __init__(self, target: JumpTarget) -> None:
        self._target = target
        self._waiting: tuple[Kind, int, int] | None = None

    @property
    def waiting(self) -> bool:
        return self._waiting is not None

    def start(self, kind: Kind, by: int) -> None:
        """Jump on (1) or back (-1) from the cursor."""
        self._waiting = (kind, by, self._target.number)
        self._target.note("")
        self.resolve(first=True)

    def cancel(self) -> bool:
        """Cancel the waiting jump; whether there was one."""
        waited, self._waiting = self._waiting, None
        library = self._target.library
        if waited is not None and library is not None:
            library.certifier.release()
        return waited is not None

    def moved(self, number: int) -> None:
        """The cursor is on trajectory ``number``: if it was moved, cancel the waiting jump."""
        if self._waiting is not None and self._waiting[2] != number:
            self.cancel()

    def resolve(self, *, first: bool = False) -> None:
        """Finish the waiting jump, if its hit is known by now."""
        library, listed = self._target.library, self._target.listed
        if self._waiting is None or library is None or not self._target.settled:
            return
        kind, by, number = self._waiting
        start = max(0, listed.position(number))
        table, wanted, look = self._scan(kind, library)
        order = listed.order(start, by)
        found = next_hit(order, table.codes, wanted)
        if found.state == "found":
            self._land(found.position, kind, by, start)
        elif found.state == "unknown":
            if library.certifier.trouble and kind != "match":
                self._stop(f"nothing can be certified: {library.certifier.trouble}")
            elif first:
                look(order)
        elif listed.done:
            is_unread = kind == "dropped" and library.dropped()
            self._stop(_UNREAD if is_unread else _NONE[kind].format(needle=self._needle))

    def _land(self, position: int, kind: Kind, by: int, start: int) -> None:
        self._waiting = None
        library = self._target.library
        if library is not None and kind != "match":
            library.certifier.release()
        if position == start:
            self._target.note(_ONLY[kind].format(needle=self._needle))
        self._target.land(position, kind, by)

    def _stop(self, text: str) -> None:
        self._waiting = None
        self._target.note(text)

    def _scan(
        self, kind: Kind, library: Library
    ) -> tuple[CodeTable, npt.NDArray[np.bool_], Callable[[Order], None]]:
        if kind == "match" and library.text_search is not None:
            return (
                library.text_search.table,
                library.text_search.wanted,
                library.text_search.search_from,
            )
        certifier = library.certifier
        wanted = certifier.verdicts.wanted(None if kind == "dropped" else LINES)
        return certifier.verdicts, wanted, certifier.request

    @property
    def _needle(self) -> str:
        library = self._target.library
        return library.text_search.needle if library and library.text_search else ""

    def progress(self) -> str:
        """The progress of the waiting jump, in a few words; "" = none waits."""
        library = self._target.library
        if self._waiting is None or library is None:
            return ""
        if self._waiting[0] == "match" and library.text_search is not None:
            _, looked = library.text_search.count(self._target.listed.order(0, 1))
            return f"searched {looked:,} · {key_for('trajectories.back')} stops"
        return f"certified {library.certifier.known:,} · {key_for('trajectories.back')} stops"

    def match_count(self) -> str:
        """How many trajectories have a match; "" = not known."""
        library = self._target.library
        if library is None or library.text_search is None:
            return ""
        count, looked = library.text_search.count(self._target.listed.order(0, 1))
        if not looked:
            return ""
        verb = "session contains it" if count == 1 else "sessions contain it"
        return f"{count:,} {verb}" + (" …" if looked < self._target.listed.rows else "")
