"""The order of the list: as the data set is read, or sorted by a fact of the trajectories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sekft_tui.library.scan import Numbers

if TYPE_CHECKING:
    from sekft_engine.sources import Index

#: The order of the files and lines.
AS_READ = "data set"


class _Key(NamedTuple):
    """A field of the index, and whether its largest values come first."""

    field: str
    largest_first: bool = False


_KEYS: Mapping[str, _Key] = {
    "name": _Key("id"),
    "kind": _Key("archetype"),
    "end": _Key("outcome"),
    "commands": _Key("steps", largest_first=True),
    "turns": _Key("turns", largest_first=True),
    "length": _Key("characters", largest_first=True),
}
#: What the list can be sorted by, in the order in which one key goes through them.
ORDERS = (AS_READ, *_KEYS)


class Sorted:
    """How the rows of an index are sorted; what is read later stands at the end until all is read.

    For one thread. False while nothing is sorted.

    Attributes:
        version: raised whenever rows are sorted otherwise.
    """

    def __init__(self, index: Index) -> None:
        self.version = 0
        self._index = index
        self._by = AS_READ
        self._generation = 0
        self._ranks: Numbers = np.empty(0, np.int32)

    def __bool__(self) -> bool:
        return len(self._ranks) > 0

    def update(self, by: str, generation: int) -> None:
        """Sort by ``by``, as far as that is not done; ``generation`` is that of the numbers."""
        if (by, generation) != (self._by, self._generation):
            self.version += by != self._by or bool(self)
            self._by, self._generation = by, generation
            self._ranks = np.empty(0, np.int32)
        known = len(self._ranks)
        if by != AS_READ and self._index.complete and known < len(self._index):
            self._ranks = self._ranked(_KEYS[by])
            self.version += 1

    def _ranked(self, key: _Key) -> Numbers:
        """The place of each row among all."""
        if key.largest_first:
            order = np.argsort(-self._index.column(key.field).astype(np.int64), kind="stable")
        else:
            order = self._index.order(key.field)
        ranks = np.empty(len(order), np.int32)
        ranks[order] = np.arange(len(order), dtype=np.int32)
        return ranks

    def arrange(self, shown: Numbers | None, total: int) -> tuple[Numbers | None, Numbers | None]:
        """The numbers ``shown`` (None = all below ``total``) in the order of the list, and the
        place of each by its number; as they are, and None, while nothing is sorted."""
        if not self:
            return shown, None
        numbers = np.arange(total, dtype=np.int32) if shown is None else shown
        ranks = np.arange(max(total, len(self._ranks)), dtype=np.int32)
        ranks[: len(self._ranks)] = self._ranks
        numbers = numbers[np.argsort(ranks[numbers], kind="stable")]
        places = np.full(len(ranks), -1, np.int32)
        places[numbers] = np.arange(len(numbers), dtype=np.int32)
        return numbers, places
