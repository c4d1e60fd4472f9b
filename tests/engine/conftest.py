"""Engines and things that listen to them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.jobs import Job
from sekft_engine.work.context import Context
from tests.training.sessions import write_sessions


class Poke(Job, frozen=True, kw_only=True, tag="poke"):
    """A job for tests; the handler is the test's own."""

    what: str = ""


class Listener:
    """Collects events and waits for the ends of jobs."""

    def __init__(self, engine: Engine) -> None:
        self.seen: list[Event] = []
        self._arrived = threading.Condition()
        engine.subscribe(self._take)

    def _take(self, event: Event) -> None:
        with self._arrived:
            self.seen.append(event)
            self._arrived.notify_all()

    def wait(self, wanted: Callable[[Event], bool]) -> Event:
        def found() -> Event | None:
            return next((event for event in self.seen if wanted(event)), None)

        with self._arrived:
            assert self._arrived.wait_for(lambda: found() is not None, timeout=120)
            event = found()
            assert event is not None
            return event

    def ending(self, job: str) -> Event:
        return self.wait(lambda event: event.job == job and isinstance(event, events.ENDINGS))

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.seen if isinstance(event, kind)]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace").create()


@pytest.fixture
def make_engine() -> Iterator[Callable[..., tuple[Engine, Listener]]]:
    """Start engines whose ``poke`` jobs run the given function."""
    started: list[Engine] = []

    def make(
        poke: Callable[[Poke, Context], dict[str, Any]] | None = None,
        workspace: Workspace | None = None,
    ) -> tuple[Engine, Listener]:
        engine = Engine(workspace, handlers={Poke: poke} if poke else None, nice=0)
        listener = Listener(engine)
        started.append(engine.start())
        return engine, listener

    yield make
    for engine in started:
        assert engine.close(timeout=60)


@pytest.fixture(scope="session")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 short trajectories."""
    return write_sessions(tmp_path_factory.mktemp("data") / "trajectories", 24)
