"""Curves as Braille: pure functions from points to rows of text.

A character cell is 2 dots wide and 4 high. Each dot column shows everything between the smallest
and the largest value that the curve takes there, so a spike of one step never vanishes, however
many steps share the column. A NaN breaks the curve.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Dots = NDArray[np.bool_]

#: Bit of each dot of a Braille cell, by (row, column).
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint8)


class Frame(NamedTuple):
    """What part of the plane is drawn; with ``log`` the y limits are logarithms."""

    x0: float
    x1: float
    y0: float
    y1: float
    log: bool = False

    def y_of(self, values: Floats) -> Floats:
        """Values as drawn: their logarithm on a log axis, NaN where there is none."""
        if not self.log:
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values > 0, np.log10(np.where(values > 0, values, 1.0)), np.nan)


def frame_for(curves: list[tuple[Floats, Floats]], x0: float, x1: float, log: bool) -> Frame:
    """Limits that hold every finite value of ``curves`` between ``x0`` and ``x1``.

    A log axis is refused (linear instead) where no value is positive.
    """
    seen = []
    for xs, ys in curves:
        inside = ys[(xs >= x0) & (xs <= x1) & np.isfinite(ys)]
        if len(inside):
            seen.append(inside)
    values = np.concatenate(seen) if seen else np.zeros(0)
    if log:
        values = np.log10(values[values > 0]) if (values > 0).any() else values[:0]
        log = len(values) > 0
        if not log:
            return frame_for(curves, x0, x1, log=False)
    if not len(values):
        return Frame(x0, x1, 0.0, 1.0, log)
    low, high = float(values.min()), float(values.max())
    pad = (high - low) * 0.06 or abs(high) * 0.1 or 0.5
    bottom = low - pad
    if not log and low >= 0:
        bottom = max(0.0, bottom)
    return Frame(x0, x1, bottom, high + pad, log)


def rasterise(xs: Floats, ys: Floats, frame: Frame, width: int, height: int) -> Dots:
    """Dots of the curve, array of shape (4 * height, 2 * width), row 0 on top.

    Args:
        xs: increasing, shape (n,).
        ys: shape (n,); NaN and infinities are gaps.
        width: cells.
        height: cells.
    """
    columns, rows = 2 * width, 4 * height
    dots = np.zeros((rows, columns), dtype=np.bool_)
    if not len(xs) or width <= 0 or height <= 0:
        return dots
    ys = frame.y_of(ys)
    finite = np.isfinite(ys)
    span = (frame.x1 - frame.x0) or 1.0
    # Position in dots: the middle of the first column is x0, of the last x1.
    place = (xs - frame.x0) / span * (columns - 1) + 0.5
    starts = np.flatnonzero(finite & ~np.concatenate(([False], finite[:-1])))
    ends = np.flatnonzero(finite & ~np.concatenate((finite[1:], [False]))) + 1
    lowest = np.full(columns, np.inf)
    highest = np.full(columns, -np.inf)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        _extend(place[start:end], ys[start:end], lowest, highest)
    drawn = np.flatnonzero(lowest <= highest)
    scale = (rows - 1) / ((frame.y1 - frame.y0) or 1.0)
    top = np.rint((frame.y1 - highest[drawn]) * scale)
    bottom = np.rint((frame.y1 - lowest[drawn]) * scale)
    for column, first, last in zip(drawn.tolist(), top.tolist(), bottom.tolist(), strict=True):
        if last >= 0 and first < rows:
            dots[max(0, int(first)) : min(rows - 1, int(last)) + 1, column] = True
    return dots


def _extend(place: Floats, ys: Floats, lowest: Floats, highest: Floats) -> None:
    """Take one unbroken stretch into the extremes per column: its points, and where its straight
    pieces enter and leave each column."""
    columns = len(lowest)
    edges = np.arange(columns + 1, dtype=np.float64)
    inside = edges[(edges > place[0]) & (edges < place[-1])]
    crossing = np.interp(inside, place, ys)
    # A value on an edge belongs to the columns on both sides of it.
    where = np.concatenate((np.floor(place), inside, inside - 1)).astype(np.int64)
    value = np.concatenate((ys, crossing, crossing))
    keep = (where >= 0) & (where < columns)
    np.minimum.at(lowest, where[keep], value[keep])
    np.maximum.at(highest, where[keep], value[keep])


def braille(dots: Dots) -> list[str]:
    """Rows of Braille text; a cell without dots is a space."""
    rows, columns = dots.shape
    cells = dots.reshape(rows // 4, 4, columns // 2, 2).transpose(0, 2, 1, 3)
    codes = (cells * _BITS).sum(axis=(2, 3), dtype=np.int64)
    return ["".join(chr(0x2800 + code) if code else " " for code in row) for row in codes.tolist()]


def ticks(low: float, high: float, count: int) -> list[float]:
    """At most ``count`` round numbers (1, 2 or 5 times a power of ten) from ``low`` to ``high``."""
    span = high - low
    if count < 1 or not math.isfinite(span) or span <= 0:
        return [low] if math.isfinite(low) else []
    step = 10.0 ** math.floor(math.log10(span / count))
    for factor in (1, 2, 5, 10, 20, 50):
        found = _multiples(low, high, step * factor)
        if len(found) <= count:
            return found
    return [low]


def log_ticks(low: float, high: float, count: int) -> list[float]:
    """Logarithms of at most ``count`` round numbers between ``10**low`` and ``10**high``."""
    for digits in ((1, 2, 3, 4, 5, 6, 8), (1, 2, 5), (1, 3), (1,)):
        found = [
            power + math.log10(digit)
            for power in range(math.floor(low), math.ceil(high) + 1)
            for digit in digits
        ]
        found = [value for value in found if low <= value <= high]
        if len(found) <= count:
            return found
    return ticks(low, high, count)


def _multiples(low: float, high: float, step: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last - first > 1000:
        return [low] * 1001
    return [number * step for number in range(first, last + 1)]


def tick_labels(values: list[float]) -> list[str]:
    """Numbers on an axis: as few decimals as tell them apart, in at most seven characters."""
    if not values:
        return []
    top = max(abs(value) for value in values)
    if top >= 100000 or 0 < top < 0.0005:
        return [f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e") for value in values]
    for digits in range(6):
        labels = [f"{value:.{digits}f}" for value in values]
        right = all(
            abs(float(label) - value) <= 1e-9 * top
            for label, value in zip(labels, values, strict=True)
        )
        if right:
            break
    return labels
