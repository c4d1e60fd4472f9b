"""Reads a data set, filters it, and watches it for changes, on a thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sekft_engine.core.errors import SekftError
from sekft_engine.data.filters import Filter
from sekft_tui.library.certifier import Certifier
from sekft_tui.library.list_filter import ListFilter
from sekft_tui.library.scan import Numbers, Order
from sekft_tui.library.sorting import AS_READ, Sorted
from sekft_tui.process.workers import STEP_S, Background, KeyPriority

if TYPE_CHECKING:
    from sekft_engine.sources import Index

#: Seconds between two checks of a data set for changes.
WATCH_S = 2.0
#: Seconds between two reports of progress: of the first rows, and of more than a screen shows.
REPORT_S, LATER_S = 0.1, 0.5
#: Rows that fill any screen.
FULL = 500


class ListState(NamedTuple):
    """The contents of the list at one moment.

    Attributes:
        filtering: number of the filter, counted from the first one.
        generation: the index's: rows of another generation have other numbers.
        total: trajectories in the index so far.
        checked: those of them that the filter was applied to.
        shown: the numbers of those that pass the filter, in the order of the list; None = all do,
            in the order of their numbers.
        places: where each trajectory stands in ``shown``, by its number, -1 = nowhere; None = the
            list is in the order of their numbers.
        arranged: raised whenever trajectories may stand elsewhere than before.
        filtered: whether there is a filter.
        kept: those shown that are not marked to be left out of training.
        reading: the index is not complete yet.
        waits: the filter waits for trajectories to be certified.
        problems: files or lines that cannot be used.
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
    places: Numbers | None = None
    arranged: int = 0
    filtered: bool = False

    @property
    def rows(self) -> int:
        return self.total if self.shown is None else len(self.shown)

    @property
    def done(self) -> bool:
        return not self.reading and self.checked == self.total

    def number(self, position: int) -> int:
        return position if self.shown is None else int(self.shown[position])

    def position(self, number: int) -> int:
        """The position of trajectory ``number`` in the list; -1 = it is not shown."""
        if self.shown is None:
            return number if 0 <= number < self.total else -1
        if self.places is not None:
            return int(self.places[number]) if 0 <= number < len(self.places) else -1
        at = int(np.searchsorted(self.shown, number))
        return at if at < len(self.shown) and self.shown[at] == number else -1

    def order(self, position: int, by: int) -> Order:
        return Order(self.shown, self.total, position, by)


