"""Append-only numbers: one thread writes, another reads without a lock."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Table:
    """Rows of numbers in the order of their first column. A view taken once never changes."""

    def __init__(self, columns: int) -> None:
        self._data = np.empty((columns, 256))
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, row: Sequence[float]) -> None:
        """Add a row. If its first value was passed already (the run was resumed), the row with that
        value and all after it are dropped first."""
        size = self._size
        if size and row[0] <= self._data[0, size - 1]:
            keep = int(np.searchsorted(self._data[0, :size], row[0]))
            # A copy, for a reader may hold the old array.
            self._data = self._data.copy()
            size = keep
        if size == self._data.shape[1]:
            grown = np.empty((len(self._data), size * 2))
            grown[:, :size] = self._data[:, :size]
            self._data = grown
        self._data[:, size] = row
        self._size = size + 1

    def cut(self, after: float) -> None:
        """Drop the rows beyond ``after``; a view taken before still has them."""
        self._data = self._data.copy()
        self._size = int(np.searchsorted(self._data[0, : self._size], after, side="right"))

    def rows(self) -> Floats:
        """The rows so far, shape (columns, n), not copied; later rows do not appear in it."""
        data, size = self._data, self._size
        return data[:, : min(size, data.shape[1])]


class Series(Table):
    """Points (x, y)."""

    def __init__(self) -> None:
        super().__init__(2)

    def append(self, x: float, y: float) -> None:
        self.add((x, y))

    def view(self) -> tuple[Floats, Floats]:
        """The points so far."""
        xs, ys = self.rows()
        return xs, ys


class Smooth:
    """The moving average of a growing curve: only new values are computed."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self._seen = np.empty(0)
        self._out = np.empty(0)
        self._count = 0
        self._total = 0.0

    def of(self, values: Floats) -> Floats:
        """The average of ``values``, as :func:`ema` gives it."""
        size = len(self._seen)
        if not (size <= len(values) and same(values[:size], self._seen)):
            self._seen, self._out = np.empty(0), np.empty(0)
            self._count, self._total, size = 0, 0.0, 0
        if size < len(values):
            new, self._count, self._total = _ema(
                values[size:], self.weight, self._count, self._total
            )
            self._out = np.concatenate((self._out, new)) if size else new
            self._seen = values
        return self._out


def same(first: Floats, second: Floats) -> bool:
    """Whether two views of a growing curve hold the same numbers. A few of them are compared: a
    curve is only ever continued, or cut and continued."""
    if not len(first):
        return not len(second)
    at = np.linspace(0, len(first) - 1, 16).astype(np.int64)
    return len(first) == len(second) and bool(np.array_equal(first[at], second[at], equal_nan=True))


def ema(values: Floats, weight: float) -> Floats:
    """Debiased exponential moving average; a value that is not finite leaves a gap and is skipped.

    Args:
        values: float array of shape (n,).
        weight: share of the past, 0 (no smoothing) up to 1.
    """
    return _ema(values, weight, 0, 0.0)[0]


def _ema(values: Floats, weight: float, before: int, total: float) -> tuple[Floats, int, float]:
    """The averages, the number of values so far, and their weighted total.

    ``before`` and ``total`` are the number and the total of earlier values. Computed in blocks:
    vector operations along each block, then from block to block, so that 100,000 values take a few
    milliseconds.
    """
    out = np.full(len(values), np.nan)
    finite = np.isfinite(values)
    given = values[finite]
    count = len(given)
    if not count:
        return out, before, total
    side = max(1, int(count**0.5))
    blocks = np.zeros((-(-count // side), side))
    blocks.ravel()[:count] = given * (1 - weight)
    for column in range(1, side):
        blocks[:, column] += weight * blocks[:, column - 1]
    carried = np.full(len(blocks), total)
    for block in range(1, len(blocks)):
        carried[block] = blocks[block - 1, -1] + carried[block - 1] * weight**side
    blocks += carried[:, None] * weight ** np.arange(1.0, side + 1)
    totals = blocks.ravel()[:count]
    mass = 1 - weight ** np.arange(before + 1.0, before + count + 1)
    out[finite] = totals / mass
    return out, before + count, float(totals[-1])
