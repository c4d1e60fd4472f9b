"""Break a million tokens into lines that fit: exact, with numpy, no object per token.

The text is cut into *pieces*: each token is one, cut further after every line end and where it is
wider than a line. A line then takes as many pieces as fit. Only the lines' beginnings are kept.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sekft_engine.maskview.cells import PER_CELL, code_points, part_widths

Ints = npt.NDArray[np.signedinteger[Any]]
Bools = npt.NDArray[np.bool_]
#: The most parts that a character takes: nine cells, as ``<e01ef>`` and its like.
_WIDEST = 9 * PER_CELL


class Pieces(NamedTuple):
    """Per piece: its ``token``, where it ``start``s and ``end``s in the text, its ``width`` in
    parts of a cell, does the ``line`` end after it. An empty token is one empty piece."""

    token: Ints
    start: Ints
    end: Ints
    width: Ints
    line: Bools

    def only(self, wanted: Bools) -> Pieces:
        return Pieces(
            self.token[wanted],
            self.start[wanted],
            self.end[wanted],
            self.width[wanted],
            self.line[wanted],
        )


def cut(text: str, ends: npt.NDArray[np.int32], room: int) -> Pieces:
    """The pieces of ``text`` whose tokens end at ``ends``, none wider than ``room`` cells."""
    codes = code_points(text)
    last = int(ends[-1]) if len(ends) else 0
    breaks = np.flatnonzero(codes[:last] == 10) + 1
    end, token = _insert(ends, np.arange(len(ends), dtype=np.int32), breaks)
    # Half the memory where it suffices: for texts of up to 30 million characters.
    small = len(codes) * _WIDEST < 2**31
    before: Ints = np.zeros(len(codes) + 1, dtype=np.int32 if small else np.int64)
    np.cumsum(part_widths(codes), out=before[1:])
    width = before[end] - before[_starts(end)]
    wide = np.flatnonzero(width > room * PER_CELL)
    if len(wide):
        memory = memoryview(before.data)
        cuts: list[int] = []
        for low, high in zip(_starts(end)[wide].tolist(), end[wide].tolist(), strict=True):
            cuts += chain(memory, low, high, room * PER_CELL)[1:]
        end, token = _insert(end, token, np.array(cuts, dtype=np.int32))
        width = before[end] - before[_starts(end)]
    start = _starts(end)
    line = (end > start) & (codes[np.maximum(end, 1) - 1] == 10) if last else end > start
    return Pieces(token, start, end, np.maximum(width, 1), line)


def _starts(end: Ints) -> Ints:
    starts = np.zeros_like(end)
    starts[1:] = end[:-1]
    return starts


def _insert(end: Ints, token: Ints, cuts: Ints) -> tuple[Ints, Ints]:
    """``end`` with those of ``cuts`` put in that are not there, and the tokens that they cut."""
    at = np.searchsorted(end, cuts)
    new = end[at] != cuts if len(cuts) else np.zeros(0, dtype=np.bool_)
    at, cuts = at[new], cuts[new]
    return np.insert(end, at, cuts), np.insert(token, at, token[at])


def chain(before: memoryview, low: int, high: int, room: int) -> list[int]:
    """Where lines begin in ``[low, high)``: as much on each as fits, at least one piece.

    ``before[k]`` is the width of all that precedes ``k``; each piece is at least 1 wide.
    """
    found = []
    while low < high:
        found.append(low)
        top = min(high, low + room + 1)
        fits = bisect_right(before, before[low] + room, low + 1, top + 1) - 1
        low = max(low + 1, fits)
    return found


def lines(width: Ints, ends_line: Bools, room: int) -> Ints:
    """The first piece of each line of ``room`` cells; a line ends after ``ends_line`` at latest."""
    count = len(width)
    if not count:
        return np.zeros(0, dtype=np.int64)
    before = np.zeros(count + 1, dtype=width.dtype)
    np.cumsum(width, out=before[1:])
    stops = np.flatnonzero(ends_line) + 1
    if not len(stops) or stops[-1] != count:
        stops = np.append(stops, count)
    starts = _starts(stops)
    wide = np.flatnonzero(before[stops] - before[starts] > room * PER_CELL)
    if not len(wide):
        return starts
    memory = memoryview(before.data)
    more: list[int] = []
    for low, high in zip(starts[wide].tolist(), stops[wide].tolist(), strict=True):
        more += chain(memory, low, high, room * PER_CELL)[1:]
    extra = np.array(more, dtype=np.int64)
    return np.insert(starts, np.searchsorted(starts, extra), extra)
