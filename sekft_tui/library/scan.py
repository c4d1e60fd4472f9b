"""Scanning trajectories: a result code for each so far, and which one to examine next."""

from __future__ import annotations

import threading
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int32]
Codes = npt.NDArray[np.uint8]

#: The code of a trajectory that was not examined yet.
UNKNOWN = 0


class Order(NamedTuple):
    """The order in which to visit a list: from beside position ``at``, in direction ``by`` (1, -1).

    ``shown`` are the numbers in the list; None = all of ``total``.
    """

    shown: Numbers | None
    total: int
    at: int
    by: int

    def positions(self) -> npt.NDArray[np.int64]:
        """Positions in the list in the order to visit them, all the way round to ``at``."""
        count = self.total if self.shown is None else len(self.shown)
        if not count:
            return np.empty(0, np.int64)
        return (self.at + self.by * np.arange(1, count + 1)) % count

    def numbers(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The trajectories at positions of the list."""
        return positions if self.shown is None else self.shown[positions].astype(np.int64)


class Hit(NamedTuple):
    """Where a jump leads. ``unknown``: one that was not examined yet comes before the next hit."""

    state: Literal["found", "unknown", "none"]
    position: int = -1


def next_hit(order: Order, codes: Codes, wanted: npt.NDArray[np.bool_]) -> Hit:
    """The next trajectory of ``order`` with ``wanted[code]``."""
    positions = order.positions()
    numbers = order.numbers(positions)
    found = np.zeros(len(numbers), np.uint8)
    inside = numbers < len(codes)
    found[inside] = codes[numbers[inside]]
    hits = wanted[found]
    first = int(hits.argmax()) if hits.any() else len(hits)
    open_ = found == UNKNOWN
    if open_.any() and int(open_.argmax()) < first:
        return Hit("unknown")
    return Hit("found", int(positions[first])) if first < len(hits) else Hit("none")


class CodeTable:
    """One code per trajectory, for any number of them. One thread writes, any may read."""

    def __init__(self) -> None:
        self.codes: Codes = np.zeros(0, np.uint8)

    def grow(self, total: int) -> None:
        """There are now ``total`` trajectories."""
        if total > len(self.codes):
            grown = np.zeros(max(total, len(self.codes) * 5 // 4), np.uint8)
            grown[: len(self.codes)] = self.codes
            self.codes = grown

    def known(self, total: int) -> int:
        return int(np.count_nonzero(self.codes[:total]))


class ScanPlan:
    """Which trajectories to examine next: those that are waited for, then the others."""

    def __init__(self, table: CodeTable) -> None:
        self._table = table
        self._lock = threading.Lock()
        self._order: Order | None = None
        self._fresh = False
        self._queue: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._next = 0

    def first(self, order: Order | None) -> None:
        """Examine these first, in this order; None = none in particular."""
        with self._lock:
            self._order, self._fresh = order, True

    def take(self, most: int, total: int, *, others: bool) -> list[int]:
        """The next numbers to examine, at most ``most``; with ``others`` also those that are not
        waited for."""
        with self._lock:
            order, fresh = self._order, self._fresh
            self._fresh = False
        self._table.grow(total)
        if fresh or self._next >= len(self._queue):
            self._queue, self._next = self._unknown(order, total, others), 0
        while self._next < len(self._queue):
            taken = self._queue[self._next : self._next + most]
            self._next += most
            taken = taken[self._table.codes[taken] == UNKNOWN]
            if len(taken):
                return [int(number) for number in taken]
        return []

    def _unknown(self, order: Order | None, total: int, others: bool) -> npt.NDArray[np.int64]:
        codes = self._table.codes[:total]
        if order is not None:
            numbers = order.numbers(order.positions())
            numbers = numbers[numbers < total]
            numbers = np.asarray(numbers[codes[numbers] == UNKNOWN])
            if len(numbers) or not others:
                return numbers
        rest: npt.NDArray[np.int64] = np.flatnonzero(codes == UNKNOWN)
        return rest if others else rest[:0]
