"""How characters are shown and how many terminal cells they take.

Whatever a session printed may end up on a terminal or in a picture, so each character that acts
instead of showing (controls, bidirectional and zero-width marks, joiners, selectors, surrogates,
private use) is written out. What is left has a width that adds up character by character.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from rich.cells import cell_len

from sekft_engine.core.text import visible_table

#: Shown where a line ends in the text.
LINE_END = "⏎"
#: A tab takes as many cells wherever it stands, so that widths add up.
TAB = 4
#: Widths are counted in parts of a cell, so that what takes no cell still takes some room: no line
#: holds more than ``PER_CELL`` characters per cell, however many combining marks a program prints.
PER_CELL = 8

_UNKNOWN = 255

_SHOWN = visible_table({ord("\t"): " " * TAB, ord("\n"): LINE_END})


def shown(text: str) -> str:
    """``text`` as it is drawn: one line, nothing in it that a terminal would obey."""
    return text if text.isascii() and text.isprintable() else text.translate(_SHOWN)


def _part_width(code: int) -> int:
    if code == 10:
        return 1  # drawn after the last cell, where one is kept free
    return max(1, PER_CELL * cell_len(_SHOWN[code]))


class _Widths:
    """Code point -> parts of a cell; the table grows with the characters that are met."""

    def __init__(self) -> None:
        self._table = np.array([_part_width(code) for code in range(128)], dtype=np.uint8)

    def of(self, codes: npt.NDArray[np.uint32] | npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if codes.dtype != np.uint8 and len(self._table) == 128:
            whole = np.full(0x110000, _UNKNOWN, dtype=np.uint8)
            whole[:128] = self._table
            self._table = whole
        found = self._table[codes]
        new = np.unique(codes[found == _UNKNOWN])
        if len(new):
            self._table[new] = [_part_width(code) for code in new.tolist()]
            found = self._table[codes]
        return found


_WIDTHS = _Widths()


def code_points(text: str) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint32]:
    """The code points of ``text``, as bytes where it is ASCII."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def part_widths(codes: npt.NDArray[np.uint8] | npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """Per character: the parts of a cell (``PER_CELL`` to one) that it takes, at least 1."""
    return _WIDTHS.of(codes)
