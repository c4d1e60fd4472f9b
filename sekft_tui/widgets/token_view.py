"""The token view: what the model learns and what it only reads, told apart token by token.

Trained text is bold, coloured and has a bar in the gutter; masked text is dim. Either is seen
without colour. Control tokens (which no content can forge) have their own hue, and are reversed
where they are trained.
"""

from __future__ import annotations

from collections.abc import Hashable

from textual.message import Message

from sekft_tui.text import Parts, clip, visible_lines
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.token_doc import (
    LINE_END,
    MODES,
    Line,
    Mode,
    TokenDoc,
    boundaries,
    highlight,
)


class TokenView(LineList):
    """Draws a :class:`TokenDoc`, or a plain message where there is none."""

    class Looked(Message):
        """The turn under the cursor, the mode or the document changed: legends follow."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(self._line, id=id)
        self.doc: TokenDoc | None = None
        self.mode: Mode = "all"
        self.edges = False
        self.needle = ""
        self.marks: set[int] = set()
        self._lines: tuple[Line, ...] = ()
        self._boundaries: tuple[int, ...] = ()
        self._message: tuple[str, ...] = ()
        self._width = 0

    # --- what is shown ----------------------------------------------------------------------

    def show(self, doc: TokenDoc | None, message: str = "", marks: set[int] | None = None) -> None:
        """Show ``doc``, or ``message`` where it is None."""
        self.doc = doc
        self.marks = set() if marks is None else marks
        self._message = tuple(visible_lines(message))
        self.cursor = 0
        self.scroll_to(y=0, animate=False, immediate=True)
        self._lay_out()

    def _lay_out(self) -> None:
        self._width = self.content_width
        if self.doc is None:
            self._lines, self._boundaries = (), ()
            self.set_rows(len(self._message))
        else:
            self._lines = self.doc.layout(self._width, self.mode)
            self._boundaries = boundaries(self._lines, self.doc.tokens)
            self.set_rows(len(self._lines))
        self.post_message(self.Looked())

    def on_resize(self) -> None:
        if self.content_width != self._width:
            turn = self.turn
            self._lay_out()
            self.to_turn(turn)
        super().on_resize()

    # --- moving -----------------------------------------------------------------------------

    @property
    def turn(self) -> int:
        """The turn under the cursor."""
        return self._lines[self.cursor].turn if self.cursor < len(self._lines) else 0

    @property
    def turns(self) -> tuple[int, ...]:
        """The turns that the present mode shows."""
        return tuple(line.turn for line in self._lines if line.head)

    def move_to(self, row: int) -> None:
        before = self.turn
        super().move_to(row)
        if self.turn != before:
            self.redraw()
            self.post_message(self.Looked())

    def to_turn(self, turn: int) -> None:
        """Put the cursor on the head of ``turn``, or of the last shown one before it."""
        heads = [row for row, line in enumerate(self._lines) if line.head and line.turn <= turn]
        if heads:
            self.move_to(heads[-1])
            self._bring_up(heads[-1])

    def step_turn(self, by: int) -> None:
        shown = self.turns
        if shown:
            now = max((i for i, turn in enumerate(shown) if turn <= self.turn), default=0)
            self.to_turn(shown[max(0, min(now + by, len(shown) - 1))])

    def step_boundary(self, by: int) -> bool:
        """To the next or previous line on which trained text begins or ends."""
        rows = [row for row in self._boundaries if (row - self.cursor) * by > 0]
        if rows:
            self.move_to(rows[0] if by > 0 else rows[-1])
        return bool(rows)

    def step_marked(self, by: int) -> bool:
        found = sorted(turn for turn in self.marks if (turn - self.turn) * by > 0)
        if found:
            self.to_turn(found[0] if by > 0 else found[-1])
        return bool(found)

    def _bring_up(self, row: int) -> None:
        """Scroll so that ``row`` and what follows it is in view."""
        height = self.scrollable_content_region.height
        end = next(
            (n for n in range(row + 1, len(self._lines)) if self._lines[n].head), len(self._lines)
        )
        if end - round(self.scroll_y) > height:
            top = min(row, max(0, end - height))
            self.scroll_to(y=top if end - row <= height else row, animate=False, immediate=True)

    # --- looks ------------------------------------------------------------------------------

    def next_mode(self) -> Mode:
        turn = self.turn
        self.mode = MODES[(MODES.index(self.mode) + 1) % len(MODES)]
        self._lay_out()
        self.to_turn(turn)
        return self.mode

    def toggle_edges(self) -> None:
        self.edges = not self.edges
        self.redraw()
        self.post_message(self.Looked())

    def toggle_mark(self) -> None:
        self.marks ^= {self.turn}
        self.redraw()

    def find(self, needle: str) -> None:
        """Highlight ``needle`` and go to the first line that holds it."""
        self.needle = needle
        self.redraw()
        if needle:
            for row, line in enumerate(self._lines):
                text = "".join(piece.text for piece in line.pieces)
                if needle.lower() in text.lower():
                    self.move_to(row)
                    break

    def cache_key(self, y: int) -> Hashable:
        return y == self.cursor

    def _line(self, y: int, width: int) -> Parts:
        if self.doc is None:
            return ((" " + self._message[y], "quiet"),)
        line = self._lines[y]
        return self._head(line, width) if line.head else self._text(line)

    def _head(self, line: Line, width: int) -> Parts:
        if self.doc is None:
            return ()
        info = self.doc.turns[line.turn]
        current = line.turn == self.turn
        name = "command" if info.command else "environment"
        tail = (
            f" {info.trained} of {info.tokens} tokens trained "
            if info.command
            else f" {info.tokens} tokens "
        )
        tail = f" {info.note} ·{tail}" if info.note else tail
        mark = "●" if line.turn in self.marks else " "
        start = f"{line.turn + 1:>3} {name} "
        room = width - len(start) - len(tail) - 4
        rule = "─" * max(0, room)
        style = "head" if current else ("strong" if info.command else "quiet")
        return (
            ("▸" if current else " ", "key"),
            (mark, "accent"),
            (clip(start, width), style),
            (rule, "rule"),
            (tail if room >= 0 else "", "trained" if info.command else "quiet"),
        )

    def _text(self, line: Line) -> Parts:
        if self.doc is None:
            return ()
        parts: list[tuple[str, str]] = []
        for piece in line.pieces:
            token = self.doc.tokens[piece.token]
            if token.special:
                style = "special-trained" if token.trained else "special"
            else:
                style = "trained" if token.trained else "masked"
                if self.edges and piece.token % 2:
                    style += "-edge"
                elif piece.text == LINE_END and not self.edges and not token.trained:
                    continue
            parts.append((piece.text, style))
        gutter = ("▌ ", "trained") if line.trained else ("  ", "")
        return (gutter, *highlight(tuple(parts), self.needle))
