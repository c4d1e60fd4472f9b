"""What runs and waits in another process's engine, as far as its events have said."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec

from sekft_engine.engine.socket.protocol import EngineStatus
from sekft_engine.records import events
from sekft_engine.records.adapter_names import name_of_folder
from sekft_engine.records.events import Event, QueueChanged, Queued
from sekft_engine.records.results import LoadResult, QueuedStatus, RunningStatus, StatusResult


class Known:
    """The engine's jobs, for answers that wait for nobody. Thread-safe.

    A job counts from the moment that it was sent, so that it can be stopped at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Queued | None = None
        self._paused = False
        self._waiting: list[Queued] = []
        self._sent: dict[str, Queued] = {}
        self._seen = 0
        self._unended: dict[str, events.JobQueued | events.JobStarted] = {}
        self.resident: LoadResult | None = None
        #: Of the engine, when it was last asked.
        self.status_said: EngineStatus | None = None

    def begin(self, status: EngineStatus, queue: QueueChanged) -> None:
        """Take over what the engine says of itself."""
        with self._lock:
            self._seen = status.last
            self.status_said = status
            self.resident = status.resident
            now = status.running
            self._running = None
            if now is not None:
                self._running = queue.running or Queued(id=now.id, kind=now.kind, label=now.label)
            self._paused = now is not None and now.paused
            self._waiting = queue.waiting

    def take(self, seq: int, event: Event) -> None:
        """Take in an event; those from before :meth:`begin` are known."""
        with self._lock:
            self._sent.pop(event.job, None)
            if isinstance(event, events.JobQueued | events.JobStarted):
                self._unended[event.job] = event
            elif isinstance(event, events.ENDINGS):
                self._unended.pop(event.job, None)
            if seq > self._seen:
                self._take(event)

    def take_unended(self, started: float) -> list[events.JobQueued | events.JobStarted]:
        """Forget the jobs that have no ending and never will, and return how they began.

        They are from before the engine's start at ``started``, and it has not got them: their
        process was killed, or was a command, whose run alone has the ending.
        """
        with self._lock:
            here = {job.id for job in (self._running, *self._waiting) if job is not None}
            old = {job: event for job, event in self._unended.items() if event.t < started}
            for job in old:
                del self._unended[job]
            return [event for job, event in old.items() if job not in here]

    def _take(self, event: Event) -> None:
        running = self._running
        match event:
            case QueueChanged():
                same = running is not None and event.running is not None
                self._paused = self._paused and same
                self._running, self._waiting = event.running, event.waiting
            case events.JobStarted() if running is None or running.id != event.job:
                self._running = Queued(id=event.job, kind=event.kind, label=event.label)
                self._paused = False
            case events.JobDone() | events.JobFailed() | events.JobCancelled():
                if running is not None and running.id == event.job:
                    self._running, self._paused = None, False
                self._waiting = [job for job in self._waiting if job.id != event.job]
            case events.JobPaused() | events.JobResumed():
                self._paused = isinstance(event, events.JobPaused)
            case events.AdapterAttached() | events.AdapterSaved() | events.AdapterDropped() if (
                self.resident is not None
            ):
                self.resident = _with_adapter(self.resident, event)
            case events.BaseLoaded():
                self.resident = LoadResult(
                    base=event.base,
                    digest=event.digest,
                    device=event.device,
                    dtype=event.dtype,
                    quantised=event.quantised,
                )

    def sent(self, job: Queued) -> None:
        """A job is on its way to the engine."""
        with self._lock:
            self._sent[job.id] = job

    def forget(self, job_id: str) -> None:
        """The engine did not take the job."""
        with self._lock:
            self._sent.pop(job_id, None)

    def take_all(self) -> tuple[Queued | None, list[Queued]]:
        """Forget all jobs, since the engine is gone, and return them: what ran, and what waited."""
        with self._lock:
            running, waiting = self._running, [*self._waiting, *self._sent.values()]
            self._running, self._waiting, self._sent, self._unended = None, [], {}, {}
            self._paused = False
            return running, waiting

    def asked_to_pause(self, job_id: str, *, paused: bool) -> bool:
        """Whether there is such a job; it counts as paused or released from now on."""
        with self._lock:
            if self._running is not None and job_id in ("", self._running.id):
                self._paused = paused
                return True
            held = {job.id: job for job in self._waiting}
            if job_id not in held:
                return job_id in self._sent
            changed = msgspec.structs.replace(held[job_id], held=paused)
            self._waiting = [changed if job.id == job_id else job for job in self._waiting]
            return True

    def has(self, job_id: str) -> bool:
        """Whether the job ('' = any) runs, or waits."""
        with self._lock:
            if not job_id:
                return self._running is not None
            jobs = [*self._waiting, *([self._running] if self._running is not None else [])]
            return job_id in self._sent or any(job.id == job_id for job in jobs)

    def can_move(self, job_id: str, by: int) -> bool:
        """Whether moving the job changes its place."""
        with self._lock:
            ids = [job.id for job in self._waiting]
            if job_id not in ids:
                return job_id in self._sent
            at = ids.index(job_id)
            return max(0, min(at + by, len(ids) - 1)) != at

    def queue(self) -> QueueChanged:
        """What runs and waits."""
        with self._lock:
            return QueueChanged(job="", running=self._running, waiting=list(self._waiting))

    def status(self) -> StatusResult:
        """The same as an engine answers it."""
        with self._lock:
            job, waiting = self._running, [*self._waiting, *self._sent.values()]
            running = None
            if job is not None:
                running = RunningStatus(
                    id=job.id, kind=job.kind, label=job.label, paused=self._paused
                )
            queued = [
                QueuedStatus(id=one.id, kind=one.kind, label=one.label, held=one.held)
                for one in waiting
            ]
            return StatusResult(resident=self.resident or {}, running=running, queued=queued)


def _with_adapter(
    held: LoadResult,
    event: events.AdapterAttached | events.AdapterSaved | events.AdapterDropped,
) -> LoadResult:
    """What is resident after an adapter came, changed or went."""
    adapters = {name: digest for name, digest in held.adapters.items() if name != event.name}
    runs = {name: run for name, run in held.runs.items() if name != event.name}
    active = held.active if held.active != event.name else None
    if not isinstance(event, events.AdapterDropped):
        adapters = held.adapters | {event.name: event.digest}
        active = event.name
        run = name_of_folder(Path(event.path)) if event.path else event.name
        runs |= {event.name: run} if run != event.name else {}
    return msgspec.structs.replace(held, adapters=adapters, active=active, runs=runs)
