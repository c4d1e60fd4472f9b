"""A filter over a data set that is certified meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sekft_engine import filters
from sekft_engine.filters import Filter, Value
from sekft_tui.background import STEP_S
from sekft_tui.library.passes import UNKNOWN, Numbers
from sekft_tui.library.verdicts import Verdicts

if TYPE_CHECKING:
    from sekft_engine.sources import Index


class Sieve:
    """Which rows of ``index`` pass ``wanted``. Ask from one thread."""

    def __init__(self, wanted: Filter, index: Index, verdicts: Verdicts) -> None:
        from sekft_engine.sources.sift import Sift

        self.wanted = wanted
        self._sift = Sift(wanted, index)
        self._verdicts = verdicts
        #: Whether rows have to be certified to know.
        self.late = bool(self._sift.late)

    @property
    def row_by_row(self) -> bool:
        """Whether :meth:`passes` has something left to say."""
        return bool(self._sift.rest)

    def pieces(self, low: int, high: int) -> Iterator[tuple[Numbers, int]]:
        """Of the rows from ``low`` to ``high`` those that may pass, bit by bit, each time with the
        row up to which that is decided."""
        return self._sift.pieces(low, high, STEP_S / 2)

    def passes(self, number: int) -> bool | None:
        """Whether row ``number`` passes the rest; None = it has to be certified to know."""
        if self.late and self._verdicts.code(number) == UNKNOWN:
            return None
        return filters.matches(
            self._sift.rest, self._asker(number), lambda: self._sift.text(number)
        )

    def _asker(self, number: int) -> Callable[[str], Value]:
        from sekft_engine.sources.sift import LATE, certified

        verdicts, early = self._verdicts, self._sift.asker(number)

        def ask(field: str) -> Value:
            if field not in LATE:
                return early(field)
            tokens, trained = int(verdicts.tokens[number]), int(verdicts.trained[number])
            return certified(field, verdicts.reason(number), tokens, trained)

        return ask
