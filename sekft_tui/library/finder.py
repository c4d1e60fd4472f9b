"""The background pass that looks for words in the contents of all trajectories."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sekft_tui.background import STEP_S, Background, Courtesy, Teller
from sekft_tui.library.passes import UNKNOWN, Order, Table

if TYPE_CHECKING:
    from sekft_engine.sources import Index
    from sekft_engine.sources.search import Search

#: Codes: the words are not in it, or they are.
LACKS, HOLDS = 1, 2


class Finder:
    """Looks for ``needle`` (any case) in names and contents, in the order of a list."""

    def __init__(
        self,
        index: Index,
        needle: str,
        *,
        courtesy: Courtesy,
        changed: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.needle = needle.lower()
        self.table = Table()
        self.wanted = np.zeros(256, np.bool_)
        self.wanted[HOLDS] = True
        self._index = index
        self._news = Teller(changed)
        self._asked: Order | None = None
        self._legs: list[tuple[int, int]] = []
        self._only = np.zeros(0, np.bool_)
        self._search: Search | None = None
        self._from = 0
        self._thread = Background("sekft-find", self._step, failed=failed, courtesy=courtesy)
        self._started = False

    def look(self, order: Order) -> None:
        """Look there first, and all the way round."""
        self._asked = order
        if not self._started:
            self._started = True
            self._thread.start()
        self._thread.wake()

    def stop(self) -> None:
        self._thread.stop()

    def count(self, shown: Order) -> tuple[int, int]:
        """Among the trajectories of the list: how many hold the words, how many were looked at."""
        codes = self.table.codes
        if shown.shown is None:
            found = codes[: shown.total]
        else:
            found = codes[shown.shown[shown.shown < len(codes)]]
        return int(np.count_nonzero(found == HOLDS)), int(np.count_nonzero(found))

    # --- the thread -------------------------------------------------------------------------

    def _step(self) -> float | None:
        if self._asked is not None:
            self._begin(self._asked)
        if self._search is None and not self._next_leg():
            self._news.last()
            return None
        search = self._search
        if search is None:
            return None
        more = search.advance(STEP_S)
        for row in search.take():
            self.table.codes[row] = HOLDS
        at = search.at
        low, high = (self._from, at) if at >= self._from else (at + 1, self._from + 1)
        self._done_with(low, high)
        self._from = at
        if not more:
            self._search = None
        self._news.news()
        return 0

    def _begin(self, order: Order) -> None:
        """Two legs: from the place asked for to the end, and from the other end on."""
        self._asked = None
        total = len(self._index)
        self.table.grow(total)
        unknown = self.table.codes[:total] == UNKNOWN
        if order.shown is None:
            self._only = unknown
        else:
            self._only = np.zeros(total, np.bool_)
            shown = order.shown[order.shown < total]
            self._only[shown] = unknown[shown]
        first = order.numbers(order.positions()[:1])
        start = int(first[0]) if len(first) else 0
        self._legs = [(start, order.by), (0 if order.by > 0 else total - 1, order.by)]
        self._search = None

    def _next_leg(self) -> bool:
        if not self._legs or not self._only.any():
            return False
        start, by = self._legs.pop(0)
        self._search = self._index.search(self.needle, start, by, self._only.copy())
        self._from = start
        return True

    def _done_with(self, low: int, high: int) -> None:
        """Rows ``low`` to ``high`` are looked at: those not found are told by their names."""
        high = min(high, len(self._only))
        rows = np.flatnonzero(self._only[low:high]) + low
        codes = self.table.codes
        for row in rows.tolist():
            if codes[row] != HOLDS:
                codes[row] = HOLDS if self._named(row) else LACKS
        self._only[low:high] = False

    def _named(self, row: int) -> bool:
        try:
            return self.needle in self._index.facts(row).id.lower()
        except IndexError:
            return False
