"""Moving through a document: the cursor, and what has to be drawn again after a move."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
from textual.message import Message

from sekft_engine.maskview.document import Document
from sekft_engine.maskview.layout import MaskLayout
from sekft_tui.widgets.line_view import LineView
from sekft_tui.widgets.token_cursor import Cursor


class TokenMotion(LineView):
    """A view with a cursor on a token, if it shows a layout."""

    class Looked(Message):
        """The token under the cursor, the view or the document changed: update the legends."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, TokenMotion.Looked)

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.doc: Document | None = None
        self.marks: set[int] = set()
        self._layout: MaskLayout | None = None
        self._cursor = Cursor()

    @property
    def turn(self) -> int:
        """The turn under the cursor."""
        return int(self.doc.turn[self._cursor.token]) if self.doc and len(self.doc) else 0

    @property
    def token(self) -> int:
        """The token under the cursor."""
        return self._cursor.token

    def move(self, lines: int) -> None:
        layout = self._layout
        if layout is None:
            super().move(lines)
            return
        if abs(lines) == 1:
            line = self._cursor.line + lines
        else:
            row = layout.row_of(self._cursor.line) + lines if len(layout) else 0
            line = layout.at_row(max(0, min(row, layout.rows - 1)))[0]
        self._go(lambda: self._cursor.on_line(layout, line))

    def _go(self, move: Callable[[], object]) -> None:
        """Move the cursor with ``move``; only what looks different afterwards is drawn again."""
        layout = self._layout
        if layout is None or not len(layout):
            return
        before = self._touched(layout)
        move()
        after = self._touched(layout)
        if before != after:
            for line in before ^ after | {self._cursor.line}:
                self._refresh(layout, line)
        self.show_cursor()
        self.post_message(self.Looked())

    def _touched(self, layout: MaskLayout) -> set[int]:
        return {self._cursor.line, layout.head_of(self.turn)}

    def _refresh(self, layout: MaskLayout, line: int) -> None:
        for row in range(layout.row_of(line), layout.row_of(line + 1)):
            self.refresh_line(row)

    def _scroll(self, row: int) -> None:
        """Scroll ``row`` to the top, even if the scroll bar is not there yet."""
        self.scroll_to(y=row, animate=False, force=True)

    def show_cursor(self) -> None:
        """Scroll so that the cursor is in view, with a line of context if there is room."""
        layout, height = self._layout, self.scrollable_content_region.height
        if layout is None or not len(layout) or height <= 0:
            return
        first = layout.row_of(self._cursor.line)
        last = layout.row_of(self._cursor.line + 1) - 1
        margin = 1 if height > 6 else 0
        top = round(self.scroll_y)
        if first < top + margin:
            self._scroll(max(0, first - margin))
        elif last >= top + height - margin:
            self._scroll(last - height + 1 + margin)

    def _cursor_in_view(self) -> bool:
        layout = self._layout
        if layout is None or not len(layout):
            return False
        row, top = layout.row_of(self._cursor.line), round(self.scroll_y)
        return top <= row < top + max(1, self.scrollable_content_region.height)

    def to_turn(self, turn: int) -> None:
        """Move to the head of ``turn``, or of the last turn before it that is shown."""
        layout = self._layout
        if layout is not None and len(layout):
            self._to_head(layout, layout.head_of(turn))

    def step_turn(self, by: int) -> None:
        layout = self._layout
        if layout is not None and len(layout):
            self._to_head(layout, layout.head_beside(self._cursor.line, by))

    def _to_head(self, layout: MaskLayout, line: int) -> None:
        """Move to the head of a turn, with as much of the turn in view as fits."""
        self._go(lambda: self._cursor.on_line(layout, line))
        height = self.scrollable_content_region.height
        first, end = layout.row_of(line), layout.row_of(layout.end_of_turn(line))
        if end - round(self.scroll_y) > height:
            top = max(0, end - height) if end - first <= height else first
            self._scroll(top)

    def step_token(self, by: int) -> bool:
        """Move to the next or previous token that is shown; False at the end."""
        layout = self._layout
        if layout is None or not len(layout):
            return False
        moved = []
        self._go(lambda: moved.append(self._cursor.step(layout, by)))
        return moved == [True]

    def step_boundary(self, by: int) -> bool:
        """Move to the next or previous line on which trained text begins or ends."""
        return self.doc is not None and self._step_among(self.doc.boundaries, by)

    def step_trained(self, by: int) -> bool:
        """Move to the beginning of the next or previous trained span."""
        return self.doc is not None and self._step_among(self.doc.span_starts, by)

    def _step_among(self, tokens: npt.NDArray[np.int64], by: int) -> bool:
        """Move to the next of ``tokens`` that is on another line."""
        layout = self._layout
        if layout is None or not len(layout):
            return False
        at = int(np.searchsorted(tokens, self._cursor.token)) - (by < 0)
        for token in tokens[at::by].tolist() if at >= 0 else ():
            if (layout.line_of(token) - self._cursor.line) * by > 0 and layout.shows(token):
                self._go(partial(self._cursor.on_token, layout, token))
                return True
        return False

    def step_marked(self, by: int) -> bool:
        """Move to the next or previous marked turn."""
        found = sorted(turn for turn in self.marks if (turn - self.turn) * by > 0)
        if found:
            self.to_turn(found[0] if by > 0 else found[-1])
        return bool(found)
