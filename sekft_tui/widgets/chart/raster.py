"""Curves as Braille: pure functions from points to dots to characters.

A character cell is 2 dots wide and 4 high. Each dot column shows everything between the smallest
and the largest value that the curve takes there, so a spike of one step never vanishes, however
many steps share the column. A value that is not finite is a gap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sekft_tui.model.series import Floats
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
    columns, rows = max(0, 2 * width), max(0, 4 * height)
    dots = np.zeros((rows, columns), dtype=np.bool_)
    if not len(xs) or not dots.size:
        return dots
    lowest, highest = extremes(xs, ys, frame, columns)
    drawn = lowest <= highest
    scale = (rows - 1) / ((frame.y1 - frame.y0) or 1.0)
    top = np.rint((frame.y1 - highest[drawn]) * scale)
    bottom = np.rint((frame.y1 - lowest[drawn]) * scale)
    row = np.arange(rows)[:, None]
    dots[:, drawn] = (row >= top) & (row <= bottom)
    return dots


def extremes(xs: Floats, ys: Floats, frame: Frame, columns: int) -> tuple[Floats, Floats]:
    """Smallest and largest value of each column, as drawn: of the points in it, and of the lines
    between neighbours where they enter and leave it. (inf, -inf) in an empty column.

    For each point only the extremes are computed, whatever the axis.
    """
    # The middle of the first column is x0, of the last x1; an edge lies half a column before.
    unit = ((frame.x1 - frame.x0) or 1.0) / max(1, columns - 1)
    edges = frame.x0 + (np.arange(columns + 1) - 0.5) * unit
    after = np.searchsorted(xs, edges)
    start, end = int(after[0]), int(after[-1])
    ys = _drawable(ys, max(0, start - 1), end + 1, frame.log)
    lowest, highest = np.full(columns, np.inf), np.full(columns, -np.inf)
    if start < end:
        least, most = _reduced(ys, after, start, end)
        filled = after[1:] > after[:-1]
        lowest[filled], highest[filled] = frame.y_of(least), frame.y_of(most)
        gap = np.isnan(lowest)
        lowest[gap], highest[gap] = np.inf, -np.inf
    # Where a piece crosses an edge, its value belongs to the columns on both sides.
    number = np.flatnonzero((after > 0) & (after < len(xs)))
    right = after[number]
    near = frame.y_of(ys[right]), frame.y_of(ys[right - 1])
    with np.errstate(over="ignore", invalid="ignore"):
        slope = (near[0] - near[1]) / (xs[right] - xs[right - 1])
        value = slope * (edges[number] - xs[right - 1]) + near[1]
    there = np.isfinite(value)
    number, value = number[there], value[there]
    for column, inside in ((number, number < columns), (number - 1, number > 0)):
        np.minimum.at(lowest, column[inside], value[inside])
        np.maximum.at(highest, column[inside], value[inside])
    return lowest, highest


def _drawable(ys: Floats, start: int, end: int, log: bool) -> Floats:
    """``ys`` with NaN for values that cannot be drawn, from ``start`` to ``end`` only."""
    visible = ys[start:end]
    least = float(visible.min()) if len(visible) else 0.0
    if least > (0.0 if log else -np.inf) and float(visible.max()) < np.inf:
        return ys
    ys = ys.copy()
    ys[start:end][~(np.isfinite(visible) & (visible > 0) if log else np.isfinite(visible))] = np.nan
    return ys


def _reduced(ys: Floats, after: NDArray[np.int64], start: int, end: int) -> tuple[Floats, Floats]:
    """Smallest and largest value of each column with points; NaN if all of them are NaN."""
    firsts = after[:-1][after[1:] > after[:-1]] - start
    visible = ys[start:end]
    least: Floats = np.fmin.reduceat(visible, firsts)
    most: Floats = np.fmax.reduceat(visible, firsts)
    return least, most


def dashed(dots: Dots, pattern: tuple[int, ...]) -> Dots:
    """``dots`` with gaps: ``pattern`` columns drawn and not drawn, in turn."""
    if not pattern:
        return dots
    turns = np.repeat(np.arange(len(pattern)) % 2 == 0, pattern)
    return dots & np.resize(turns, dots.shape[1])


#: What curves are drawn with: braille, blocks (fonts that have no Braille) or ascii.
_glyphs = "braille"


def set_glyphs(name: str) -> None:
    """Draw curves with ``braille``, ``blocks`` or ``ascii`` from now on."""
    global _glyphs
    _glyphs = name


def drawn(dots: Dots) -> Codes:
    """Characters of shape (height, width); 0 where a cell has no dot."""
    if _glyphs == "braille":
        return braille(dots)
    rows, columns = dots.shape
    # The upper and the lower half of each cell.
    halves: Dots = np.asarray(dots.reshape(rows // 4, 2, 2, columns // 2, 2).any(axis=(2, 4)))
    table = _ASCII if _glyphs == "ascii" else _BLOCKS
    codes: Codes = table[halves[:, 0] * 1 + halves[:, 1] * 2]
    return codes


#: Nothing, the upper half, the lower half, both.
_BLOCKS = np.array([0, ord("▀"), ord("▄"), ord("█")], dtype=np.uint32)
_ASCII = np.array([0, ord("'"), ord("."), ord("|")], dtype=np.uint32)


def braille(dots: Dots) -> Codes:
    """Characters of shape (height, width); 0 where a cell has no dot."""
    rows, columns = dots.shape
    cells = dots.reshape(rows // 4, 4, columns // 2, 2).transpose(0, 2, 1, 3)
    codes: Codes = (cells * _BITS).sum(axis=(2, 3), dtype=np.uint32)
    codes[codes > 0] += 0x2800
    return codes
