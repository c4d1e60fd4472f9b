"""Packed rows on disk: append-only files of many rows each, found by key.

A file is written beside its final name and renamed, so that it is there whole or not at all. It
holds records (key, length, checksum, data), then an index of them, then a footer. What is damaged
counts as absent: a file with a damaged index is not read, a record with a wrong checksum is not
returned. No error of the disk leaves this module.
"""

from __future__ import annotations

import os
import secrets
import struct
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

_MAGIC = b"sekftrow1"
_RECORD = struct.Struct("<16sII")
_FOOTER = struct.Struct("<QII9s")
_INDEX = np.dtype([("high", "<u8"), ("low", "<u8"), ("at", "<u8"), ("file", "<u4")])
_SUFFIX = ".rows"

#: Rows wait in memory up to so many bytes before a file is written.
_FLUSH = 32 << 20
#: So many files smaller than this become one with the next that is written.
_SMALL, _MANY_SMALL = 4 << 20, 8
#: Seconds after which an unfinished file counts as abandoned.
_ABANDONED = 24 * 3600.0


class RowFiles:
    """The packed rows in one folder, found by key.

    Args:
        folder: all rows in it have one render digest.
        limit: bytes that all folders beside this one may take up together; the files that were
            not used for longest go first.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._paths: list[Path] = []
        self._handles: dict[int, int] = {}
        self._index = np.empty(0, dtype=_INDEX)
        self._waiting: dict[bytes, bytes] = {}
        self._bytes = 0
        self._open()

    def _open(self) -> None:
        indexes = []
        with suppress(OSError):
            for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
                index = _read_index(path)
                if index is not None:
                    index["file"] = len(self._paths)
                    self._paths.append(path)
                    indexes.append(index)
        if indexes:
            index = np.concatenate(indexes)
            self._index = index[np.argsort(index["high"], kind="stable")]

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The data of each key (16 bytes), or None."""
        if not len(self._index):
            return [self._waiting.get(key) for key in keys]
        pairs = np.frombuffer(b"".join(keys), dtype=">u8").astype(np.uint64).reshape(-1, 2)
        places = np.searchsorted(self._index["high"], pairs[:, 0]).tolist()
        return [
            self._waiting.get(key) or self._find(key, place)
            for key, place in zip(keys, places, strict=True)
        ]

    def _find(self, key: bytes, place: int) -> bytes | None:
        high, low = struct.unpack(">QQ", key)
        while place < len(self._index):
            entry = self._index[place]
            if int(entry["high"]) != high:
                return None
            if int(entry["low"]) == low:
                data = self._record(key, int(entry["file"]), int(entry["at"]))
                if data is not None:
                    return data
            place += 1
        return None

    def _record(self, key: bytes, number: int, at: int) -> bytes | None:
        with suppress(OSError):
            handle = self._handles.get(number)
            if handle is None:
                path = self._paths[number]
                handle = self._handles[number] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                with suppress(OSError):
                    os.utime(path)  # used now: evicted later
            # Most rows come with one read.
            data = os.pread(handle, 8192, at)
            if len(data) < _RECORD.size:
                return None
            found, length, checksum = _RECORD.unpack_from(data)
            if _RECORD.size + length > len(data):
                data = os.pread(handle, _RECORD.size + length, at)
            data = data[_RECORD.size : _RECORD.size + length]
            if found == key and len(data) == length and zlib.crc32(data) == checksum:
                return data
        return None

    def add(self, key: bytes, data: bytes) -> None:
        """Store ``data`` under ``key`` (16 bytes); :meth:`flush` writes it to disk."""
        self._waiting[key] = data
        self._bytes += len(data)
        if self._bytes > _FLUSH:
            self.flush()

    def flush(self) -> None:
        """Write what was added. If the disk is full or read-only, it is dropped."""
        waiting, self._waiting, self._bytes = self._waiting, {}, 0
        if not waiting:
            return
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            small = [path for path in self._folder.glob(f"*{_SUFFIX}") if _size(path) < _SMALL]
            absorbed = small if len(small) >= _MANY_SMALL else []
            for path in absorbed:
                waiting = _records(path) | waiting
            _write(self._folder / f"{secrets.token_hex(8)}{_SUFFIX}", waiting)
            for path in absorbed:
                path.unlink(missing_ok=True)
            _evict(self._folder.parent, self._limit)

    def close(self) -> None:
        """Flush, and close all files."""
        self.flush()
        for handle in self._handles.values():
            with suppress(OSError):
                os.close(handle)
        self._handles = {}


def _write(path: Path, records: dict[bytes, bytes]) -> None:
    stage = path.with_suffix(".part")
    try:
        with stage.open("xb") as file:
            index = np.empty(len(records), dtype=_INDEX)
            at = 0
            for number, (key, data) in enumerate(records.items()):
                high, low = struct.unpack(">QQ", key)
                index[number] = (high, low, at, 0)
                head = _RECORD.pack(key, len(data), zlib.crc32(data))
                at += file.write(head) + file.write(data)
            table = index.tobytes()
            file.write(table)
            file.write(_FOOTER.pack(at, len(records), zlib.crc32(table), _MAGIC))
        stage.replace(path)
    finally:
        stage.unlink(missing_ok=True)


def _read_index(path: Path) -> npt.NDArray[np.void] | None:
    """The index of a file, or None where it is damaged."""
    try:
        with path.open("rb") as file:
            file.seek(-_FOOTER.size, os.SEEK_END)
            end = file.tell()
            at, count, checksum, magic = _FOOTER.unpack(file.read(_FOOTER.size))
            if magic != _MAGIC or at + count * _INDEX.itemsize != end:
                return None
            file.seek(at)
            table = file.read(count * _INDEX.itemsize)
    except (OSError, struct.error):
        return None
    if zlib.crc32(table) != checksum:
        return None
    return np.frombuffer(table, dtype=_INDEX).copy()


def _records(path: Path) -> dict[bytes, bytes]:
    """All undamaged records of a small file."""
    index = _read_index(path)
    if index is None:
        return {}
    data = path.read_bytes()
    out = {}
    for at in index["at"].tolist():
        key, length, checksum = _RECORD.unpack_from(data, at)
        record = data[at + _RECORD.size : at + _RECORD.size + length]
        if len(record) == length and zlib.crc32(record) == checksum:
            out[key] = record
    return out


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _evict(root: Path, limit: int) -> None:
    """Remove the files under ``root`` that were not used for longest, until they fit."""
    found = []
    for path in root.glob(f"*/*{_SUFFIX}"):
        with suppress(OSError):
            stat = path.stat()
            found.append((stat.st_mtime, stat.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= limit:
            break
        path.unlink(missing_ok=True)
        total -= size
    for path in root.glob("*/*.part"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink(missing_ok=True)
