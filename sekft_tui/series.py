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
        """Add a row; at a first value already passed (a resumed run) it replaces what followed."""
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
        """Forget the rows beyond ``after``; a view taken before keeps them."""
        self._data = self._data.copy()
        self._size = int(np.searchsorted(self._data[0, : self._size], after, side="right"))

    def rows(self) -> Floats:
        """The rows so far, shape (columns, n), not copied; later ones do not show in it."""
        data, size = self._data, self._size
        return data[:, : min(size, data.shape[1])]


class Series(Table):
    """Points."""

    def __init__(self) -> None:
        super().__init__(2)

    def append(self, x: float, y: float) -> None:
        self.add((x, y))

    def view(self) -> tuple[Floats, Floats]:
        """The points so far."""
        xs, ys = self.rows()
        return xs, ys


def ema(values: Floats, weight: float) -> Floats:
    """Debiased exponential moving average; what is not finite leaves a gap and no trace.

    Done in blocks: within one by as many vector operations as it is long, then from block to
    block, so that 100,000 values take about a millisecond.

    Args:
        values: float array of shape (n,).
        weight: share of the past, 0 (no smoothing) up to 1.
    """
    out = np.full(len(values), np.nan)
    finite = np.isfinite(values)
    given = values[finite]
    count = len(given)
    if not count:
        return out
    side = max(1, int(count**0.5))
    blocks = np.zeros((-(-count // side), side))
    blocks.ravel()[:count] = given * (1 - weight)
    for column in range(1, side):
        blocks[:, column] += weight * blocks[:, column - 1]
    carried = np.zeros(len(blocks))
    for block in range(1, len(blocks)):
        carried[block] = blocks[block - 1, -1] + carried[block - 1] * weight**side
    blocks += carried[:, None] * weight ** np.arange(1.0, side + 1)
    mass = 1 - weight ** np.arange(1.0, count + 1)
    out[finite] = blocks.ravel()[:count] / mass
    return out
