"""What the engine is doing, put together from its events: a status that waits for nobody."""

from __future__ import annotations

from typing import Literal

import msgspec

from sekft_engine.core.text import count
from sekft_engine.engine.socket.history import History
from sekft_engine.engine.socket.protocol import AdaptersOnBase, EngineStatus, Running
from sekft_engine.records import events
from sekft_engine.records.events import Event, QueueChanged, Queued
from sekft_engine.records.results import LoadResult, QueuedStatus
from sekft_engine.work.board import Writing

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
    """The present state of an engine.

    Args:
        history: numbers the events.

    Attributes:
        running: the job that runs.
        resident: what is loaded.
        closing: whether no job is taken any more.
        gauges: the newest event of each kind in :data:`GAUGES`, with how many there were.
        writing: what models are writing now, by episode, with the number of the change.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self.running: Running | None = None
        self.resident: LoadResult | None = None
        self.closing = False
        self.gauges: dict[str, tuple[int, Event]] = {}
        self.writing: dict[tuple[str, str, str], tuple[int, Writing]] = {}
        self._changes = 0
        self._ended = 0  # episodes of the running job
        self._present: Queued | None = None
        self._waiting: list[Queued] = []

    def observe(self, event: Event) -> None:
        """Take in an event."""
        self._take(event)
        if isinstance(event, GAUGES):
            name = type(event).__name__
            version = self.gauges[name][0] + 1 if name in self.gauges else 1
            self.gauges[name] = (version, event)

    def show(self, writing: Writing) -> None:
        """Take in what a model is writing. Episodes that have ended are told, and forgotten with
        their job."""
        self._changes += 1
        self.writing[writing.key] = (self._changes, writing)

    def queue(self) -> QueueChanged:
        """What runs and waits, ready to be submitted again."""
        return QueueChanged(job="", running=self._present, waiting=list(self._waiting))

    def adapters(self) -> AdaptersOnBase:
        facts = self.resident
        if facts is None:
            return AdaptersOnBase()
        return AdaptersOnBase(base=facts.base, adapters=facts.adapters, active=facts.active)

    def status(self, clients: int) -> EngineStatus:
        first, last = self._history.span
        running, waiting = self.running, self._waiting
        state: Literal["idle", "busy", "paused", "closing"]
        if self.closing:
            state = "closing"
        elif running is None:
            state = "idle"
        else:
            state = "paused" if running.paused else "busy"
        return EngineStatus(
            state=state,
            resident=self.resident,
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
        running = self.running
        match event:
            case QueueChanged():
                self._present, self._waiting = event.running, event.waiting
            case events.JobStarted():
                self._ended = 0
                self.running = Running(
                    id=event.job, kind=event.kind, label=event.label, since=event.t
                )
            case _ if running is None or event.job != running.id:
                # A job that left the queue while the disk took no news of the queue.
                if isinstance(event, events.ENDINGS):
                    self._waiting = [one for one in self._waiting if one.id != event.job]
            case events.JobDone() | events.JobFailed() | events.JobCancelled():
                self.running = self._present = None
                self.writing.clear()
            case events.JobPaused() | events.JobResumed():
                paused = isinstance(event, events.JobPaused)
                self.running = msgspec.structs.replace(running, paused=paused)
            case events.Progress():
                self.running = msgspec.structs.replace(
                    running,
                    doing=event.label,
                    done=event.done,
                    total=event.total,
                    detail=event.detail,
                )
            case events.EvalStarted() | events.EpisodeStarted() | events.EpisodeDone():
                self._ended += isinstance(event, events.EpisodeDone)
                ended = count(self._ended, "episode") + " ended"
                self.running = msgspec.structs.replace(
                    running, doing="acting", done=0, total=0, detail=ended
                )
            case events.StepDone():
                self.running = msgspec.structs.replace(
                    running, doing="step", done=event.step, total=event.steps, detail=""
                )
