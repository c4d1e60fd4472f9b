"""The journal: a run's events, one JSON line each, on disk before anyone sees them."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import os
import time
from pathlib import Path
from typing import NamedTuple, cast

import msgspec

from sekft_engine.core.documents import NOT_JSON
from sekft_engine.core.errors import Unavailable
from sekft_engine.core.files import open_regular, write_whole
from sekft_engine.core.locks import is_held, take_lock
from sekft_engine.core.process import ProcessMark
from sekft_engine.core.text import quiet_json
from sekft_engine.records import events
from sekft_engine.records.events import Event

#: Steps and tokens reach the disk's own cache at once, so a killed process loses nothing; the
#: disk itself is asked to keep up this often, and at every event that ends or saves something.
SYNC_EVERY_S = 2.0
#: A writer on another machine, which cannot be asked, is gone when it wrote nothing for so long.
QUIET_S = 600.0

_SYNC_AT_ONCE = (*events.ENDINGS, events.RunCreated, events.AdapterSaved, events.EpisodeDone)


log = logging.getLogger(__name__)


class Line(NamedTuple):
    """An event on disk: its journal, its first byte there, and its bytes with the line's end."""

    path: Path
    offset: int
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)


class Journal:
    """Appends events to ``path``. It is locked while open, so an unlocked journal has no writer any
    more, however that ended. Where the file system has no locks, a file beside it names the process
    that writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._mark: Path | None = None
        lock = take_lock(self._fd)
        if lock == "held" or (lock == "none" and _named_writer_lives(path)):
            os.close(self._fd)
            raise Unavailable(
                "another process is writing this journal",
                where=str(path),
                mend="wait for it, or stop it",
            )
        if lock == "none":
            self._name_writer()
        self._synced = time.monotonic()
        self._end_torn_line()

    def _name_writer(self) -> None:
        _warn_of_no_locks()
        mark = mark_path(self.path)
        with contextlib.suppress(OSError):
            write_whole(mark, msgspec.json.encode(ProcessMark.own()))
            self._mark = mark

    def _end_torn_line(self) -> None:
        """End the last line if its writer was killed within it."""
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            os.write(self._fd, b"\n")

    def write(self, event: Event) -> Line:
        """Write one event. Raises OSError where the disk refuses, leaving whole lines only."""
        line = quiet_json(events.encode(event)) + b"\n"
        size = os.fstat(self._fd).st_size
        try:
            written = os.write(self._fd, line)
            if written < len(line):
                os.write(self._fd, line[written:])
        except OSError as error:
            os.ftruncate(self._fd, size)
            error.filename = str(self.path)  # a descriptor has no name
            raise
        now = time.monotonic()
        if isinstance(event, _SYNC_AT_ONCE) or now - self._synced > SYNC_EVERY_S:
            self.sync()
        return Line(self.path, size, line)

    def sync(self) -> None:
        """Sync all written events to disk."""
        os.fsync(self._fd)
        self._synced = time.monotonic()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._mark is not None:
            with contextlib.suppress(OSError):
                self._mark.unlink()
            self._mark = None


@functools.cache
def _warn_of_no_locks() -> None:
    log.warning("no locks on this file system: see to it that only one process writes a run")


def mark_path(journal: Path) -> Path:
    """The file that names the process which writes ``journal``, where there are no locks."""
    return journal.with_name(f".{journal.name}.writer")


def _named_writer_lives(path: Path) -> bool:
    """Whether the process that is named beside the journal still writes it."""
    try:
        mark = msgspec.json.decode(mark_path(path).read_bytes(), type=ProcessMark)
        quiet_for = time.time() - path.stat().st_mtime
    except (OSError, *NOT_JSON):
        return False
    lives = mark.alive()
    return quiet_for < QUIET_S if lives is None else lives


def is_being_written(path: Path) -> bool:
    """Whether some process has the journal at ``path`` open for writing."""
    return is_held(path, lambda: _named_writer_lives(path))


def decode_line(line: bytes) -> Event | None:
    """The event on ``line``, or None if it is torn, damaged or of an unknown kind.

    JSON has no NaN: a number that was not finite was written as null and is read as NaN.
    """
    try:
        return cast("Event", events.decode(line))
    except msgspec.ValidationError:
        pass
    except NOT_JSON:
        return None
    try:
        raw = json.loads(line)
        patched = {key: math.nan if value is None else value for key, value in raw.items()}
        return cast("Event", msgspec.convert(patched, events.AnyEvent))
    except (ValueError, AttributeError, RecursionError, msgspec.ValidationError):
        return None


def read_from(path: Path, offset: int = 0) -> tuple[list[Event], int]:
    """The events after byte ``offset``, and the offset to continue from; whole lines only."""
    try:
        with open_regular(path) as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    whole = data.rfind(b"\n") + 1
    decoded = (decode_line(line) for line in data[:whole].splitlines())
    return [event for event in decoded if event is not None], offset + whole


def read_events(path: Path) -> list[Event]:
    """All events of a journal, without a torn last line."""
    return read_from(path)[0]


def effective_events(journal: list[Event]) -> list[Event]:
    """The events without those of steps that a resumed run did again."""
    found: list[Event] = []
    for event in journal:
        match event:
            case events.RunResumed(step=after):
                found = [one for one in found if not (isinstance(one, _STEPS) and one.step > after)]
            case events.HeldoutDone(step=step) | events.RatesMeasured(step=step):
                # A run that is stopped within a measurement makes it again when it is resumed.
                kind = type(event)
                found = [one for one in found if not (type(one) is kind and one.step == step)]
        found.append(event)
    return found


_STEPS = (
    events.StepBegan,
    events.StepDone,
    events.HeldoutDone,
    events.RatesMeasured,
    events.SignSeen,
    events.AdapterSaved,
)
