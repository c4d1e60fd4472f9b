"""Between the engine's thread and the screen: frequent events are pulled, rare ones posted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from textual.message import Message

from sekft_engine.engine.attached.follower import State
from sekft_engine.engine.attached.remote import RemoteEngine
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.jobs import Job
from sekft_engine.records.journal import decode_line
from sekft_engine.records.results import LoadResult, StatusResult
from sekft_engine.records.runs import EVENTS
from sekft_engine.work.board import Board, Writing
from sekft_tui.messages import EngineEvent, EngineState
from sekft_tui.model import reducer
from sekft_tui.model.carrying import carry
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


def loaded_by(engine: EngineLike) -> LoadResult | None:
    """The base that an engine has loaded, and the adapters on it; None = none."""
    held = engine.status().resident
    return held if isinstance(held, LoadResult) else None


@runtime_checkable
class HasBoard(Protocol):
    """An engine of this process, which shows what models are writing."""

    @property
    def board(self) -> Board: ...


@runtime_checkable
class MakesReady(Protocol):
    """An engine of this process, which imports what a training needs before one is asked for."""

    def make_ready(self) -> None: ...


class Bridge:
    """Applies events to the shared state, on their own thread; never waits for the screen.

    An engine of another process says first what happened before: that is drawn, and not announced.
    """

    def __init__(self, engine: EngineLike, post: Callable[[Message], Any]) -> None:
        self._post = post
        self._lock = threading.Lock()
        self._shared = Shared()
        #: What the engine before did, until the history of the present one is read.
        self._before: Shared | None = None
        self._begin(engine)

    def _begin(self, engine: EngineLike) -> None:
        self.engine = engine
        self.remote = engine if isinstance(engine, RemoteEngine) else None
        self._state: State = "reading"
        self._past = self.remote is not None
        self._unsubscribe = engine.subscribe(self._receive)

    def use(self, engine: EngineLike) -> None:
        """Show another engine from now on. The log stays."""
        self._unsubscribe()
        with self._lock:
            before, self._shared = self._shared, Shared(version=self._shared.version + 1)
            self._shared.log, self._shared.logged = before.log, before.logged
            self._before = before
        self._begin(engine)
        if self.remote is None:
            self._carry()

    def _receive(self, event: Event) -> None:
        remote = self.remote
        if remote is not None and remote.state != self._state:
            self._state = remote.state
            self._past = self._past and self._state in ("reading", "silent", "lost")
            self._post(EngineState(self._state, remote.why))
        away = remote is not None and remote.where.is_away
        before = None if away else _earlier_part(event)
        with self._lock:
            if before is not None and self._shared.train.path != before.path:
                self._shared.train = before
            reducer.reduce(self._shared, event)
        if self._state == "live":
            self._carry()
        if isinstance(event, RARE) and not self._past:
            self._post(EngineEvent(event))

    def _carry(self) -> None:
        with self._lock:
            before, self._before = self._before, None
            if before is not None:
                carry(before, self._shared)

    @property
    def version(self) -> int:
        """Changes whenever there is something new to draw."""
        return self._shared.version

    @contextmanager
    def shared(self) -> Iterator[Shared]:
        """The state, locked while it is drawn."""
        with self._lock:
            yield self._shared

    def watch_writing(self, callback: Callable[[Writing], None]) -> Callable[[], None]:
        """Call ``callback`` with what models write, on any thread; returns the way to stop."""
        if self.remote is not None:
            return self.remote.watch_writing(callback)
        if not isinstance(self.engine, HasBoard):
            return lambda: None
        return self.engine.board.watch(callback)

    def make_ready(self) -> None:
        """Someone is about to train. An engine of another process that was started with a base has
        what it needs."""
        if isinstance(self.engine, MakesReady):
            self.engine.make_ready()

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

    def release(self, job_id: str) -> bool:
        """Let a job that is held in the queue begin; False where it has ended or left."""
        return self.engine.resume(job_id)

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
            train = reducer.replayed(list(_upto(event))).train
            return train if len(train.steps) else None
    return None


def _upto(event: events.RunCreated) -> Iterator[Event]:
    """What the run's journal held when it had this event: more may have happened since."""
    # A path with a NUL is a ValueError.
    with suppress(OSError, ValueError), (Path(event.path) / EVENTS).open("rb") as journal:
        for line in journal:
            found = decode_line(line)
            if found is not None:
                yield found
            if found == event:
                return
