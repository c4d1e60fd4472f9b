"""Indexes saved on disk, so that a large data set is indexed once.

A saved index is the state of an index; opening it looks for what changed since, as following a
growing folder does. One that is damaged or of another version is ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.errors import SekftError
from sekft_engine.core.files import write_whole
from sekft_engine.core.paths import cache_folder
from sekft_engine.sources.index.facts import Problem
from sekft_engine.sources.index.scan import Scan
from sekft_engine.sources.read.line_reader import LineProgress, LineState

#: To be raised when the same bytes are indexed differently.
VERSION = 2
#: Seconds of reading from which on saving pays: loading takes about a tenth of reading.
MIN_SECONDS = 2.0
#: Bytes that all saved indexes take at most; the least recently used ones are removed first.
MAX_BYTES = 1 << 30
_DIGEST = 32


class _SavedScan(msgspec.Struct):
    """The state of a scan. The names of the fields are part of the file format."""

    version: int
    source: str
    keep_only: bool
    problems: list[tuple[int, int, Problem]]
    more_problems: dict[int, dict[str, int]]
    loose: dict[int, Problem]
    lines: dict[int, LineState]
    catalogue: dict[str, Any]
    files: dict[str, Any]
    passed_over: dict[str, int]


def saved_path(scan: Scan) -> Path:
    """The file in which the index of a source is saved."""
    about = f"{_name(scan)}\0{scan.source}\0{scan.keep_only}"
    named = hashlib.sha256(about.encode("utf-8", "surrogateescape")).hexdigest()
    return cache_folder() / "index" / f"{named[:32]}.index"


def _name(scan: Scan) -> str:
    return str(scan.source.root.absolute())


def save(scan: Scan) -> bool:
    """Save a scan.

    Args:
        scan: the scan.

    Returns:
        False while it is not complete, or a file may still be in the process of being written. A
        disk that refuses is ignored, and not tried again.
    """
    if not scan.complete or scan.file_problems.held or scan.settling():
        return False
    state = _SavedScan(
        version=VERSION,
        source=_name(scan),
        keep_only=scan.keep_only,
        problems=scan.sessions.problems,
        more_problems=scan.sessions.uncounted,
        loose=scan.file_problems.reported,
        lines={file: progress.dump_state() for file, progress in scan.lines.items()},
        catalogue=scan.sessions.dump_state(),
        files=scan.files.dump_state(),
        passed_over=scan.source.passed_over,
    )
    data = msgspec.msgpack.encode(state)
    target = saved_path(scan)
    with contextlib.suppress(OSError, SekftError):
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(target, hashlib.blake2b(data, digest_size=_DIGEST).digest() + data)
        _remove_oldest(target.parent)
    return True


def restore(scan: Scan) -> bool:
    """Load the saved state into a scan that has read nothing; false if there is none."""
    target = saved_path(scan)
    try:
        data = target.read_bytes()
        body = memoryview(data)[_DIGEST:]
        if hashlib.blake2b(body, digest_size=_DIGEST).digest() != data[:_DIGEST]:
            return False
        state = msgspec.msgpack.decode(body, type=_SavedScan)
    except (OSError, msgspec.MsgspecError):
        return False
    about = (state.version, state.source, state.keep_only)
    if about != (VERSION, _name(scan), scan.keep_only):
        return False
    scan.sessions.load_state(state.catalogue)
    scan.sessions.problems = state.problems
    scan.sessions.uncounted = state.more_problems
    scan.files.load_state(state.files)
    scan.file_problems.reported = state.loose
    scan.source.passed_over = state.passed_over
    scan.lines = {file: LineProgress.from_state(progress) for file, progress in state.lines.items()}
    scan.mark_all_read()
    with contextlib.suppress(OSError):
        target.touch()  # used now
    return True


def _remove_oldest(folder: Path) -> None:
    saved = sorted(
        ((each.stat(), each) for each in folder.glob("*.index")),
        key=lambda pair: pair[0].st_mtime_ns,
        reverse=True,
    )
    room = MAX_BYTES
    for status, each in saved:
        room -= status.st_size
        if room < 0:
            each.unlink(missing_ok=True)
