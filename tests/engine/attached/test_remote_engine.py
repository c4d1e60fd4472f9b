"""An engine of another process: its history, lost connections, and the process that serves it."""

from __future__ import annotations

import signal

import psutil

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.socket.client import live_engine
from sekft_engine.records import events, jobs
from tests.engine.attached.conftest import Attach, Heard, training
from tests.engine.socket.conftest import PATIENCE, Resident, Start


def serving(one: Resident) -> psutil.Process:
    """The process that serves the engine's sockets."""
    children = psutil.Process(one.process.pid).children()
    (found,) = [each for each in children if "sekft_engine.engine.socket.front" in each.cmdline()]
    return found


def steps_are_whole(heard: Heard, job: str) -> bool:
    steps = heard.steps(job)
    return steps == list(range(1, len(steps) + 1))


def test_who_comes_late_hears_the_same_in_the_same_order(start: Start, attach: Attach) -> None:
    start()
    early = attach()
    job = early.engine.submit(training(500))
    early.ending(job)
    late = attach()
    assert late.engine.wait_until_live(PATIENCE)

    def said(heard: Heard) -> list[events.Event]:
        return [event for event in heard.events if not isinstance(event, events.Log)]

    early.wait(lambda: len(said(early)) == len(said(late)))
    assert said(late) == said(early)
    assert steps_are_whole(late, job)
    assert late.steps(job)[-1] == 500


def test_a_job_can_be_stopped_as_soon_as_it_was_given(start: Start, attach: Attach) -> None:
    start()
    heard = attach(history=False)
    jobs_given = [heard.engine.submit(training()) for _ in range(3)]
    for job in reversed(jobs_given):
        assert heard.engine.cancel(job, after_step=True)
    endings = [type(heard.ending(job)).__name__ for job in jobs_given]
    assert endings == ["JobCancelled"] * 3
    assert not heard.engine.cancel(jobs_given[0]), "it has ended"


def test_a_job_that_is_refused_has_one_ending_with_the_reason(start: Start, attach: Attach) -> None:
    start()
    heard = attach(history=False)
    job = heard.engine.submit(jobs.Prepare(base="fail"))
    ending = heard.ending(job)
    assert isinstance(ending, events.JobFailed)
    assert ending.what == "it was asked to fail"


def test_an_engine_that_was_started_again_is_found_and_what_it_said_meanwhile_is_heard(
    start: Start, attach: Attach
) -> None:
    one = start()
    heard = attach()
    first = heard.engine.submit(training())
    heard.wait(lambda: len(heard.steps(first)) > 5)
    one.end(signal.SIGKILL)
    assert isinstance(heard.ending(first), events.JobFailed)
    assert heard.engine.state == "ended"
    start()
    heard.wait(lambda: heard.engine.state == "live")
    assert [job.held for job in heard.engine.status().queued] == [True], "it is offered again"
    second = heard.engine.submit(training(3))
    heard.ending(second)
    assert steps_are_whole(heard, second)


def test_a_serving_process_that_dies_is_replaced_and_no_event_is_lost_or_said_twice(
    start: Start, attach: Attach, workspace: Workspace
) -> None:
    one = start()
    heard = attach()
    job = heard.engine.submit(training())
    heard.wait(lambda: len(heard.steps(job)) > 20)
    for _ in range(2):
        before = serving(one)
        before.kill()
        so_far = len(heard.steps(job))
        heard.wait(lambda: len(heard.steps(job)) > so_far + 20, "it is read on")  # noqa: B023
        assert serving(one).pid != before.pid
    with one.client() as client:
        status = client.call("status")
        assert status["running"]["id"] == job, "it knows what runs"
        assert status["running"]["doing"] == "step"
    heard.engine.cancel(job, after_step=True)
    heard.ending(job)
    assert steps_are_whole(heard, job)
    late = attach()
    late.wait(lambda: late.of(job, *events.ENDINGS))
    assert late.steps(job) == heard.steps(job)
    assert len(late.of(job, events.JobStarted)) == 1
    assert live_engine(workspace) is not None


def test_a_serving_process_that_dies_again_and_again_is_given_up_and_the_jobs_go_on(
    start: Start, attach: Attach
) -> None:
    one = start()
    heard = attach()
    job = heard.engine.submit(training(2))
    heard.ending(job)
    killed: set[int] = set()
    while "has failed" not in one.errors():
        for each in psutil.Process(one.process.pid).children():
            if each.pid not in killed:
                killed.add(each.pid)
                each.kill()
        assert one.process.poll() is None
    assert len(killed) <= 7
    assert one.end() == 130, "it can be ended as ever"
