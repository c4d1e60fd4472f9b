"""Append-only curves: one thread writes, another reads without a lock."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Series:
    """Points in the order of their arrival. A view taken once never changes."""

    def __init__(self) -> None:
        self._data = np.empty((2, 256))
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, x: float, y: float) -> None:
        """Add a point; at an ``x`` already passed (a resumed run) it replaces what followed."""
        size = self._size
        if size and x <= self._data[0, size - 1]:
            keep = int(np.searchsorted(self._data[0, :size], x))
            # A copy, for a reader may hold the old array.
            self._data = self._data.copy()
            size = keep
        if size == self._data.shape[1]:
            grown = np.empty((2, size * 2))
            grown[:, :size] = self._data[:, :size]
            self._data = grown
        self._data[:, size] = x, y
        self._size = size + 1

    def cut(self, after: float) -> None:
        """Forget the points beyond ``after``; a view taken before keeps them."""
        self._data = self._data.copy()
        self._size = int(np.searchsorted(self._data[0, : self._size], after, side="right"))

    def view(self) -> tuple[Floats, Floats]:
        """The points so far, not copied; later appends do not show in it."""
        data, size = self._data, self._size
        size = min(size, data.shape[1])
        return data[0, :size], data[1, :size]


def ema(values: Floats, weight: float) -> Floats:
    """Debiased exponential moving average; a NaN leaves a gap and no trace.

    Args:
        values: float array of shape (n,).
        weight: share of the past, 0 (no smoothing) up to 1.
    """
    out = np.full(len(values), np.nan)
    total, mass = 0.0, 0.0
    for index, value in enumerate(values.tolist()):
        if np.isfinite(value):
            total = weight * total + (1 - weight) * value
            mass = weight * mass + (1 - weight)
            out[index] = total / mass
    return out
