"""The background search for words in the contents of all trajectories."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sekft_tui.library.scan import UNKNOWN, CodeTable, Order
from sekft_tui.process.workers import STEP_S, Background, KeyPriority, Throttle

if TYPE_CHECKING:
    from sekft_engine.sources import Index
    from sekft_engine.sources.index.search import Search

#: Codes: the words are not in the trajectory, or they are.
LACKS, HOLDS = 1, 2


class TextSearch:
    """Searches names and contents for ``needle``, ignoring case, in the order of a list."""

    def __init__(
        self,
        index: Index,
        needle: str,
        *,
        key_priority: KeyPriority,
        changed: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.needle = needle.lower()
        self.table = CodeTable()
        self.wanted = np.zeros(256, np.bool_)
        self.wanted[HOLDS] = True
        self._index = index
        self._throttle = Throttle(changed)
        self._requested: Order | None = None
        self._ranges: list[tuple[int, int]] = []
        self._unsearched = np.zeros(0, np.bool_)
        self._search: Search | None = None
        self._start = 0
        self._thread = Background(
            "sekft-find", self._step, failed=failed, key_priority=key_priority
        )
        self._started = False

    def search_from(self, order: Order) -> None:
        """Search in this order."""
        self._requested = order
        if not self._started:
            self._started = True
            self._thread.start()
        self._thread.wake()

    def stop(self) -> None:
        self._thread.stop()

    def count(self, shown: Order) -> tuple[int, int]:
        """How many trajectories of the list hold the words, and how many were searched."""
        codes = self.table.codes
        if shown.shown is None:
            found = codes[: shown.total]
        else:
            found = codes[shown.shown[shown.shown < len(codes)]]
        return int(np.count_nonzero(found == HOLDS)), int(np.count_nonzero(found))

    # --- the thread -------------------------------------------------------------------------

    def _step(self) -> float | None:
        if self._requested is not None:
            self._begin(self._requested)
        if self._search is None and not self._next_range():
            self._throttle.flush()
            return None
        search = self._search
        if search is None:
            return None
        more = search.advance(STEP_S)
        for row in search.take():
            self.table.codes[row] = HOLDS
        at = search.at
        low, high = (self._start, at) if at >= self._start else (at + 1, self._start + 1)
        self._mark_searched(low, high)
        self._start = at
        if not more:
            self._search = None
        self._throttle.changed()
        return 0

    def _begin(self, order: Order) -> None:
        """Two ranges: from the requested place to the end, and from the other end on."""
        self._requested = None
        total = len(self._index)
        self.table.grow(total)
        unknown = self.table.codes[:total] == UNKNOWN
        if order.shown is None:
            self._unsearched = unknown
        else:
            self._unsearched = np.zeros(total, np.bool_)
            shown = order.shown[order.shown < total]
            self._unsearched[shown] = unknown[shown]
        first = order.numbers(order.positions()[:1])
        start = int(first[0]) if len(first) else 0
        self._ranges = [(start, order.by), (0 if order.by > 0 else total - 1, order.by)]
        self._search = None

    def _next_range(self) -> bool:
        if not self._ranges or not self._unsearched.any():
            return False
        start, by = self._ranges.pop(0)
        self._search = self._index.search(self.needle, start, by, self._unsearched.copy())
        self._start = start
        return True

    def _mark_searched(self, low: int, high: int) -> None:
        """Rows ``low`` to ``high`` are searched; those without the words may still have them in the
        name."""
        high = min(high, len(self._unsearched))
        rows = np.flatnonzero(self._unsearched[low:high]) + low
        codes = self.table.codes
        for row in rows.tolist():
            if codes[row] != HOLDS:
                codes[row] = HOLDS if self._in_name(row) else LACKS
        self._unsearched[low:high] = False

    def _in_name(self, row: int) -> bool:
        try:
            return self.needle in self._index.facts(row).id.lower()
        except IndexError:
            return False
