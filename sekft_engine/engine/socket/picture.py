"""What the engine is doing, put together from its events: a status that waits for nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

import msgspec

from sekft_engine.engine.socket.history import History
from sekft_engine.engine.socket.protocol import AdaptersOnBase, EngineStatus, Running
from sekft_engine.records import events
from sekft_engine.records.events import Event, QueueChanged, Queued
from sekft_engine.records.journal import Line
from sekft_engine.records.results import LoadResult, QueuedStatus

#: Kinds of events that are also gauges: only the newest of each is worth showing.
GAUGES = (
    events.Progress,
    events.StepBegan,
    events.StepDone,
    events.HeldoutDone,
    events.MachineSeen,
    events.TurnDone,
    QueueChanged,
)


class Picture:
    """The present state of an engine. Thread-safe; its lock is held for moments only.

    Args:
        resident: what is loaded, without waiting (``Residence.facts``).
        history: numbers the events.
        closing: whether no job is taken any more.
    """

    def __init__(
        self,
        resident: Callable[[], LoadResult | None],
        history: History,
        closing: Callable[[], bool],
    ) -> None:
        self._resident = resident
        self._history = history
        self._lock = threading.Lock()
        self._running: Running | None = None
        self._present: Queued | None = None
        self._waiting: list[Queued] = []
        self._closing = closing
        self._gauges: dict[str, tuple[int, Event]] = {}

    def observe(self, event: Event, line: Line | None) -> None:
        """Take in an event. An observer of the publisher."""
        with self._lock:
            self._take(event)
            if isinstance(event, GAUGES):
                name = type(event).__name__
                version = self._gauges[name][0] + 1 if name in self._gauges else 1
                self._gauges[name] = (version, event)

    @property
    def closing(self) -> bool:
        """Whether no job is taken any more."""
        return self._closing()

    @property
    def running(self) -> Running | None:
        with self._lock:
            return self._running

    @property
    def gauges(self) -> dict[str, tuple[int, Event]]:
        """The newest event of each kind in :data:`GAUGES`, with how many there were."""
        with self._lock:
            return dict(self._gauges)

    def queue(self) -> QueueChanged:
        """What runs and waits, ready to be submitted again."""
        with self._lock:
            return QueueChanged(job="", running=self._present, waiting=list(self._waiting))

    def adapters(self) -> AdaptersOnBase:
        facts = self._resident()
        if facts is None:
            return AdaptersOnBase()
        return AdaptersOnBase(base=facts.base, adapters=facts.adapters, active=facts.active)

    def status(self, clients: int) -> EngineStatus:
        first, last = self._history.span
        with self._lock:
            running, waiting = self._running, self._waiting
        state: Literal["idle", "busy", "paused", "closing"]
        if self.closing:
            state = "closing"
        elif running is None:
            state = "idle"
        else:
            state = "paused" if running.paused else "busy"
        return EngineStatus(
            state=state,
            resident=self._resident(),
            running=running,
            queued=[
                QueuedStatus(id=one.id, kind=one.kind, label=one.label, held=one.held)
                for one in waiting
            ],
            journal=self._history.journal,
            first=first,
            last=last,
            clients=clients,
        )

    def _take(self, event: Event) -> None:
        running = self._running
        match event:
            case QueueChanged():
                self._present, self._waiting = event.running, event.waiting
            case events.JobStarted():
                self._running = Running(
                    id=event.job, kind=event.kind, label=event.label, since=event.t
                )
            case _ if running is None or event.job != running.id:
                # A job that left the queue while the disk took no news of the queue.
                if isinstance(event, events.ENDINGS):
                    self._waiting = [one for one in self._waiting if one.id != event.job]
            case events.JobDone() | events.JobFailed() | events.JobCancelled():
                self._running = self._present = None
            case events.JobPaused() | events.JobResumed():
                paused = isinstance(event, events.JobPaused)
                self._running = msgspec.structs.replace(running, paused=paused)
            case events.Progress():
                self._running = msgspec.structs.replace(
                    running, doing=event.label, done=event.done, total=event.total
                )
            case events.StepDone():
                self._running = msgspec.structs.replace(
                    running, doing="step", done=event.step, total=event.steps
                )
