"""A filter over an index: whole columns at once where that decides, row by row where it must."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sekft_tui import filters
from sekft_tui.background import STEP_S
from sekft_tui.filters import Filter, Term, Value
from sekft_tui.library.passes import UNKNOWN, Numbers
from sekft_tui.library.verdicts import PASSES, Verdicts

if TYPE_CHECKING:
    from sekft_engine.sources import Index

Mask = npt.NDArray[np.bool_]

#: Fields of the filter language that the index has a column for, by the column's name.
_COLUMNS = {
    "keep": "keep", "clean": "clean", "verified": "verified",
    "turns": "turns", "steps": "steps", "length": "characters",
}  # fmt: skip
#: And those of few different words.
_WORDS = {
    "archetype": "archetype", "provider": "provider", "channel": "announcement",
    "outcome": "outcome",
}  # fmt: skip
#: What is only known after certifying.
LATE = frozenset(name for name, field in filters.TRAJECTORY.items() if field.late)


class Sieve:
    """Which rows of ``index`` pass ``wanted``. Ask from one thread."""

    def __init__(self, wanted: Filter, index: Index, verdicts: Verdicts) -> None:
        self.wanted = wanted
        self._index = index
        self._verdicts = verdicts
        quick = [t for t in wanted.terms if t.field in _COLUMNS or t.field in _WORDS]
        self._quick = tuple(quick)
        words = [t for t in wanted.terms if not t.field and not t.negated]
        #: The longest of the words: searched for first, for that passes over most rows unread.
        self._word = max(words, key=lambda t: len(t.values[0])) if words else None
        slow = (t for t in wanted.terms if t not in quick and t is not self._word)
        self._slow = Filter(tuple(slow))
        #: Whether rows have to be certified to know.
        self.late = wanted.asks(*LATE)

    @property
    def row_by_row(self) -> bool:
        """Whether :meth:`passes` has something left to say."""
        return bool(self._slow)

    def pieces(self, low: int, high: int) -> Iterator[tuple[Numbers, int]]:
        """Of the rows from ``low`` to ``high`` those that may pass, bit by bit, each time with the
        row up to which that is decided."""
        passing = np.ones(high - low, np.bool_)
        for term in self._quick:
            passing &= self._column(term)[low:high] != term.negated
        if self._word is None:
            yield (np.flatnonzero(passing) + low).astype(np.int32), high
            return
        needle = self._word.values[0]
        only = np.zeros(high, np.bool_)
        only[low:] = passing
        named = self._index.mask("id", lambda name: needle in name.lower())[:high] & only
        search = self._index.search(needle, low, 1, only)
        found = np.zeros(high, np.bool_)
        while low < high:
            more = search.advance(STEP_S / 2)
            found[search.take()] = True
            upto = min(search.at, high) if more else high
            hits = np.flatnonzero(found[low:upto] | named[low:upto]) + low
            low = upto
            yield hits.astype(np.int32), upto

    def _column(self, term: Term) -> Mask:
        if term.field in _WORDS:
            return self._index.mask(_WORDS[term.field], lambda word: filters.holds(term, word))
        values = self._index.column(_COLUMNS[term.field])
        if values.dtype == np.bool_:
            return np.where(values, filters.holds(term, True), filters.holds(term, False))
        limits = [filters.number(text) for text in term.values]
        compare: dict[str, Callable[[], Mask]] = {
            ">": lambda: values > limits[0],
            ">=": lambda: values >= limits[0],
            "<": lambda: values < limits[0],
            "<=": lambda: values <= limits[0],
            "=": lambda: np.isin(values, limits),
        }
        return compare[term.op]()

    def passes(self, number: int) -> bool | None:
        """Whether row ``number`` passes the rest; None = it has to be certified to know."""
        if self.late and self._verdicts.code(number) == UNKNOWN:
            return None
        return filters.matches(
            self._slow,
            lambda field: self._ask(number, field),
            lambda: self._text(number),
        )

    def _text(self, number: int) -> str:
        return f"{self._index.facts(number).id}\n".lower() + self._index.text(number)

    def _ask(self, number: int, field: str) -> Value:
        if field in LATE:
            return _verdict(self._verdicts, number, field)
        found: str = getattr(self._index.facts(number), field)
        return found


def _verdict(verdicts: Verdicts, number: int, field: str) -> Value:
    code = verdicts.code(number)
    if field == "dropped":
        return code > PASSES
    if field == "reason":
        return verdicts.reasons[code]
    tokens, trained = int(verdicts.tokens[number]), int(verdicts.trained[number])
    if not tokens:
        return None  # it could not be rendered
    return {"tokens": tokens, "trained": trained, "share": 100 * trained / tokens}[field]
