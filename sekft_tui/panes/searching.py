"""Searching the list of a pane: ``/`` asks, ``n`` and ``N`` go from match to match."""

from __future__ import annotations

from abc import abstractmethod

from sekft_tui.panes.pane import Pane
from sekft_tui.text import visible
from sekft_tui.widgets.line_list import LineList


class SearchedPane(Pane):
    """A pane with a list whose rows are texts. Case does not matter."""

    #: What is searched for; "" = nothing.
    needle = ""

    @abstractmethod
    def searched(self) -> LineList:
        """The list."""

    @abstractmethod
    def row_text(self, y: int) -> str:
        """What row ``y`` is searched in."""

    def action_search(self) -> None:
        again = f"⏎ {visible(self.needle)!r} again  " if self.needle else ""
        self.host.prompt.ask("search", self.search, hint=f"{again}n next  N previous")

    def search(self, text: str) -> None:
        """Go to the first row with ``text``, from the cursor on; an empty one is the last again."""
        if text:
            self.needle = text
            self._go(1, here=True)
        elif self.needle:
            self._go(1)

    def action_match(self, by: int) -> None:
        if self.needle:
            self._go(by)
        else:
            self.action_search()

    def _go(self, by: int, *, here: bool = False) -> None:
        """To the next row that has it; after the last one comes the first."""
        rows, sought = self.searched(), self.needle.casefold()
        found = [y for y in range(rows.rows) if sought in self.row_text(y).casefold()]
        if not found:
            self.host.note(f"nothing here contains {self.needle!r}")
            return
        if by > 0:
            first = rows.cursor + (not here)
            to = next((y for y in found if y >= first), found[0])
        else:
            to = next((y for y in reversed(found) if y < rows.cursor), found[-1])
        self.go_to(rows)
        rows.move_to(to)
        self.host.note(f"match {found.index(to) + 1} of {len(found)} for {self.needle!r}")

    def match_labels(self) -> dict[str, str]:
        """The footer's labels of the keys for matches: none before a search."""
        return {} if self.needle else {"match(1)": "", "match(-1)": ""}
