"""Between the engine's thread and the screen: frequent events are pulled, rare ones posted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from textual.message import Message

from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.jobs import Job
from sekft_engine.records.results import StatusResult
from sekft_engine.records.runs import EVENTS, read_events
from sekft_tui.model import reducer
from sekft_tui.model.reducer import Shared
from sekft_tui.model.training import TrainView

#: Events that panes react to (with a message, a reload) and do not only draw.
RARE = (*events.ENDINGS, events.JobStarted, events.RunCreated, events.AdapterSaved)


class EngineLike(Protocol):
    """What the workbench needs of an engine."""

    def start(self) -> object: ...
    def submit(self, job: Job) -> str: ...
    def cancel(self, job_id: str = "", *, after_step: bool = False) -> bool: ...
    def pause(self, job_id: str = "") -> bool: ...
    def resume(self, job_id: str = "") -> bool: ...
    def move(self, job_id: str, by: int) -> bool: ...
    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]: ...
    def status(self) -> StatusResult: ...
    def close(self, timeout: float = 30.0) -> bool: ...


class EngineEvent(Message):
    """One of the :data:`RARE` events arrived."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.event = event


class Bridge:
    """Applies events to the shared state, on their own thread; never waits for the screen."""

    def __init__(self, engine: EngineLike, post: Callable[[Message], Any]) -> None:
        self.engine = engine
        self._post = post
        self._lock = threading.Lock()
        self._shared = Shared()
        self._unsubscribe = engine.subscribe(self._receive)

    def _receive(self, event: Event) -> None:
        before = _earlier_part(event)
        with self._lock:
            if before is not None and self._shared.train.path != before.path:
                self._shared.train = before
            reducer.reduce(self._shared, event)
        if isinstance(event, RARE):
            self._post(EngineEvent(event))

    @property
    def version(self) -> int:
        """Changes whenever there is something new to draw."""
        return self._shared.version

    @contextmanager
    def shared(self) -> Iterator[Shared]:
        """The state, locked while it is drawn."""
        with self._lock:
            yield self._shared

    def submit(self, job: Job) -> str:
        return self.engine.submit(job)

    def stop(self, *, after_step: bool) -> bool:
        """Ask the running job to stop."""
        with self._lock:
            job = self._shared.active
        if job is None:
            return False
        asked = self.engine.cancel(job.id, after_step=after_step)
        if asked:
            with self._lock:
                reducer.stop_asked(self._shared, job.id)
        return asked

    def toggle_pause(self, job_id: str) -> bool | None:
        """Ask the running job to pause at its next step, or hold a waiting one; if that was asked
        before, let it continue.

        Returns:
            Whether the job is to wait now; None if it has ended, so that nothing was asked.
        """
        paused = not self._is_held(job_id)
        found = self.engine.pause(job_id) if paused else self.engine.resume(job_id)
        if not found:
            return None
        with self._lock:
            reducer.pause_asked(self._shared, job_id, paused)
        return paused

    def _is_held(self, job_id: str) -> bool:
        """Whether the job was asked to wait, even if it has not done so yet."""
        status = self.engine.status()
        if status.running is not None and status.running.id == job_id:
            return status.running.paused
        return any(job.id == job_id and job.held for job in status.queued)

    def close(self) -> None:
        self._unsubscribe()


def _earlier_part(event: Event) -> TrainView | None:
    """The part of a training run that its journal held before ``event`` resumed it; None = none."""
    match event:
        case events.RunCreated(kind="train"):
            train = reducer.replayed(read_events(Path(event.path) / EVENTS)).train
            return train if len(train.steps) else None
    return None
