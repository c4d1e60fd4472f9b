"""What models are writing at this moment. These are no events: no journal needs half a command.

The newest text of each turn takes the place of the one before, so a slow reader costs nothing. What
is written is decoded only while someone watches.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Literal

import msgspec

#: What a model is at. loads: it is not there yet. thinks: it reads what the world has shown. asks:
#: a server was asked. types: it writes a command. runs: the world runs it. Empty: no model types.
Phase = Literal["", "loads", "thinks", "asks", "types", "runs"]

#: How often the text of one turn changes at most, in seconds.
_EVERY_S = 0.05


class Writing(msgspec.Struct, frozen=True, kw_only=True):
    """A turn that is being made.

    Attributes:
        job: the job that it is part of.
        subject: who types.
        scenario: the episode's world, with its trial; of a take-over, its id.
        turn: number of turns that the episode has so far.
        phase: what the model is at, as in a take-over's view; empty = the episode has ended.
        text: what is written of the command so far.
        since: when the phase began, in seconds since the epoch.
    """

    job: str
    subject: str = ""
    scenario: str = ""
    turn: int = 0
    phase: Phase = ""
    text: str = ""
    since: float = 0.0

    @property
    def key(self) -> tuple[str, str, str]:
        """Which episode it belongs to."""
        return self.job, self.subject, self.scenario


class Board:
    """Holds the newest :class:`Writing` of each episode. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watchers: list[Callable[[Writing], None]] = []
        self._newest: dict[tuple[str, str, str], Writing] = {}
        self._told: dict[tuple[str, str, str], float] = {}

    @property
    def watched(self) -> bool:
        """Whether someone watches; else there is no need to put anything."""
        return bool(self._watchers)

    def put(self, writing: Writing, *, whole: bool = False) -> None:
        """Show what is written.

        Args:
            writing: of one episode; a text that comes soon after another one may be left out.
            whole: do not leave it out.
        """
        now = time.monotonic()
        with self._lock:
            before = self._newest.get(writing.key)
            if before is not None and (before.turn, before.phase) == (writing.turn, writing.phase):
                writing = msgspec.structs.replace(writing, since=before.since)
                soon = now - self._told[writing.key] < _EVERY_S
                if writing == before or (soon and not whole):
                    return
            else:
                writing = msgspec.structs.replace(writing, since=time.time())
            if writing.phase:
                self._newest[writing.key], self._told[writing.key] = writing, now
            else:
                self._newest.pop(writing.key, None)
                self._told.pop(writing.key, None)
            for callback in tuple(self._watchers):
                callback(writing)

    def clear(self, job: str) -> None:
        """Forget the episodes of a job that has ended."""
        with self._lock:
            for key in [key for key in self._newest if key[0] == job]:
                del self._newest[key], self._told[key]

    def watch(self, callback: Callable[[Writing], None]) -> Callable[[], None]:
        """Call ``callback`` with each change from now on; returns the way to stop.

        It runs on the thread that caused the change, must be quick, and is told first what is
        written now.
        """
        with self._lock:
            self._watchers.append(callback)
            for writing in self._newest.values():
                callback(writing)

        def stop() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._watchers.remove(callback)

        return stop
