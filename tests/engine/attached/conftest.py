"""Engines in other processes, and commands that find them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sekft_engine.data.recipe import Recipe
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.remote import RemoteEngine
from sekft_engine.engine.attached.where import Where
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from tests.engine.socket.conftest import PATIENCE, runtime, start

__all__ = ["Attach", "Heard", "runtime", "start", "training"]


class Heard:
    """An engine of another process, and all that it said."""

    def __init__(self, where: Where, *, history: bool) -> None:
        self.engine = RemoteEngine(where, history=history)
        self.events: list[Event] = []
        self._arrived = threading.Condition()
        self.engine.subscribe(self._take)
        self.engine.start()

    def _take(self, event: Event) -> None:
        with self._arrived:
            self.events.append(event)
            self._arrived.notify_all()

    def wait(self, true: Callable[[], object], what: str = "") -> None:
        """Return as soon as something is true, which is asked again after each event."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: bool(true()), PATIENCE), what

    def of(self, job: str, *kinds: type[Event]) -> list[Event]:
        return [e for e in self.events if e.job == job and isinstance(e, kinds or (Event,))]

    def ending(self, job: str) -> Event:
        self.wait(lambda: self.of(job, *events.ENDINGS), f"the end of {job}")
        (event,) = self.of(job, *events.ENDINGS)
        return event

    def steps(self, job: str) -> list[int]:
        return [event.step for event in self.events_of(job)]

    def events_of(self, job: str) -> list[events.StepDone]:
        return [e for e in self.events if isinstance(e, events.StepDone) and e.job == job]


Attach = Callable[..., Heard]


@pytest.fixture
def attach(workspace: Workspace) -> Iterator[Attach]:
    """Attach to the engine of the workspace."""
    made: list[Heard] = []

    def begin(*, history: bool = True) -> Heard:
        made.append(Heard(Where(workspace), history=history))
        return made[-1]

    yield begin
    for one in made:
        one.engine.close()


@pytest.fixture
def place(workspace: Workspace) -> Workspace:
    return workspace


def training(steps: int = 0, out: str | Path = "") -> jobs.Train:
    """A job of the scripted engine; 0 steps = until it is told to stop."""
    return jobs.Train(data="d", out=str(out), recipe=Recipe(max_steps=steps))
