"""Where events go: into the journal of the run they belong to, then to the subscribers."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Iterator

from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.journal import Journal, Line

#: Takes an event and its line; None = no journal has it, since there is none or the disk refused.
Observer = Callable[[Event, Line | None], None]

#: Events that are shown also where the disk refuses them.
_SHOWN_ANYWAY = (*events.ENDINGS, events.QueueChanged)

log = logging.getLogger(__name__)


class Publisher:
    """Journals events and passes them to subscribers, one at a time and in the same order for all.

    ``journal`` takes the events of jobs that have no run; None = they are only shown.
    """

    def __init__(self) -> None:
        self.journal: Journal | None = None
        #: Held while an event is on its way; what must not come between two events takes it.
        self.lock = threading.RLock()
        self._subscribers: list[Callable[[Event], None]] = []
        self._observers: list[Observer] = []
        self._journals: dict[str, Journal] = {}
        self._early: dict[str, list[Event]] = {}

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``callback`` with each event after it is journalled; returns the way to stop."""
        with self.lock:
            self._subscribers.append(callback)

        def unsubscribe() -> None:
            with self.lock, contextlib.suppress(ValueError):
                self._subscribers.remove(callback)

        return unsubscribe

    def observe(self, callback: Observer) -> None:
        """Call ``callback`` with each event and its place in a journal, before any subscriber."""
        with self.lock:
            self._observers.append(callback)

    def publish(self, event: Event) -> None:
        """Journal, then show. A disk that refuses stops the job, not the showing of its end, nor of
        what runs and waits."""
        with self.lock:
            journal = self._journals.get(event.job)
            if journal is None:
                if event.job:
                    self._early.setdefault(event.job, []).append(event)
                journal = self.journal
            refused: OSError | None = None
            line: Line | None = None
            if journal is not None:
                try:
                    line = journal.write(event)
                except OSError as error:
                    refused = error
            if refused is not None and not isinstance(event, _SHOWN_ANYWAY):
                raise refused
            observers = [functools.partial(callback, event, line) for callback in self._observers]
            subscribers = [functools.partial(callback, event) for callback in self._subscribers]
            for show in (*observers, *subscribers):
                try:
                    show()
                except Exception:  # a front end's mistake must not end a training run
                    log.exception("a subscriber failed on %s", type(event).__name__)

    def move(self, job_id: str, journal: Journal) -> None:
        """Send the job's events to ``journal``, beginning with those it has caused so far."""
        with self.lock:
            for event in self._early.pop(job_id, []):
                journal.write(event)
            self._journals[job_id] = journal

    def forget(self, job_id: str) -> None:
        """The job is over, or never needed a run."""
        with self.lock:
            self._early.pop(job_id, None)
            self._journals.pop(job_id, None)

    @contextlib.contextmanager
    def set_aside(self, job_id: str) -> Iterator[None]:
        """Let the job's events go to another run's journal for a while."""
        with self.lock:
            outer = self._journals.pop(job_id, None)
        try:
            yield
        finally:
            self.forget(job_id)
            if outer is not None:
                with self.lock:
                    self._journals[job_id] = outer
