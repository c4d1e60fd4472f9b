"""What the workbench may rely on in an engine, asked of the real one and of the scripted one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from sekft_engine.engine.engine import Engine
from sekft_engine.records import events, jobs, results
from sekft_engine.records.events import Event
from sekft_engine.records.jobs import kind_of
from sekft_engine.records.result import Result
from sekft_engine.work.context import Context, Stopped
from sekft_tui.process.bridge import EngineLike
from tests.engine.conftest import Poke
from tests.tui.scripted import ScriptedEngine

DEADLINE_S = 60.0


class Stage(Protocol):
    """An engine, and a hand on the job that it runs. Nothing moves on by itself."""

    engine: EngineLike

    def started(self, job: str) -> None:
        """Wait for the job to be the running one; whatever stood before it has ended."""

    def step(self) -> None:
        """Let the running job take a step. Between two steps it pauses or stops where it is asked
        to, and goes on from a pause once it may."""

    def finish(self) -> None:
        """Let the running job come to its end."""


class Heard:
    """All events of an engine, in their order, with a way to wait for one."""

    def __init__(self, engine: EngineLike) -> None:
        self.events: list[Event] = []
        self._arrived = threading.Condition()
        self.stop = engine.subscribe(self._take)

    def _take(self, event: Event) -> None:
        with self._arrived:
            self.events.append(event)
            self._arrived.notify_all()

    def wait(self, true: Callable[[], object], what: str) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: bool(true()), DEADLINE_S), what

    def of(self, job: str) -> list[str]:
        """The names of what was said of the job."""
        return [type(event).__name__ for event in self.events if event.job == job]

    def until(self, job: str, kind: type[Event]) -> None:
        self.wait(lambda: kind.__name__ in self.of(job), f"{kind.__name__} of {job}")

    @property
    def queues(self) -> list[tuple[str, list[str]]]:
        """What ran and what waited, each time that this was said; a held job has an asterisk."""
        return [
            (
                event.running.id if event.running else "",
                [job.id + "*" * job.held for job in event.waiting],
            )
            for event in self.events
            if isinstance(event, events.QueueChanged)
        ]


class RealStage:
    """The engine with its thread; its jobs do one step for each order."""

    def __init__(self) -> None:
        self._orders: queue.Queue[str] = queue.Queue()
        self.engine: EngineLike = Engine(nice=0, handlers={Poke: self._poke}).start()
        self._heard = Heard(self.engine)

    def _poke(self, job: Poke, context: Context) -> dict[str, Any]:
        while self._order(context) == "step":
            context.progress("step", 1)
            context.wait_while_paused()
            if context.cancelled():
                raise Stopped("saved what there was", result={})
        return {"what": job.what}

    def _order(self, context: Context) -> str:
        """The next order; a job that is asked to stop waits for none."""
        while not context.cancelled():
            try:
                return self._orders.get(timeout=0.01)
            except queue.Empty:
                continue
        raise Stopped("saved what there was", result={})

    def started(self, job: str) -> None:
        self._heard.until(job, events.JobStarted)

    def step(self) -> None:
        self._orders.put("step")

    def finish(self) -> None:
        self._orders.put("end")


class ScriptedStage:
    """The scripted engine, whose script is written as it goes."""

    def __init__(self) -> None:
        self._engine = ScriptedEngine().start()
        self.engine: EngineLike = self._engine
        self._paused = False

    def started(self, job: str) -> None:
        kind = next(kind_of(one) for one in self._engine.jobs if one.id == job)
        self._engine.say(events.JobStarted(job=job, kind=kind))

    def step(self) -> None:
        running = self._engine.status().running
        assert running is not None
        name, kind = running.id, running.kind
        if not self._paused:
            self._engine.say(events.Progress(job=name, label="step", done=1))
        if running.paused and not self._paused:
            self._engine.say(events.JobPaused(job=name, kind=kind))
        elif self._paused and not running.paused:
            self._engine.say(events.JobResumed(job=name, kind=kind))
        self._paused = running.paused
        if any(job in ("", name) for job, _ in self._engine.cancelled):
            self._engine.say(events.JobCancelled(job=name, kind=kind))

    def finish(self) -> None:
        running = self._engine.status().running
        assert running is not None
        self._engine.say(events.JobDone(job=running.id, kind=running.kind, result={}))


@pytest.fixture(params=[RealStage, ScriptedStage], ids=["real", "scripted"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    made: Stage = request.param()
    yield made
    assert made.engine.close(DEADLINE_S)


@pytest.fixture
def heard(stage: Stage) -> Heard:
    return Heard(stage.engine)


def test_a_job_is_queued_and_started_and_ends_and_the_queue_is_told_each_time(
    stage: Stage, heard: Heard
) -> None:
    assert stage.engine.submit(Poke(what="one")) == "poke-1"
    stage.started("poke-1")
    stage.finish()
    heard.until("poke-1", events.JobDone)
    assert heard.of("poke-1") == ["JobQueued", "JobStarted", "JobDone"]
    assert heard.queues == [("", ["poke-1"]), ("poke-1", []), ("", [])]
    names = [type(event).__name__ for event in heard.events]
    assert names == [
        "JobQueued", "QueueChanged", "QueueChanged", "JobStarted", "QueueChanged", "JobDone",
    ]  # fmt: skip


def test_jobs_run_one_after_the_other_and_each_has_one_ending(stage: Stage, heard: Heard) -> None:
    submitted = [stage.engine.submit(Poke()) for _ in range(3)]
    assert submitted == ["poke-1", "poke-2", "poke-3"]
    for job in submitted:
        stage.started(job)
        stage.step()
        stage.finish()
        heard.until(job, events.JobDone)
    assert [event.job for event in heard.events if isinstance(event, events.ENDINGS)] == submitted
    assert all(heard.of(job)[-2:] == ["Progress", "JobDone"] for job in submitted)


def test_a_job_keeps_the_name_that_it_brings(stage: Stage, heard: Heard) -> None:
    assert stage.engine.submit(Poke(id="mine")) == "mine"
    assert heard.of("mine")[0] == "JobQueued"


def _paused(stage: Stage) -> bool:
    running = stage.engine.status().running
    assert running is not None
    return running.paused


def test_what_waits_is_told_with_what_runs(stage: Stage, heard: Heard) -> None:
    first, second = stage.engine.submit(Poke()), stage.engine.submit(Poke())
    stage.started(first)
    heard.wait(lambda: heard.queues[-1] == (first, [second]), "the second waits")
    status = stage.engine.status()
    assert status.running is not None
    assert (status.running.id, status.running.paused) == (first, False)
    assert [(job.id, job.held) for job in status.queued] == [(second, False)]


def test_a_waiting_job_is_cancelled_before_it_has_begun(stage: Stage, heard: Heard) -> None:
    first, second = stage.engine.submit(Poke()), stage.engine.submit(Poke())
    stage.started(first)
    assert stage.engine.cancel(second)
    assert heard.of(second) == ["JobQueued", "JobCancelled"]
    assert heard.queues[-1] == (first, [])
    assert not stage.engine.cancel(second), "it is not there any more"
    stage.finish()
    heard.until(first, events.JobDone)


def test_the_running_job_is_asked_to_stop_and_ends_at_its_next_step(
    stage: Stage, heard: Heard
) -> None:
    job = stage.engine.submit(Poke())
    stage.started(job)
    assert not stage.engine.cancel("another", after_step=True)
    assert stage.engine.cancel(job, after_step=True)
    stage.step()
    heard.until(job, events.JobCancelled)
    assert heard.queues[-1] == ("", [])
    assert stage.engine.status().running is None


def test_with_nothing_that_runs_there_is_nothing_to_cancel(stage: Stage, heard: Heard) -> None:
    assert not stage.engine.cancel()
    assert not heard.events


def test_the_running_job_pauses_at_its_next_step_and_goes_on(stage: Stage, heard: Heard) -> None:
    job = stage.engine.submit(Poke())
    stage.started(job)
    assert stage.engine.pause(job)
    assert _paused(stage)
    stage.step()
    heard.until(job, events.JobPaused)
    assert stage.engine.resume(job)
    stage.step()
    heard.until(job, events.JobResumed)
    assert not _paused(stage)
    stage.finish()
    heard.until(job, events.JobDone)


def test_a_pause_that_is_taken_back_before_the_step_never_was(stage: Stage, heard: Heard) -> None:
    job = stage.engine.submit(Poke())
    stage.started(job)
    assert stage.engine.pause()
    assert stage.engine.resume()
    stage.step()
    stage.finish()
    heard.until(job, events.JobDone)
    assert heard.of(job) == ["JobQueued", "JobStarted", "Progress", "JobDone"]


def test_a_waiting_job_is_held_until_it_is_released(stage: Stage, heard: Heard) -> None:
    first, second = stage.engine.submit(Poke()), stage.engine.submit(Poke())
    stage.started(first)
    assert stage.engine.pause(second)
    assert heard.queues[-1] == (first, [second + "*"])
    assert stage.engine.status().queued[0].held
    assert stage.engine.resume(second)
    assert heard.queues[-1] == (first, [second])
    assert not stage.engine.pause("another")
    assert not stage.engine.resume("another")


def test_waiting_jobs_change_places(stage: Stage, heard: Heard) -> None:
    first, second, third = (stage.engine.submit(Poke()) for _ in range(3))
    stage.started(first)
    assert stage.engine.move(third, -1)
    assert heard.queues[-1] == (first, [third, second])
    assert not stage.engine.move(third, -1), "it is the first already"
    assert not stage.engine.move(first, 1), "what runs cannot be moved"
    assert stage.engine.move(third, 7)
    assert heard.queues[-1] == (first, [second, third])


def test_what_is_asked_at_once_is_answered_at_once(stage: Stage, heard: Heard) -> None:
    job, other = stage.engine.submit(Poke()), stage.engine.submit(Poke())
    stage.started(job)
    asked: list[tuple[jobs.Job, Result]] = [
        (jobs.Pause(target=other), results.PauseResult(paused=True)),
        (jobs.Resume(target=other), results.ResumeResult(found=True)),
        (jobs.Move(target=other, by=1), results.MoveResult(moved=False)),
        (jobs.Checkpoint(target="another"), results.CheckpointResult(asked=False)),
        (jobs.Cancel(target=other), results.CancelResult(cancelled=True)),
    ]
    for request, answer in asked:
        name = stage.engine.submit(request)
        assert heard.of(name) == ["JobDone"], "it does not wait"
        said = heard.events[-1]
        assert isinstance(said, events.JobDone)
        assert said.result == answer
    name = stage.engine.submit(jobs.Status())
    said = heard.events[-1]
    assert isinstance(said, events.JobDone)
    assert said.job == name
    assert isinstance(said.result, results.StatusResult)
    assert said.result.running is not None
    assert said.result.running.id == job


def test_closing_ends_every_job_and_later_ones_are_refused(stage: Stage, heard: Heard) -> None:
    first, second = stage.engine.submit(Poke()), stage.engine.submit(Poke())
    stage.started(first)
    assert stage.engine.close(DEADLINE_S)
    assert heard.of(first)[-1] == heard.of(second)[-1] == "JobCancelled"
    assert heard.of(second) == ["JobQueued", "JobCancelled"]
    late = stage.engine.submit(Poke())
    assert heard.of(late) == ["JobFailed"]
    refused = heard.events[-1]
    assert isinstance(refused, events.JobFailed)
    assert refused.error == "the engine is closing"


def test_all_hear_the_same_and_who_leaves_hears_nothing_more(stage: Stage, heard: Heard) -> None:
    other = Heard(stage.engine)
    first = stage.engine.submit(Poke())
    stage.started(first)
    other.stop()
    other.stop()  # once more does no harm
    stage.finish()
    heard.until(first, events.JobDone)
    known = len(other.events)
    assert other.events == heard.events[:known]
    assert "JobDone" not in other.of(first)
