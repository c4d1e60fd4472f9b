"""Events on their way to a reader that may be slow: so many are kept, and no more."""

from __future__ import annotations

import threading
import time
from collections import deque

from sekft_engine.records import events
from sekft_engine.records.events import Event

#: So many events may wait for the reader. Of those beyond, the ends of jobs alone are kept.
MOST_EVENTS = 10_000
#: So many may wait before no more jobs are taken from who does not read.
MOST_IN_ALL = 20_000


class Outgoing:
    """A queue for one reader. Whoever puts in never waits.

    Args:
        most: so many events may wait.
    """

    def __init__(self, most: int = MOST_EVENTS) -> None:
        self._most = most
        self._events: deque[Event] = deque()
        self._left_out = 0
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: Event) -> None:
        """Add an event, or count it as left out where too many wait."""
        with self._changed:
            full = len(self._events) >= self._most
            if full and not isinstance(event, events.ENDINGS):
                self._left_out += 1
                return
            self._events.append(event)
            self._changed.notify()

    def take(self) -> Event | None:
        """The next event, waiting for it; None = it is closed and empty. Where events were left
        out, a log message says how many as soon as there is room."""
        with self._changed:
            while not self._events and not self._left_out and not self._closed:
                self._changed.wait()
            if self._left_out and len(self._events) <= self._most // 2:
                text = (
                    f"{self._left_out} events were left out, since they were not read in time; "
                    "the journal has them"
                )
                self._left_out = 0
                self._events.append(events.Log(job="", t=time.time(), level="warning", text=text))
            return self._events.popleft() if self._events else None

    def wait_for_room(self, most: int = MOST_IN_ALL) -> None:
        """Return when fewer than ``most`` events wait, or it is closed."""
        while not self._closed and len(self._events) >= most:
            time.sleep(0.1)

    def close(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._closed = True
            self._changed.notify()
