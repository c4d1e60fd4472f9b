"""The files of an index: their names, and their size and time when they were last read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekft_engine.sources.index.columns import HashIndex, RecordArray, StringBuffer

FILE = np.dtype(
    [
        ("name_at", "u8"),
        ("name_length", "u4"),
        ("listed", "u8"),  # the inode in the folder's listing: for a link, that of the link
        ("inode", "u8"),
        ("size", "i8"),
        ("changed", "i8"),  # ns
        ("state", "u1"),
    ]
)
NEW, DONE, SKIPPED, GONE = range(4)


class FileTable:
    """Files by number, in the order in which they were found."""

    def __init__(self) -> None:
        self._rows = RecordArray(FILE)
        self._names = StringBuffer()
        self._numbers = HashIndex()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        return self._rows.nbytes + self._names.nbytes + self._numbers.nbytes

    @property
    def states(self) -> NDArray[np.uint8]:
        """Of each file one of NEW, DONE, SKIPPED, GONE; to be written to."""
        return self._rows.view["state"]

    @property
    def listed(self) -> NDArray[np.uint64]:
        """The inode of each as it was last listed; to be written to."""
        return self._rows.view["listed"]

    def add(self, names: Sequence[str], inodes: Sequence[int]) -> None:
        start = len(self)
        self._rows.extend(
            np.array(
                [
                    (*self._names.add(name), inode, 0, -1, 0, NEW)
                    for name, inode in zip(names, inodes, strict=True)
                ],
                FILE,
            )
        )
        if names:
            self._numbers.add(_hashes(names), np.arange(start, len(self), dtype=np.uint32))

    def dump_state(self) -> dict[str, Any]:
        """Everything, for :meth:`load_state`."""
        return {"rows": self._rows.dump_state(), "names": self._names.dump_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self._rows.load_state(state["rows"])
        self._names.load_state(state["names"])
        names = [self.name(file) for file in range(len(self))]
        if names:
            self._numbers.add(_hashes(names), np.arange(len(names), dtype=np.uint32))

    def fresh(self, now: int, span: int) -> bool:
        """Whether any file changed less than ``span`` ns before ``now``."""
        return bool((self._rows.view["changed"] > now - span).any())

    def name(self, file: int) -> str:
        record = self._rows.view[file]
        return self._names.get(int(record["name_at"]), int(record["name_length"]))

    def find(self, names: Sequence[str]) -> NDArray[np.int64]:
        """The number of each name, -1 for one that is not here."""
        found = self._numbers.first(_hashes(names))
        for n, name in enumerate(names):
            if found[n] >= 0 and self.name(int(found[n])) != name:  # two names of one hash
                each = (file for file in self._numbers.rows(hash(name)) if self.name(file) == name)
                found[n] = next(each, -1)
        return found

    def record(self, file: int, status: os.stat_result, state: int) -> None:
        """Remember the file's status as of when it was read."""
        row = self._rows.view[file]
        row["inode"] = status.st_ino
        row["size"] = status.st_size
        row["changed"] = status.st_mtime_ns
        row["state"] = state

    def same(self, file: int, status: os.stat_result) -> bool:
        """Whether its status is still that of when it was read."""
        record = self._rows.view[file]
        return bool(
            record["size"] == status.st_size
            and record["changed"] == status.st_mtime_ns
            and record["inode"] == status.st_ino
        )

    def grown(self, file: int, status: os.stat_result) -> bool:
        """Whether it may have grown at its end since it was read."""
        record = self._rows.view[file]
        return bool(record["size"] < status.st_size and record["inode"] == status.st_ino)


def _hashes(names: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter(map(hash, names), np.int64, len(names))
