"""The cursor in a layout: line, token and column, kept over moves and new widths. No widget."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sekft_engine.core.cells import cells
from sekft_engine.maskview.cells import shown
from sekft_engine.maskview.layout import LinePiece, MaskLayout


class Place(NamedTuple):
    """A place that is valid in any layout: a character of a token, or the head of a turn."""

    token: int
    at: int
    turn: int
    head: bool

    @classmethod
    def of(cls, layout: MaskLayout, line: int) -> Place:
        return cls(
            layout.token_of(line), layout.start_of(line), layout.turn_of(line), layout.is_head(line)
        )

    def line(self, layout: MaskLayout) -> int:
        """The line of this place in another layout of the same document."""
        if not len(layout):
            return 0
        if self.head:
            return layout.head_of(self.turn)
        whole = self.at == layout.doc.start(self.token)
        return layout.line_of(self.token) if whole else layout.line_at(self.at)


class Cursor:
    """A line and the part of a token on it.

    ``column`` is the cell that moving up and down tries to keep.
    """

    def __init__(self) -> None:
        self.line = 0
        self.token = 0
        self.at = 0
        self.column = 0

    def on_line(self, layout: MaskLayout, line: int) -> None:
        """Move to the token at the kept column of ``line``; on a head, to the first of its turn."""
        self.line = max(0, min(line, len(layout) - 1))
        if not len(layout):
            self.token = self.at = 0
            return
        pieces = layout.line(self.line).pieces
        if not pieces:
            self.token, self.at = layout.token_of(self.line), layout.start_of(self.line)
            return
        piece, used = pieces[0], 0
        for candidate in pieces:
            if used > self.column:
                break
            piece = candidate
            used += _width(layout, candidate)
        self.token, self.at = piece.token, piece.start

    def on_token(self, layout: MaskLayout, token: int, at: int = 0) -> None:
        """Move to ``token``, or to the part of it that shows the character ``at``."""
        start = layout.doc.start(token)
        at = max(at, start)
        self.line = layout.line_of(token) if at == start else layout.line_at(at)
        self.token, self.at, self.column = token, at, 0
        used = 0
        for piece in layout.line(self.line).pieces:
            if piece.token == token:
                self.at, self.column = piece.start, used
                break
            used += _width(layout, piece)

    def restore(self, layout: MaskLayout, head: bool) -> None:
        """Move to the same place in another layout of the same document."""
        if not len(layout):
            self.line = 0
        elif head:
            self.on_line(layout, layout.head_of(int(layout.doc.turn[self.token])))
        elif layout.shows(self.token):
            column = self.column
            self.on_token(layout, self.token, self.at)
            self.column = max(column, self.column)
        else:
            self.on_line(layout, layout.line_of(self.token))

    def step(self, layout: MaskLayout, by: int) -> bool:
        """Move to the next or previous token that is shown; False if there is none."""
        doc = layout.doc
        if layout.is_head(self.line) and by > 0:
            self.on_token(layout, self.token)
            return True
        if layout.mode == "all":
            token = self.token + by
        else:
            wanted = np.flatnonzero(doc.mask == (layout.mode == "trained"))
            at = int(np.searchsorted(wanted, self.token + (by > 0))) - (by < 0)
            token = int(wanted[at]) if 0 <= at < len(wanted) else -1
        if not 0 <= token < len(doc):
            return False
        self.on_token(layout, token)
        return True


def _width(layout: MaskLayout, piece: LinePiece) -> int:
    return cells(shown(layout.doc.text[piece.start : piece.end]))
