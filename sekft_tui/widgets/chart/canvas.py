"""A rectangle of cells to paint into; later paint covers earlier."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from sekft_tui.text import Parts
from sekft_tui.widgets.chart.raster import Codes

#: The style of the cell at the cursor.
READ = "read"


class Canvas:
    """``width`` x ``height`` cells, each a character one cell wide and a style's name."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._glyphs = np.full((height, width), ord(" "), dtype=np.uint32)
        self._styles = np.zeros((height, width), dtype=np.uint16)
        self._names = [""]

    def _style(self, name: str) -> int:
        if name not in self._names:
            self._names.append(name)
        return self._names.index(name)

    def paint(self, codes: Codes, style: str) -> None:
        """Paint the cells of ``codes``, an array of the canvas's shape, that are not 0."""
        there = codes > 0
        self._glyphs[there] = codes[there]
        self._styles[there] = self._style(style)

    def put(self, x: int, y: int, text: str, style: str) -> None:
        """Write ``text``, of characters one cell wide; what is outside is cut off."""
        if 0 <= y < self.height:
            for column, character in enumerate(text, x):
                if 0 <= column < self.width:
                    self._glyphs[y, column] = ord(character)
                    self._styles[y, column] = self._style(style)

    def grid(self, rows: Iterable[int], every: int, sign: str, style: str) -> None:
        """Put ``sign`` into each of ``rows``, every ``every`` cells."""
        for y in rows:
            self._glyphs[y, every - 1 :: every] = ord(sign)
            self._styles[y, every - 1 :: every] = self._style(style)

    def cell(self, x: int, y: int) -> str:
        return chr(self._glyphs[y, x])

    def row(self, y: int) -> Parts:
        """One row, in pieces of one style. Blanks take the style of what is before them: with fewer
        pieces, fewer bytes are sent to the terminal."""
        free = self._glyphs[y] == ord(" ")
        before = np.maximum.accumulate(np.where(free, 0, np.arange(self.width)))
        styles = self._styles[y][before]
        if READ in self._names:  # this style is visible on a blank, too
            styles[free & (styles == self._names.index(READ))] = 0
        text = self._glyphs[y].astype("<u4").tobytes().decode("utf-32-le")
        breaks = [0, *(np.flatnonzero(np.diff(styles)) + 1).tolist(), self.width]
        return tuple(
            (text[start:end], self._names[styles[start]])
            for start, end in pairwise(breaks)
            if end > start
        )
