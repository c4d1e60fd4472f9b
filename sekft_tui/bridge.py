"""Between the engine's thread and the screen: frequent events are pulled, rare ones posted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from textual.message import Message

from sekft_engine import events
from sekft_engine.events import Event
from sekft_engine.jobs import Job
from sekft_engine.runs import EVENTS, read_events
from sekft_tui import reducer
from sekft_tui.reducer import Shared
from sekft_tui.training import TrainView

#: Events that a pane reacts to (a toast, a reload), not just draws.
RARE = (*events.ENDINGS, events.JobStarted, events.RunCreated, events.AdapterSaved)


class EngineLike(Protocol):
    """What the workbench needs of an engine; tests bring one that plays a script."""

    def start(self) -> object: ...
    def submit(self, job: Job) -> str: ...
    def cancel(self, job_id: str = "", *, after_step: bool = False) -> bool: ...
    def pause(self, job_id: str = "") -> object: ...
    def resume(self, job_id: str = "") -> object: ...
    def move(self, job_id: str, by: int) -> bool: ...
    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]: ...
    def status(self) -> dict[str, Any]: ...
    def close(self, timeout: float = 30.0) -> bool: ...


class EngineSaid(Message):
    """A rare event arrived."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.event = event


class Bridge:
    """Reduces events as they come, on the thread they come from, and never waits for the screen."""

    def __init__(self, engine: EngineLike, post: Callable[[Message], Any]) -> None:
        self.engine = engine
        self._post = post
        self._lock = threading.Lock()
        self._shared = Shared()
        self._unsubscribe = engine.subscribe(self._heard)

    def _heard(self, event: Event) -> None:
        before = _earlier(event)
        with self._lock:
            if before is not None and self._shared.train.path != before.path:
                self._shared.train = before
            reducer.reduce(self._shared, event)
        if isinstance(event, RARE):
            self._post(EngineSaid(event))

    @property
    def version(self) -> int:
        """Changes whenever there is something new to draw."""
        return self._shared.version

    @contextmanager
    def shared(self) -> Iterator[Shared]:
        """The state, held still for as long as it is drawn."""
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

    def toggle_pause(self, job_id: str) -> bool:
        """Ask the running job to pause at its next step, or a waiting one to stay where it is; or
        to go on, where that was asked before. Returns whether it is to wait now."""
        paused = not self._is_held(job_id)
        if paused:
            self.engine.pause(job_id)
        else:
            self.engine.resume(job_id)
        with self._lock:
            reducer.pause_asked(self._shared, job_id, paused)
        return paused

    def _is_held(self, job_id: str) -> bool:
        """What was asked of the job, whether it has come to it or not."""
        status = self.engine.status()
        running = status.get("running")
        if running is not None and running["id"] == job_id:
            return bool(running["paused"])
        return any(one["id"] == job_id and one["held"] for one in status.get("queued", []))

    def close(self) -> None:
        self._unsubscribe()


def _earlier(event: Event) -> TrainView | None:
    """What the journal of a training run tells of it before ``event`` opened it; None = nothing."""
    if not isinstance(event, events.RunCreated) or event.kind != "train":
        return None
    train = reducer.replayed(read_events(Path(event.path) / EVENTS)).train
    return train if len(train.steps) else None
