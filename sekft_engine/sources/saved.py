"""Saved indexes: what took long to read once is there at once the next time.

A saved index is the state in which an index was left; opening goes on from there by looking for
what changed since, as watching does. One that is damaged or of another version counts as none.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.bases.store import cache_root
from sekft_engine.errors import SekftError
from sekft_engine.files import write_whole
from sekft_engine.sources.facts import Problem
from sekft_engine.sources.lines import LineFile
from sekft_engine.sources.scan import Scan

#: Goes up when the same bytes would be indexed otherwise.
VERSION = 1
#: Seconds of reading from which on it pays: coming back costs about a tenth of the reading.
AFTER = 2.0
#: Bytes that all saved indexes take at most; those used longest ago go first.
ROOM = 1 << 30
_DIGEST = 32


class _Left(msgspec.Struct):
    """A scan as it was left, without its columns."""

    version: int
    source: str
    keep_only: bool
    problems: list[tuple[int, int, Problem]]
    more_problems: dict[int, int]
    loose: dict[int, Problem]
    lines: dict[int, tuple[int, int, bool, bytes, bytes]]
    catalogue: dict[str, Any]
    files: dict[str, Any]


def place_of(scan: Scan) -> Path:
    """The file in which the index of a source is saved."""
    about = f"{_name(scan)}\0{scan.source}\0{scan.keep_only}"
    named = hashlib.sha256(about.encode("utf-8", "surrogateescape")).hexdigest()
    return cache_root().parent / "index" / f"{named[:32]}.index"


def _name(scan: Scan) -> str:
    return str(scan.source.root.absolute())


def save(scan: Scan) -> bool:
    """Save a scan; false while it is not complete, or a file may still be being written. That it
    cannot be written down is nobody's loss, and not tried again."""
    if not scan.complete or scan.held or scan.settling():
        return False
    left = _Left(
        version=VERSION,
        source=_name(scan),
        keep_only=scan.keep_only,
        problems=scan.catalogue.problems,
        more_problems=scan.catalogue.uncounted,
        loose=scan.loose,
        lines={file: state.left() for file, state in scan.lines.items()},
        catalogue=scan.catalogue.left(),
        files=scan.files.left(),
    )
    data = msgspec.msgpack.encode(left)
    target = place_of(scan)
    with contextlib.suppress(OSError, SekftError):
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(target, hashlib.blake2b(data, digest_size=_DIGEST).digest() + data)
        _make_room(target.parent)
    return True


def restore(scan: Scan) -> bool:
    """Bring a scan that has read nothing to where it was left; false where nothing is saved."""
    target = place_of(scan)
    try:
        data = target.read_bytes()
        body = memoryview(data)[_DIGEST:]
        if hashlib.blake2b(body, digest_size=_DIGEST).digest() != data[:_DIGEST]:
            return False
        left = msgspec.msgpack.decode(body, type=_Left)
    except (OSError, msgspec.MsgspecError):
        return False
    about = (left.version, left.source, left.keep_only)
    if about != (VERSION, _name(scan), scan.keep_only):
        return False
    scan.catalogue.restore(left.catalogue)
    scan.catalogue.problems = left.problems
    scan.catalogue.uncounted = left.more_problems
    scan.files.restore(left.files)
    scan.loose = left.loose
    scan.lines = {file: LineFile.as_left(*state) for file, state in left.lines.items()}
    scan.go_on()
    with contextlib.suppress(OSError):
        target.touch()  # used now
    return True


def _make_room(folder: Path) -> None:
    saved = sorted(
        ((each.stat(), each) for each in folder.glob("*.index")),
        key=lambda pair: pair[0].st_mtime_ns,
        reverse=True,
    )
    room = ROOM
    for status, each in saved:
        room -= status.st_size
        if room < 0:
            each.unlink(missing_ok=True)
