"""A list of any length with a cursor; rows are drawn by a function."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from textual import events
from textual.message import Message

from sekft_tui.text import Parts, wrapped
from sekft_tui.widgets.line_view import LineView


class LineList(LineView):
    """``rows`` lines, one of them under the cursor.

    Args:
        draw: makes row ``y`` for a width.
        chosen: called at once when a row is chosen. Moving posts :class:`Moved` instead; many
            moves at once make one message.
        empty: the text of a list without rows.
    """

    class Moved(Message):
        """The cursor is on another row, or the rows are new."""

        def __init__(self, sender: LineList, row: int) -> None:
            super().__init__()
            self.sender = sender
            self.row = row

        @property
        def control(self) -> LineList:
            return self.sender

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, LineList.Moved) and message.sender is self.sender

    def __init__(
        self,
        draw: Callable[[int, int], Parts],
        *,
        chosen: Callable[[], None] | None = None,
        empty: str = "nothing here",
        id: str | None = None,  # noqa: A002
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._draw = draw
        self._chosen = chosen
        self.rows = 0
        self.cursor = 0
        self.empty = empty

    def set_rows(self, rows: int, cursor: int | None = None) -> None:
        """Set the number of rows; the cursor stays as near as it can."""
        self.rows = rows
        self.cursor = max(0, min(self.cursor if cursor is None else cursor, rows - 1))
        self.relines(rows or len(self._empty_lines()))
        self.show_cursor()
        self.call_after_refresh(self.show_cursor)  # the new height is known then
        self.post_message(self.Moved(self, self.cursor if rows else -1))

    def grow(self, rows: int) -> None:
        """Append rows: nothing else changes, so only the new ones are painted."""
        before, self.rows = self.rows, rows
        if not before or rows < before:
            self.set_rows(rows)
            return
        self.resize(rows)
        self.refresh_lines(before, rows - before)

    def line(self, y: int, width: int) -> Parts:
        if not self.rows:
            lines = self._empty_lines()
            return ((" " + lines[y], "quiet"),) if y < len(lines) else ()
        return self._draw(y, width)

    def cache_key(self, y: int) -> Hashable:
        return y == self.cursor

    def line_style(self, y: int) -> str:
        if y != self.cursor or not self.rows:
            return ""
        return "cursor" if self.has_focus else "cursor-off"

    def move(self, lines: int) -> None:
        self.move_to(self.cursor + lines)

    def move_to(self, row: int) -> None:
        row = max(0, min(row, self.rows - 1))
        if row != self.cursor:
            before, self.cursor = self.cursor, row
            self.refresh_line(before)
            self.refresh_line(row)
            self.show_cursor()
            self.post_message(self.Moved(self, row))

    def show_cursor(self) -> None:
        """Scroll so that the cursor is in view, with a line of context if there is room."""
        height = self.scrollable_content_region.height
        top = round(self.scroll_y)
        if height <= 0:
            return
        margin = 1 if height > 4 else 0
        if self.cursor < top + margin:
            self.scroll_to(y=max(0, self.cursor - margin), animate=False, immediate=True)
        elif self.cursor >= top + height - margin:
            self.scroll_to(y=self.cursor - height + 1 + margin, animate=False, immediate=True)

    @property
    def lines_of_empty(self) -> int:
        """How many lines the text of an empty list needs."""
        return len(self._empty_lines())

    def _empty_lines(self) -> list[str]:
        """The text of an empty list, wrapped to its width."""
        return ["", *wrapped(self.empty, max(8, self.content_width - 2))]

    def on_resize(self) -> None:
        if not self.rows:
            self.relines(len(self._empty_lines()))
        self.call_after_refresh(self.show_cursor)

    def action_choose(self) -> None:
        """Enter or a double click; done at once, because the next key may be here already."""
        if self.rows and self._chosen is not None:
            self._chosen()

    def on_click(self, event: events.Click) -> None:
        row = event.y + round(self.scroll_y)
        if row < self.rows:
            self.move_to(row)
            if event.chain > 1:
                self.call_later(self.action_choose)
