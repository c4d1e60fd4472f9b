"""The list of episodes on the screen: its rows and its cursor, or why it has none."""

from __future__ import annotations

from collections.abc import Callable

from sekft_tui.input.actions import key_for
from sekft_tui.model.episodes import Episode
from sekft_tui.panes.replay.listing import Listing
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.lines import Lines

_READING = "reading episodes …"


class EpisodeList(LineList):
    """Shows a :class:`Listing`.

    Attributes:
        head: the line above it.
    """

    def __init__(self, listing: Listing, chosen: Callable[[], None]) -> None:
        super().__init__(listing.row, chosen=chosen, empty=_READING, id="replay-list")
        self.listing = listing
        self.head = Lines(listing.head)

    @property
    def current(self) -> Episode | None:
        """The episode under the cursor."""
        rows = self.listing.rows
        return rows[self.cursor] if self.cursor < len(rows) else None

    def wait(self) -> None:
        """The listing is being read."""
        if not self.listing.all and self.empty != _READING:
            self.empty = _READING
            self.set_rows(0)
        self.head.update()

    def fill(self, here: Episode | None, otherwise: str = "") -> None:
        """Show what matches the filter, with the cursor on ``here``.

        Args:
            here: where it is not in the list, the cursor stays in its row.
            otherwise: where there is none, the path of the episode to go to, else to the first.
        """
        listing = self.listing
        listing.apply_filter()
        self.empty = self._why_empty()
        row = listing.row_of(here.path if here else otherwise)
        self.set_rows(len(listing.rows), row if here else row or 0)
        self.head.update()

    def _why_empty(self) -> str:
        if self.listing.all:
            clear = key_for("replay.back")
            return f"nothing matches {self.listing.filter!r}\n{clear} clears the filter"
        if self.listing.reading:
            return _READING
        if self.listing.recording:
            return "no episodes yet\nthe eval that is running has ended none"
        evals, start = key_for("global.pane-eval"), key_for("eval.start")
        return f"no episodes yet\n{evals} goes to Eval, {start} there starts one"
