"""A filter over a data set that is being certified at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sekft_engine.data import filters
from sekft_engine.data.filters import Filter, Value
from sekft_tui.library.scan import UNKNOWN, Numbers
from sekft_tui.library.verdicts import Verdicts
from sekft_tui.process.workers import STEP_S

if TYPE_CHECKING:
    from sekft_engine.sources import Index


class ListFilter:
    """Decides which rows of ``index`` pass ``wanted``. For one thread."""

    def __init__(self, wanted: Filter, index: Index, verdicts: Verdicts) -> None:
        from sekft_engine.sources.index.index_filter import IndexFilter

        self.wanted = wanted
        self._sift = IndexFilter(wanted, index)
        self._verdicts = verdicts
        #: Whether the filter asks for something that certifying a row finds out.
        self.late = bool(self._sift.late)

    @property
    def row_by_row(self) -> bool:
        """Whether rows have to be checked one by one with :meth:`passes`."""
        return bool(self._sift.rest)

    def pieces(self, low: int, high: int) -> Iterator[tuple[Numbers, int]]:
        """The rows from ``low`` to ``high`` that may pass, piece by piece, each with the row up to
        which this is decided."""
        return self._sift.pieces(low, high, STEP_S / 2)

    def passes(self, number: int) -> bool | None:
        """Whether row ``number`` passes; None = it has to be certified first."""
        if self.late and self._verdicts.code(number) == UNKNOWN:
            return None
        return filters.matches(
            self._sift.rest, self._reader_of(number), lambda: self._sift.text(number)
        )

    def _reader_of(self, number: int) -> Callable[[str], Value]:
        from sekft_engine.sources.index.index_filter import LATE, certified

        verdicts, early = self._verdicts, self._sift.asker(number)

        def ask(field: str) -> Value:
            if field not in LATE:
                return early(field)
            tokens, trained = int(verdicts.tokens[number]), int(verdicts.trained[number])
            return certified(field, verdicts.reason(number), tokens, trained)

        return ask
