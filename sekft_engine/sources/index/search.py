"""Search the contents of trajectories on disk, from any row forwards or backwards.

What is searched is the decoded text. The bytes of a file are looked at first, but only to pass over
rows that cannot hold what is sought: they lack the longest run of it that JSON writes in one way,
and whatever may stand for a part of that run in another way.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sekft_engine.core.errors import SekftError
from sekft_engine.sources.index.trajectory_reader import read_bytes
from sekft_engine.sources.read.data_files import LINES, TABLE, kind

if TYPE_CHECKING:
    from sekft_engine.sources.index.index import Index

#: Bytes of lines, and rows of anything, that are looked at together.
BLOCK_BYTES, BLOCK_ROWS = 1 << 23, 1024
#: Characters that a JSON text has no need, and no other short way, to escape.
_PLAIN = re.compile(r'[^\x00-\x1f"/\\\x7f-\U0010ffff]+')
#: How those may stand there nevertheless: escaped by number, or as K (Kelvin) and İ, whose small
#: letters are k and i with a dot. An expression that begins with fixed bytes is searched quickly.
_ESCAPED = re.compile(rb"\\u(?:00[2-7]|212[aA]|0130)")
_LETTERS = ("\u212a".encode(), "\u0130".encode())


class Search:
    """Rows whose contents hold ``needle``, whatever the case; :meth:`advance` in a loop with
    :meth:`take` in between, which can be left at any time.

    Attributes:
        at: the row that is looked at next.
        looked: how many rows are done with.
        failed: rows that could not be read back.
        done: nothing is left: the end is reached, or the rows were renumbered (``stale``).
    """

    def __init__(
        self,
        index: Index,
        needle: str,
        start: int = 0,
        step: int = 1,
        only: NDArray[np.bool_] | None = None,
    ) -> None:
        self.needle = needle.lower()
        self.at = start
        self.looked = 0
        self.failed = 0
        self.done = False
        self._index = index
        self._backwards = step < 0
        self._only = only
        self._generation = index.generation
        self._found: list[int] = []
        self._anchor = max(_PLAIN.findall(self.needle), key=len, default="").encode()
        self._steps = self._run()

    @property
    def stale(self) -> bool:
        """Rows have other numbers than when the search began; what was found may be elsewhere."""
        return self._generation != self._index.generation

    def advance(self, seconds: float = 0.05) -> bool:
        """Search on for about ``seconds``; true while more is left."""
        deadline = time.monotonic() + seconds
        while not self.done:
            if self.stale or next(self._steps, self._steps) is self._steps:
                self.done = True
            elif time.monotonic() >= deadline:
                break
        return not self.done

    def take(self) -> list[int]:
        """The rows found since the last call, in the order of the search."""
        found, self._found = self._found, []
        return found

    def __iter__(self) -> Iterator[int]:
        """All rows that hold it, to the end."""
        while self.advance(0.05) or self._found:
            yield from self.take()

    # --- looking --------------------------------------------------------------------------------

    def _run(self) -> Iterator[None]:
        while 0 <= self.at < len(self._index):
            first, last = self._block()
            rows = np.arange(first, last)
            if self._only is not None:
                only = self._only[first:last]  # rows that came later are not among them
                rows = rows[: len(only)][only]
            candidates: list[int] = rows.tolist()
            if self._anchor and candidates:
                candidates = self._passing(candidates)
            yield
            found = []
            # Tables are read forwards, whichever way one looks.
            for row in candidates:
                if self._holds(row):
                    found.append(row)
                    if not self._backwards:
                        self._found.append(row)
                yield
            if self._backwards:
                self._found += reversed(found)
            self.looked += last - first
            self.at = first - 1 if self._backwards else last

    def _block(self) -> tuple[int, int]:
        """The next rows, :attr:`at` among them."""
        if self._backwards:
            return max(0, self.at - BLOCK_ROWS + 1), self.at + 1
        return self.at, min(len(self._index), self.at + BLOCK_ROWS)

    def _passing(self, rows: list[int]) -> list[int]:
        """Those of ``rows`` whose bytes do not tell that they cannot hold it."""
        places = self._index.places(rows[0], rows[-1] + 1)
        starts = places["offset"].astype(np.int64)
        ends = starts + places["length"].astype(np.int64)
        path = self._index.path_of(rows[0])
        together = (
            kind(path.name) == LINES
            and bool((places["file"] == places["file"][0]).all())
            and bool((starts[1:] >= ends[:-1]).all())
            and int(ends[-1] - starts[0]) <= BLOCK_BYTES
        )
        if not together:
            return [row for row in rows if self._may(row)]
        try:
            data = read_bytes(path, int(starts[0]), int(ends[-1] - starts[0]))
        except SekftError:
            return rows
        small = data.lower()
        escaped = _may_be_escaped(data)
        if not escaped and self._anchor not in small:
            return []
        bounds = zip((starts - starts[0]).tolist(), (ends - starts[0]).tolist(), strict=True)
        hits = {
            rows[0] + n
            for n, (start, end) in enumerate(bounds)
            if small.find(self._anchor, start, end) >= 0
            or (escaped and _may_be_escaped(data[start:end]))
        }
        return [row for row in rows if row in hits]

    def _may(self, row: int) -> bool:
        path = self._index.path_of(row)
        if kind(path.name) == TABLE:
            return True
        place = self._index.places(row, row + 1)[0]
        try:
            data = read_bytes(path, int(place["offset"]), int(place["length"]))
        except SekftError:
            return True
        return self._anchor in data.lower() or _may_be_escaped(data)

    def _holds(self, row: int) -> bool:
        try:
            return self.needle in self._index.text(row)
        except (SekftError, IndexError):
            self.failed += 1
            return False


def _may_be_escaped(data: bytes) -> bool:
    """Whether plain characters may be written in ``data`` in another way."""
    if _ESCAPED.search(data) is not None:
        return True
    return not data.isascii() and any(letter in data for letter in _LETTERS)
