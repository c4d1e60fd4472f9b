"""The cursor stays on its trajectory while the list is read, filtered or sorted anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sekft_tui.library import ListState

if TYPE_CHECKING:
    from sekft_engine.sources import Facts
    from sekft_tui.library import Library
    from sekft_tui.panes.trajectories.listing import TrajectoryList


class ListBrowser(Protocol):
    """Where the list is, and what is under its cursor."""

    library: Library | None
    list: TrajectoryList

    @property
    def current(self) -> Facts | None: ...


class StayingCursor:
    """Moves the cursor of a browser's list to the trajectory that it waits for.

    Attributes:
        awaited: the id of that trajectory; "" = none.
    """

    def __init__(self, browser: ListBrowser) -> None:
        self._browser = browser
        self.awaited = ""

    def stay(self) -> None:
        """Wait for the trajectory that is under the cursor now, if there is one."""
        current = self._browser.current
        if current is not None:
            self.awaited = current.id

    def rearrange(self, before: ListState, now: ListState) -> None:
        """Rows stand elsewhere: the cursor goes with its trajectory, unless another is awaited."""
        rows = self._browser.list
        at = rows.cursor
        here = at < before.rows and not (self.awaited and at == 0)
        position = now.position(before.number(at)) if here else -1
        rows.set_rows(now.rows, position if position >= 0 else None)

    def restore(self, now: ListState) -> None:
        """Go to the awaited trajectory, if it is in the list by now and the user has not moved the
        cursor since."""
        library, rows = self._browser.library, self._browser.list
        if not self.awaited or library is None:
            return
        if rows.cursor:
            self.awaited = ""
            return
        number = library.index.find(self.awaited)
        position = now.position(number) if number is not None else -1
        if position >= 0:
            self.awaited = ""
            rows.move_to(position)
        elif now.done:
            self.awaited = ""