class GrowingArray:
    """An array that grows only at its end; views taken before stay as they are."""

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
        changed: called on the thread when :attr:`listed` changed, at most ten times a second.
    """

    def __init__(
        self,
        index: Index,
        certifier: Certifier,
        *,
        key_priority: KeyPriority,
        changed: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.listed = ListState()
        #: Set while the list is on the screen: only then is the data set watched.
        self.visible = False
        self._index = index
        self._certifier = certifier
        self._changed = changed
        self._wanted: Filter | None = Filter()
        self._list_filter = ListFilter(Filter(), index, certifier.verdicts)
        self._filtering = 0
        self._sorted = Sorted(index)
        self._by = AS_READ
        self._found = GrowingArray()
        self._queue: Numbers = np.empty(0, np.int32)
        self._pieces: Iterator[tuple[Numbers, int]] | None = None
        self._checked = 0
        self._generation = 0
        self._waits = False
        self._reported = self._watched = 0.0
        self._reported_order = 0
        self._thread = Background(
            "sekft-read", self._step, failed=failed, key_priority=key_priority
        )
        self._thread.start()

    def filter(self, wanted: Filter) -> int:
        """List only what passes; returns the :attr:`ListState.filtering` of that list."""
        self._wanted = wanted
        self._filtering += 1
        self._thread.wake()
        return self._filtering

    def sort(self, by: str) -> None:
        """List in another order, one of :data:`ORDERS`."""
        self._by = by
        self._thread.wake()

    def wake(self) -> None:
        self._thread.wake()

    def stop(self) -> None:
        self._thread.stop()

    # --- the thread -------------------------------------------------------------------------

    def _step(self) -> float | None:
        until = time.monotonic() + STEP_S
        self._refresh_index()
        self._restart()
        more = self._index.advance(STEP_S) if not self._index.complete else False
        self._filter_more(until)
        self._sorted.update(self._by, self._generation)
        self._report()
        if more or (not self.listed.done and not self._waits):
            return 0
        if self._waits:
            return REPORT_S
        return WATCH_S if self.visible else None

    def _refresh_index(self) -> None:
        """Check the disk for changes now and then, while the list is on the screen."""
        if not self.visible or time.monotonic() - self._watched < WATCH_S:
            return
        if self._index.complete:
            self._index.refresh()
        self._watched = time.monotonic()

    def _restart(self) -> None:
        """Start over if the filter is new, or rows have other numbers than before."""
        wanted = self._wanted
        generation = self._index.generation
        if wanted is None and generation == self._generation:
            return
        if generation != self._generation:
            self._generation = generation
            self._certifier.restart()
        self._wanted = None
        filtering = self._filtering
        self._list_filter = ListFilter(
            wanted if wanted is not None else self._list_filter.wanted,
            self._index,
            self._certifier.verdicts,
        )
        self._found, self._checked = GrowingArray(), 0
        self._queue = np.empty(0, np.int32)
        self._pieces = None
        self._waits = False
        self._reported = 0.0
        self.listed = ListState(filtering, generation, arranged=self.listed.arranged)

    def _filter_more(self, until: float) -> None:
        """Apply the filter to more of the index, until ``until``."""
        total = len(self._index)
        self._waits = False
        if not self._list_filter.wanted:
            self._checked = total
            return
        while time.monotonic() < until:
            if len(self._queue):
                if not self._filter_rows(until):
                    return
                continue
            if self._pieces is None:
                if self._checked >= total:
                    return
                self._pieces = self._list_filter.pieces(self._checked, total)
            piece = next(self._pieces, None)
            if piece is None:
                self._pieces = None
                continue
            numbers, self._checked = piece
            if self._list_filter.row_by_row:
                self._queue = numbers
            else:
                self._found.extend(numbers)

    def _filter_rows(self, until: float) -> bool:
        """Filter the queued rows one by one; False = one of them has to be certified first."""
        done = 0
        passing: list[int] = []
        for number in self._queue.tolist():
            try:
                answer = self._list_filter.passes(number)
            except SekftError:  # it is gone from the disk; opening it says so
                answer = False
            if answer is None:
                self._certifier.request(Order(self._queue, 0, done - 1, 1))
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
        everything = not self._list_filter.wanted
        total = len(self._index)
        resorted = self._sorted.version != self._reported_order
        checked = self._checked - len(self._queue)
        shown = None if everything else self._found.view
        now = ListState(
            filtering=self.listed.filtering,
            generation=self._generation,
            total=total if everything else max(total, checked),
            checked=total if everything else checked,
            shown=shown,
            kept=self.listed.kept,
            reading=not self._index.complete,
            waits=self._waits,
            problems=len(self._index.problems) if self._index.complete else 0,
            arranged=self.listed.arranged,
            filtered=not everything,
        )
        before = self.listed
        moved = resorted or _shown_part(now) != _shown_part(before)
        pause = REPORT_S if before.rows < FULL else LATER_S
        fresh = time.monotonic() - self._reported < pause
        if not moved and self._reported:
            return
        if fresh and not now.done:
            return
        keep = self._index.column("keep")[:total]
        kept = keep if shown is None else keep[shown[shown < len(keep)]]
        if resorted or self._sorted:
            shown, places = self._sorted.arrange(shown, now.total)
            now = now._replace(shown=shown, places=places, arranged=before.arranged + 1)
            self._reported_order = self._sorted.version
        self.listed = now._replace(kept=int(np.count_nonzero(kept)))
        self._reported = time.monotonic()
        self._changed()


def _shown_part(listed: ListState) -> tuple[int, ...]:
    """The fields that change what the screen shows."""
    return (*listed[:4], listed.rows, listed.reading, listed.problems)
