"""Read one trajectory back from where the index found it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sekft_engine.data.read_report import Rejected
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.sources.index.facts import contents
from sekft_engine.sources.index.session_table import Place
from sekft_engine.sources.read.data_files import TABLE, kind
from sekft_engine.sources.read.packed import plain_file
from sekft_engine.sources.read.parse import is_utf8, trajectory_in, trajectory_of, unreadable
from sekft_engine.sources.read.pieces import pieces
from sekft_engine.sources.read.plain import plain_trajectory
from sekft_engine.sources.read.source import record_name, record_where
from sekft_engine.sources.read.tables import TableFile, explained, row_of


class TrajectoryReader:
    """Reads only the line, the file or the batch of rows that is asked for; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: _Open | None = None

    def trajectory(self, path: Path, place: Place) -> Trajectory:
        """What stands at ``place`` of the file ``path``.

        Raises:
            BadInput: no trajectory stands there any more.
            Unavailable: the file cannot be read.
        """
        where = record_where(path, place.line, place.item)
        name = record_name(path, place.line, place.item)
        if kind(path.name) != TABLE:
            data = read_place(path, place)
            return plain_trajectory(data) or trajectory_in(data, where, name)
        with self._lock:
            row = self._row(path, place.line, where)
        return trajectory_of(row, where, name)

    def texts(self, path: Path, place: Place, identity: str) -> list[str] | None:
        """The contents of the turns at ``place``; None where that takes the strict reader, or
        where it is not ``identity`` that stands there."""
        if kind(path.name) == TABLE:
            return None
        data = read_place(path, place)
        name = record_name(path, place.line, place.item)
        found = contents(data, name) if is_utf8(data) else None
        return found[1] if found is not None and found[0] == identity else None

    def _row(self, path: Path, number: int, where: str) -> dict[str, Any]:
        try:
            status = path.stat()
        except OSError as error:
            raise unreadable(path, error) from error
        key = (path, status.st_ino, status.st_size, status.st_mtime_ns)
        if self._table is None or self._table.key != key:
            self._table = _Open(key)
        with explained(path):
            row = self._table.row(number, where)
        if isinstance(row, Rejected):
            raise row
        return row


class _Open:
    """The table that was read last, and where in it; reading on from there is cheap."""

    def __init__(self, key: tuple[Path, int, int, int]) -> None:
        self.key = key
        self._table = TableFile(key[0])
        self._batches: Iterator[tuple[int, Any]] = iter(())
        self._first = 0
        self._batch: Any = ()

    def row(self, number: int, where: str) -> dict[str, Any] | Rejected:
        if not self._first <= number < self._first + 8 * len(self._batch):
            self._batches, self._batch = self._table.batches(start=number), ()
        while not self._first <= number < self._first + len(self._batch):
            found = next(self._batches, None)
            if found is None:
                return Rejected(
                    "unreadable", "no such row any more", where=where, mend="reload the data"
                )
            self._first, self._batch = found
        return row_of(self._batch, number - self._first, where)


def read_place(path: Path, place: Place) -> bytes:
    """The JSON text at a place: of a line, or of a whole file, however long it is now."""
    if place.line:
        return read_bytes(path, place.offset, place.length)
    data = read_bytes(path, 0, None)
    return pieces(data)[0].of(data)


def read_bytes(path: Path, offset: int, length: int | None) -> bytes:
    """``length`` bytes of a file, or what is left of them; all that is left for None.

    Raises:
        Unavailable: it cannot be read.
    """
    try:
        with plain_file(path).open("rb", buffering=0) as file:
            file.seek(offset)
            if length is None:
                return file.read()
            parts = []
            while length > 0 and (part := file.read(length)):
                parts.append(part)
                length -= len(part)
            return b"".join(parts)
    except OSError as error:
        raise unreadable(path, error) from error
