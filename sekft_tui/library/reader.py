"""Reads a data set on, filters it, and watches it grow: all beside the screen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sekft_engine.errors import SekftError
from sekft_engine.filters import Filter
from sekft_tui.background import STEP_S, Background, Courtesy
from sekft_tui.library.certifier import Certifier
from sekft_tui.library.passes import Numbers, Order
from sekft_tui.library.sieve import Sieve

if TYPE_CHECKING:
    from sekft_engine.sources import Index

#: Between two looks at a data set that may grow.
WATCH_S = 2.0
#: Between two times that the list is told how far it is.
TELL_S = 0.1


class Listed(NamedTuple):
    """What there is to list at one instant.

    ``shown`` are the numbers of what passes the filter, in order; None = all ``total`` do.
    ``filtering`` counts the filters there were; ``generation`` is the index's.
    """

    filtering: int = 0
    generation: int = 0
    total: int = 0
    checked: int = 0
    shown: Numbers | None = None
    kept: int = 0
    reading: bool = True
    waits: bool = False
    problems: int = 0

    @property
    def rows(self) -> int:
        return self.total if self.shown is None else len(self.shown)

    @property
    def done(self) -> bool:
        return not self.reading and self.checked == self.total

    def number(self, position: int) -> int:
        return position if self.shown is None else int(self.shown[position])

    def position(self, number: int) -> int:
        """Where trajectory ``number`` stands in the list; -1 = it is not shown."""
        if self.shown is None:
            return number if 0 <= number < self.total else -1
        at = int(np.searchsorted(self.shown, number))
        return at if at < len(self.shown) and self.shown[at] == number else -1

    def order(self, position: int, by: int) -> Order:
        return Order(self.shown, self.total, position, by)


class Growing:
    """An array that only grows at its end; what was handed out stays as it is."""

    def __init__(self) -> None:
        self._array: Numbers = np.empty(1024, np.int32)
        self._count = 0

    @property
    def view(self) -> Numbers:
        return self._array[: self._count]

    def extend(self, numbers: Numbers) -> None:
        end = self._count + len(numbers)
        if end > len(self._array):
            grown = np.empty(max(end, 2 * len(self._array)), np.int32)
            grown[: self._count] = self.view
            self._array = grown
        self._array[self._count : end] = numbers
        self._count = end


class Reader:
    """Keeps :attr:`listed` up to date.

    Args:
        tell: called on the thread when :attr:`listed` changed, no more than ten times a second.
    """

    def __init__(
        self,
        index: Index,
        certifier: Certifier,
        *,
        courtesy: Courtesy,
        tell: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.listed = Listed()
        #: Set while the list is on the screen: only then is the data set watched.
        self.visible = False
        self._index = index
        self._certifier = certifier
        self._tell = tell
        self._wanted: Filter | None = Filter()
        self._sieve = Sieve(Filter(), index, certifier.verdicts)
        self._filtering = 0
        self._found = Growing()
        self._queue: Numbers = np.empty(0, np.int32)
        self._pieces: Iterator[tuple[Numbers, int]] | None = None
        self._checked = 0
        self._generation = 0
        self._waits = False
        self._told = self._watched = 0.0
        self._thread = Background("sekft-read", self._step, failed=failed, courtesy=courtesy)
        self._thread.start()

    def filter(self, wanted: Filter) -> int:
        """List only what passes; returns the number that :class:`Listed` will carry then."""
        self._wanted = wanted
        self._filtering += 1
        self._thread.wake()
        return self._filtering

    def wake(self) -> None:
        self._thread.wake()

    def stop(self) -> None:
        self._thread.stop()

    # --- the thread -------------------------------------------------------------------------

    def _step(self) -> float | None:
        until = time.monotonic() + STEP_S
        self._look()
        self._again()
        more = self._index.advance(STEP_S) if not self._index.complete else False
        self._sift(until)
        self._report()
        if more or (not self.listed.done and not self._waits):
            return 0
        if self._waits:
            return TELL_S
        return WATCH_S if self.visible else None

    def _look(self) -> None:
        """Notice what is new on disk, every now and then while someone looks."""
        if not self.visible or time.monotonic() - self._watched < WATCH_S:
            return
        if self._index.complete:
            self._index.refresh()
        self._watched = time.monotonic()

    def _again(self) -> None:
        """Begin again where the filter is new, or rows have other numbers than before."""
        wanted = self._wanted
        generation = self._index.generation
        if wanted is None and generation == self._generation:
            return
        if generation != self._generation:
            self._generation = generation
            self._certifier.restart()
        self._wanted = None
        filtering = self._filtering
        self._sieve = Sieve(
            wanted if wanted is not None else self._sieve.wanted,
            self._index,
            self._certifier.verdicts,
        )
        self._found, self._checked = Growing(), 0
        self._queue = np.empty(0, np.int32)
        self._pieces = None
        self._waits = False
        self._told = 0.0
        self.listed = Listed(filtering, generation)

    def _sift(self, until: float) -> None:
        """Filter what is indexed and not filtered yet, for a while."""
        total = len(self._index)
        self._waits = False
        if not self._sieve.wanted:
            self._checked = total
            return
        while time.monotonic() < until:
            if len(self._queue):
                if not self._one_by_one(until):
                    return
                continue
            if self._pieces is None:
                if self._checked >= total:
                    return
                self._pieces = self._sieve.pieces(self._checked, total)
            piece = next(self._pieces, None)
            if piece is None:
                self._pieces = None
                continue
            numbers, self._checked = piece
            if self._sieve.row_by_row:
                self._queue = numbers
            else:
                self._found.extend(numbers)

    def _one_by_one(self, until: float) -> bool:
        """Look at the rows that are waiting; False = one of them has to be certified first."""
        done = 0
        passing: list[int] = []
        for number in self._queue.tolist():
            try:
                answer = self._sieve.passes(number)
            except SekftError:  # it is gone from the disk; a look at it says so
                answer = False
            if answer is None:
                self._certifier.ask(Order(self._queue, 0, done - 1, 1))
                self._waits = True
                break
            done += 1
            if answer:
                passing.append(number)
            if time.monotonic() > until:
                break
        self._found.extend(np.array(passing, np.int32))
        self._queue = self._queue[done:]
        return not self._waits

    def _report(self) -> None:
        everything = not self._sieve.wanted
        total = len(self._index)
        checked = self._checked - len(self._queue)
        shown = None if everything else self._found.view
        now = Listed(
            filtering=self.listed.filtering,
            generation=self._generation,
            total=total if everything else max(total, checked),
            checked=total if everything else checked,
            shown=shown,
            kept=self.listed.kept,
            reading=not self._index.complete,
            waits=self._waits,
            problems=len(self._index.problems) if self._index.complete else 0,
        )
        before = self.listed
        moved = _seen(now) != _seen(before)
        fresh = time.monotonic() - self._told < TELL_S
        if not moved and self._told:
            return
        if fresh and not now.done:
            return
        keep = self._index.column("keep")[:total]
        kept = keep if shown is None else keep[shown[shown < len(keep)]]
        self.listed = now._replace(kept=int(np.count_nonzero(kept)))
        self._told = time.monotonic()
        self._tell()


def _seen(listed: Listed) -> tuple[int, ...]:
    """What the screen shows of it."""
    return (*listed[:4], listed.rows, listed.reading, listed.problems)
