"""Curves as Braille: pure functions from points to dots to characters.

A character cell is 2 dots wide and 4 high. Each dot column shows everything between the smallest
and the largest value that the curve takes there, so a spike of one step never vanishes, however
many steps share the column. What is not finite breaks the curve.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sekft_tui.series import Floats
from sekft_tui.widgets.chart.axes import Frame

Dots = NDArray[np.bool_]
Codes = NDArray[np.uint32]

#: Bit of each dot of a Braille cell, by (row, column).
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint32)


def rasterise(xs: Floats, ys: Floats, frame: Frame, width: int, height: int) -> Dots:
    """Dots of the curve, array of shape (4 * height, 2 * width), row 0 on top.

    Args:
        xs: increasing, shape (n,).
        ys: shape (n,); NaN and infinities are gaps.
        width: cells.
        height: cells.
    """
    columns, rows = 2 * width, 4 * height
    dots = np.zeros((max(0, rows), max(0, columns)), dtype=np.bool_)
    # One point beyond each border, for the pieces that cross it.
    start = max(0, int(np.searchsorted(xs, frame.x0)) - 1)
    end = int(np.searchsorted(xs, frame.x1, side="right")) + 1
    xs, ys = xs[start:end], frame.y_of(ys[start:end])
    if not len(xs) or not dots.size:
        return dots
    # Position in dots: the middle of the first column is x0, of the last x1.
    place = (xs - frame.x0) / ((frame.x1 - frame.x0) or 1.0) * (columns - 1) + 0.5
    lowest, highest = _extremes(place, ys, columns)
    drawn = lowest <= highest
    scale = (rows - 1) / ((frame.y1 - frame.y0) or 1.0)
    top = np.rint((frame.y1 - highest[drawn]) * scale)
    bottom = np.rint((frame.y1 - lowest[drawn]) * scale)
    row = np.arange(rows)[:, None]
    dots[:, drawn] = (row >= top) & (row <= bottom)
    return dots


def _extremes(place: Floats, ys: Floats, columns: int) -> tuple[Floats, Floats]:
    """Smallest and largest value per column: of the points in it, and of where the straight pieces
    between neighbours enter and leave it. (inf, -inf) where there is nothing."""
    lowest, highest = np.full(columns, np.inf), np.full(columns, -np.inf)
    finite = np.isfinite(ys)
    column = np.floor(place).astype(np.int64)
    inside = finite & (column >= 0) & (column < columns)
    _take(column[inside], ys[inside], lowest, highest)
    # Where a piece crosses the border of a column, its value belongs to the columns on both sides.
    edge = np.arange(columns + 1, dtype=np.float64)
    after = np.searchsorted(place, edge, side="right")
    between = (after > 0) & (after < len(place))
    edge, after = edge[between], after[between]
    whole = finite[after] & finite[after - 1]
    edge, after = edge[whole], after[whole]
    with np.errstate(over="ignore", invalid="ignore"):
        slope = (ys[after] - ys[after - 1]) / (place[after] - place[after - 1])
        value = slope * (edge - place[after - 1]) + ys[after - 1]
    number = edge.astype(np.int64)
    for one in (number, number - 1):
        keep = (one >= 0) & (one < columns) & np.isfinite(value)
        _take(one[keep], value[keep], lowest, highest)
    return lowest, highest


def _take(where: NDArray[np.int64], value: Floats, lowest: Floats, highest: Floats) -> None:
    np.minimum.at(lowest, where, value)
    np.maximum.at(highest, where, value)


def dashed(dots: Dots, pattern: tuple[int, ...]) -> Dots:
    """``dots`` with gaps: so many columns drawn, so many not, and again."""
    if not pattern:
        return dots
    turns = np.repeat(np.arange(len(pattern)) % 2 == 0, pattern)
    return dots & np.resize(turns, dots.shape[1])


def braille(dots: Dots) -> Codes:
    """Characters of shape (height, width); 0 where a cell has no dot."""
    rows, columns = dots.shape
    cells = dots.reshape(rows // 4, 4, columns // 2, 2).transpose(0, 2, 1, 3)
    codes: Codes = (cells * _BITS).sum(axis=(2, 3), dtype=np.uint32)
    codes[codes > 0] += 0x2800
    return codes
