"""An engine's events from one moment on, for who subscribes later."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from sekft_engine.engine.attached.remote import RemoteEngine
from sekft_engine.records.events import Event


class Recorded:
    """Subscribers hear first what was said since this was made: no job ends unheard.

    Args:
        engine: is not started yet, or has said nothing that matters.
    """

    def __init__(self, engine: RemoteEngine) -> None:
        self.engine = engine
        self._lock = threading.RLock()
        self._heard: list[Event] = []
        self._subscribers: list[Callable[[Event], None]] = []
        engine.subscribe(self._take)

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``callback`` with each event; returns the way to stop."""
        with self._lock:
            for event in self._heard:
                callback(event)
            self._subscribers.append(callback)

        def unsubscribe() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._subscribers.remove(callback)

        return unsubscribe

    def cancel(self, job_id: str = "", *, after_step: bool = False) -> bool:
        """Ask a job to stop."""
        return self.engine.cancel(job_id, after_step=after_step)

    def _take(self, event: Event) -> None:
        with self._lock:
            self._heard.append(event)
            for callback in tuple(self._subscribers):
                callback(event)
