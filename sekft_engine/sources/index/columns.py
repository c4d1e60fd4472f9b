"""Columns of an index: compact arrays that only grow at their end, one number per row and column.

A reader on another thread may read any row below the length that it saw: rows are written before
the length is raised, and an array that replaces a full one has the same rows.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: How many words a table finds again by a dictionary; of later ones it may have duplicates.
INTERNED = 1 << 16
#: How many bytes of a text tell where it stands in a sorted list.
COMPARED = 256
#: Each byte in lower case.
_LOWER = np.frombuffer(bytes(range(256)).lower(), np.uint8)


class RecordArray:
    """Records of one structured type in one growing array."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._array: NDArray[Any] = np.zeros(16, dtype)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def view(self) -> NDArray[Any]:
        """``(records,)``, the records so far; writing to it changes them."""
        length = self._length  # first: the array may be a longer one by then, never a shorter one
        return self._array[:length]

    @property
    def nbytes(self) -> int:
        return self._array.nbytes

    def item(self, n: int) -> Any:
        """Record ``n`` as a tuple of plain values; IndexError beyond the end."""
        if n >= self._length:
            raise IndexError(n)
        return self._array.item(n)

    def extend(self, records: NDArray[Any]) -> None:
        end = self._length + len(records)
        if end > len(self._array):
            grown = np.zeros(max(end, len(self._array) + len(self._array) // 8), self._array.dtype)
            grown[: self._length] = self.view
            self._array = grown
        self._array[self._length : end] = records
        self._length = end

    def dump_state(self) -> bytes:
        """All records, for :meth:`load_state`."""
        return self.view.tobytes()

    def load_state(self, data: bytes) -> None:
        """Replace the records by those of :meth:`dump_state`."""
        self.retain(np.zeros(len(self), bool))
        self.extend(np.frombuffer(data, self._array.dtype))

    def retain(self, wanted: NDArray[np.bool_]) -> None:
        """Remove the records that are not ``wanted`` (a mask of all); the others move up."""
        records = self.view[wanted]
        self._length = min(self._length, len(records))  # a reader never sees past the new end
        self._array, self._length = records, len(records)


class StringBuffer:
    """Strings in one UTF-8 buffer; each is found by its start and its length in bytes."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def nbytes(self) -> int:
        return len(self._buffer)

    def add(self, text: str) -> tuple[int, int]:
        data = text.encode("utf-8", "surrogatepass")
        start = len(self._buffer)
        self._buffer += data
        return start, len(data)

    def dump_state(self) -> bytes:
        return bytes(self._buffer)

    def load_state(self, data: bytes) -> None:
        self._buffer = bytearray(data)

    def get(self, start: int, length: int) -> str:
        return self._buffer[start : start + length].decode("utf-8", "surrogatepass")

    def order(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers of some strings in the order of their texts, whatever the case of ASCII
        letters; of equal ones, and of those that differ only after :data:`COMPARED` bytes, the
        earlier stands first. Sorted by eight bytes at a time, the last ones first, so that the
        interpreter is free meanwhile."""
        data = _LOWER[np.frombuffer(bytes(self._buffer) or b"\0", np.uint8)]
        order = np.arange(len(starts))
        longest = min(COMPARED, int(lengths.max(initial=0)))
        for first in range((longest - 1) // 8 * 8, -1, -8):
            piece = np.zeros((len(order), 8), np.uint8)
            for at in range(8):
                there = np.flatnonzero(lengths > first + at)
                piece[there, at] = data[starts[there] + first + at]
            keys = piece.view(">u8")[:, 0].astype(np.uint64)
            order = order[np.argsort(keys[order], kind="stable")]
        return order


class WordTable:
    """Strings that recur: each has a code, as a rule the same one whenever it recurs.

    The first :data:`INTERNED` are Python strings; later ones are in a buffer."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._codes: dict[str, int] = {}
        self._more = StringBuffer()
        self._ends = array("Q", [0])

    def __len__(self) -> int:
        return len(self._first) + len(self._ends) - 1

    @property
    def nbytes(self) -> int:
        objects = sum(map(sys.getsizeof, self._codes)) + sys.getsizeof(self._codes)
        return objects + 8 * len(self._first) + self._more.nbytes + 8 * len(self._ends)

    def code(self, word: str) -> int:
        known = self._codes.get(word)
        if known is None:
            known = len(self)
            if known < INTERNED:
                self._first.append(word)
            else:
                if known % INTERNED == 0:
                    self._codes.clear()
                start, length = self._more.add(word)
                self._ends.append(start + length)
            self._codes[word] = known
        return known

    def __getitem__(self, code: int) -> str:
        if code < INTERNED:
            return self._first[code]
        start, end = self._ends[code - INTERNED], self._ends[code - INTERNED + 1]
        return self._more.get(start, end - start)

    def dump_state(self) -> tuple[list[bytes], bytes, bytes]:
        first = [word.encode("utf-8", "surrogatepass") for word in self._first]
        return first, self._more.dump_state(), self._ends.tobytes()

    def load_state(self, first: list[bytes], more: bytes, ends: bytes) -> None:
        self._first = [word.decode("utf-8", "surrogatepass") for word in first]
        self._codes = {word: code for code, word in enumerate(self._first)}
        self._more.load_state(more)
        self._ends = array("Q", ends)

    def mask(self, wanted: Callable[[str], bool]) -> NDArray[np.bool_]:
        """``(codes,)`` bool: whether the word of each code is ``wanted``."""
        return np.fromiter((wanted(self[code]) for code in range(len(self))), bool, len(self))


class HashIndex:
    """Finds the rows of a hash; 12 bytes per row, in sorted arrays that are merged as they grow.

    Different values may have one hash: the caller compares what was hashed."""

    def __init__(self) -> None:
        self._levels: tuple[tuple[NDArray[np.int64], NDArray[np.uint32]], ...] = ()

    @property
    def nbytes(self) -> int:
        return sum(hashes.nbytes + rows.nbytes for hashes, rows in self._levels)

    def add(self, hashes: NDArray[np.int64], rows: NDArray[np.uint32]) -> None:
        levels = [*self._levels, _sorted(hashes, rows)]
        while len(levels) > 1 and 2 * len(levels[-1][0]) >= len(levels[-2][0]):
            (first, first_rows), (last, last_rows) = levels[-2:]
            levels[-2:] = [
                _sorted(np.concatenate((first, last)), np.concatenate((first_rows, last_rows)))
            ]
        self._levels = tuple(levels)

    def rows(self, hashed: int) -> Iterable[int]:
        """The rows whose hash is ``hashed``."""
        for hashes, rows in self._levels:
            start = np.searchsorted(hashes, hashed, "left")
            end = np.searchsorted(hashes, hashed, "right")
            yield from rows[start:end].tolist()

    def first(self, hashes: NDArray[np.int64]) -> NDArray[np.int64]:
        """``(hashes,)`` int64: a row for each hash, -1 where there is none."""
        found = np.full(len(hashes), -1, np.int64)
        for level, rows in self._levels:
            at = np.minimum(np.searchsorted(level, hashes), len(level) - 1)
            hit = level[at] == hashes
            found[hit] = rows[at[hit]]
        return found

    def renumber(self, new: NDArray[np.int64]) -> None:
        """Give row ``n`` the number ``new[n]``; negative = remove it."""
        levels = []
        for hashes, rows in self._levels:
            renamed = new[rows]
            stay = renamed >= 0
            if stay.any():
                levels.append((hashes[stay], renamed[stay].astype(np.uint32)))
        self._levels = tuple(levels)


def _sorted(
    hashes: NDArray[np.int64], rows: NDArray[np.uint32]
) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    order = np.argsort(hashes, kind="stable")
    return hashes[order], rows[order]
