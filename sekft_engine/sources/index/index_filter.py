"""A filter over an index: whole columns at once where that decides, row by row where it must."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sekft_engine.data import filters
from sekft_engine.data.filters import Filter, Term, Value

if TYPE_CHECKING:
    from sekft_engine.sources.index.index import Index

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int32]

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
#: Between two pieces of a search.
STEP_S = 0.05


class IndexFilter:
    """Which rows of an index pass a filter, as far as that is known without certifying them.

    Args:
        wanted: the filter.
        index: may grow meanwhile.

    Attributes:
        rest: the terms that neither the columns nor the search for one of the words decide.
        late: those of them that are only known once a row is certified.
    """

    def __init__(self, wanted: Filter, index: Index) -> None:
        self.wanted = wanted
        self._index = index
        self._quick = tuple(t for t in wanted.terms if t.field in _COLUMNS or t.field in _WORDS)
        words = [t for t in wanted.terms if not t.field and not t.negated]
        #: The longest of the words: searched for first, for that passes over most rows unread.
        self._word = max(words, key=lambda t: len(t.values[0])) if words else None
        rest = (t for t in wanted.terms if t not in self._quick and t is not self._word)
        self.rest = Filter(tuple(rest))
        self.late = late_of(wanted)
        self._early = Filter(tuple(term for term in self.rest.terms if term.field not in LATE))

    def rows(self) -> Iterator[int]:
        """The rows that pass all but :attr:`late`, in order."""
        for numbers, _ in self.pieces(0, len(self._index)):
            for number in numbers.tolist():
                if filters.matches(self._early, self.asker(number), lambda: self.text(number)):  # noqa: B023
                    yield number

    def pieces(self, low: int, high: int, seconds: float = STEP_S) -> Iterator[tuple[Numbers, int]]:
        """The rows from ``low`` to ``high`` (excluded) that may pass, in pieces.

        Args:
            low, high: the range.
            seconds: how long the search for one piece may take.

        Yields:
            The numbers of such rows, and the row up to which everything is decided.
        """
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
            more = search.advance(seconds)
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

    def asker(self, number: int) -> Callable[[str], Value]:
        """Gives the value of a field of row ``number`` that is known without certifying."""

        def ask(field: str) -> Value:
            found: str = getattr(self._index.facts(number), field)
            return found

        return ask

    def text(self, number: int) -> str:
        """The text that words are searched in: the name and the contents of row ``number``."""
        return f"{self._index.facts(number).id}\n".lower() + self._index.text(number)


def late_of(wanted: Filter) -> Filter:
    """The terms that are only known once a row is certified."""
    return Filter(tuple(term for term in wanted.terms if term.field in LATE))


def certified(field: str, reason: str, tokens: int, trained: int) -> Value:
    """The value of a late field of a certified row.

    Args:
        field: its name.
        reason: why the row is dropped; '' = it is trained on.
        tokens: of the row; 0 = it could not be rendered.
        trained: how many of them are trained.
    """
    if field == "dropped":
        return bool(reason)
    if field == "reason":
        return reason
    if not tokens:
        return None
    return {"tokens": tokens, "trained": trained, "share": 100 * trained / tokens}[field]
