"""Jumps over the list: to what holds the words, what was dropped, what failed its certificate.

Where nobody has looked yet, the jump waits for the pass that looks, shows how far it is, and can be
called off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt

from sekft_engine.maskview.reasons import LINES
from sekft_tui.library import Listed
from sekft_tui.library.passes import Order, Table, next_hit

if TYPE_CHECKING:
    from sekft_tui.library import Library

Kind = Literal["match", "dropped", "failed"]
_NONE = {
    "match": "{needle!r} is in none of these trajectories",
    "dropped": "none of these trajectories was dropped",
    "failed": "no certificate of these trajectories has a line that fails",
}
_ONLY = {
    "match": "{needle!r} is in no other trajectory here",
    "dropped": "no other of these trajectories was dropped",
    "failed": "no other certificate here has a line that fails",
}


class Place(Protocol):
    """Where jumps are made: the list and what stands under its cursor."""

    library: Library | None
    listed: Listed

    @property
    def number(self) -> int: ...
    @property
    def settled(self) -> bool: ...
    def go(self, position: int, kind: Kind, by: int) -> None: ...
    def say(self, text: str) -> None: ...


class Jumps:
    """At most one jump waits at a time."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._waiting: tuple[Kind, int, int] | None = None

    @property
    def waiting(self) -> bool:
        return self._waiting is not None

    def start(self, kind: Kind, by: int) -> None:
        """Jump on (1) or back (-1) from the cursor."""
        self._waiting = (kind, by, self._place.number)
        self._place.say("")
        self.resolve(first=True)

    def cancel(self) -> bool:
        """Call off the jump that waits."""
        waited, self._waiting = self._waiting, None
        library = self._place.library
        if waited is not None and library is not None:
            library.certifier.rest()
        return waited is not None

    def moved(self, number: int) -> None:
        """The cursor is on another trajectory: who moves it waits no longer."""
        if self._waiting is not None and self._waiting[2] != number:
            self.cancel()

    def resolve(self, *, first: bool = False) -> None:
        """Land, where enough is known by now."""
        library, listed = self._place.library, self._place.listed
        if self._waiting is None or library is None or not self._place.settled:
            return
        kind, by, number = self._waiting
        start = max(0, listed.position(number))
        table, wanted, look = self._pass(kind, library)
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
            self._stop(_NONE[kind].format(needle=self._needle))

    def _land(self, position: int, kind: Kind, by: int, start: int) -> None:
        self._waiting = None
        library = self._place.library
        if library is not None and kind != "match":
            library.certifier.rest()
        if position == start:
            self._place.say(_ONLY[kind].format(needle=self._needle))
        self._place.go(position, kind, by)

    def _stop(self, text: str) -> None:
        self._waiting = None
        self._place.say(text)

    def _pass(
        self, kind: Kind, library: Library
    ) -> tuple[Table, npt.NDArray[np.bool_], Callable[[Order], None]]:
        if kind == "match" and library.finder is not None:
            return library.finder.table, library.finder.wanted, library.finder.look
        certifier = library.certifier
        wanted = certifier.verdicts.wanted(None if kind == "dropped" else LINES)
        return certifier.verdicts, wanted, certifier.ask

    @property
    def _needle(self) -> str:
        library = self._place.library
        return library.finder.needle if library and library.finder else ""

    def news(self) -> str:
        """What the jump is waiting for, in a few words; '' = it is not."""
        library = self._place.library
        if self._waiting is None or library is None:
            return ""
        if self._waiting[0] == "match" and library.finder is not None:
            _, looked = library.finder.count(self._place.listed.order(0, 1))
            return f"searched {looked:,} · esc stops"
        return f"certified {library.certifier.known:,} · esc stops"

    def holds(self) -> str:
        """How many trajectories hold the words that are searched for; '' = that is not known."""
        library = self._place.library
        if library is None or library.finder is None:
            return ""
        count, looked = library.finder.count(self._place.listed.order(0, 1))
        if not looked:
            return ""
        return f"/: {count:,}" + (" …" if looked < self._place.listed.rows else " hold it")
