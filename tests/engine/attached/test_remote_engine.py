"""An engine of another process: its history, lost connections, and the process that serves it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import threading
from pathlib import Path

import msgspec
import psutil

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.where import Where
from sekft_engine.engine.engine import JOURNAL
from sekft_engine.engine.socket.address import read_pointer
from sekft_engine.engine.socket.client import live_engine
from sekft_engine.engine.socket.history import INDEX
from sekft_engine.records import events, jobs
from sekft_engine.records.resuming import resuming_job
from sekft_engine.records.runs import list_runs
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
    heard.wait(lambda: [job.held for job in heard.engine.status().queued] == [True], "is offered")
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


class Forward:
    """What ``ssh -L`` does with a socket: it carries each connection to another one."""

    def __init__(self, path: Path, target: str) -> None:
        self._target = target
        self._ends: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.socket(socket.AF_UNIX)
                there.connect(self._target)
                self._ends += [here, there]
                for ends in ((here, there), (there, here)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """The line is lost: all connections end."""
        ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()


def test_a_forwarded_socket_leads_to_an_engine_of_elsewhere_also_over_a_line_that_drops(
    start: Start, attach: Attach, runtime: Path, tmp_path: Path
) -> None:
    one = start()
    address = read_pointer(one.place)
    assert address is not None
    path = runtime / "forwarded.sock"
    line = Forward(path, address.socket)
    elsewhere = Workspace(tmp_path / "elsewhere").create()
    far = Heard(Where(elsewhere, path), history=True)
    try:
        job = far.engine.submit(training())
        far.wait(lambda: len(far.steps(job)) > 10)
        for _ in range(3):
            line.drop()
            so_far = len(far.steps(job))
            far.wait(lambda: len(far.steps(job)) > so_far + 10, "the line is there again")  # noqa: B023
        assert far.engine.cancel(job, after_step=True)
        far.ending(job)
        near = attach()
        near.ending(job)
        assert far.steps(job) == near.steps(job)
        assert steps_are_whole(far, job)
    finally:
        far.engine.close()
        line.close()
        path.unlink()


def test_a_job_whose_process_was_killed_has_an_ending_for_who_comes_later(
    start: Start, attach: Attach
) -> None:
    one = start()
    early = attach()
    job = early.engine.submit(jobs.Prepare(base="wait"))
    early.wait(lambda: early.of(job, events.JobStarted))
    one.end(signal.SIGKILL)
    start()
    late = attach()
    assert isinstance(late.ending(job), events.JobCancelled)
    assert late.engine.wait_until_live(PATIENCE)
    assert late.engine.status().running is None


def test_what_commands_did_by_themselves_between_two_engines_is_not_the_engines(
    start: Start, attach: Attach
) -> None:
    one = start()
    early = attach()
    early.ending(early.engine.submit(jobs.Prepare(base="emit:3")))
    one.end()
    alone = events.JobStarted(job="train-1", t=1.0, kind="train", label="d")
    with (one.place.root / JOURNAL).open("ab") as journal:
        journal.write(msgspec.json.encode(alone) + b"\n")
    start()
    late = attach()
    assert late.engine.wait_until_live(PATIENCE)
    late.ending(late.engine.submit(jobs.Prepare(base="emit:3")))
    assert not late.of("train-1")
    assert early.engine.wait_until_live(PATIENCE)


def test_of_a_run_whose_folder_was_deleted_nothing_is_missed(start: Start, attach: Attach) -> None:
    one = start()
    heard = attach()
    heard.ending(heard.engine.submit(training(5)))
    (run,) = list_runs(one.place.runs)
    one.end()
    shutil.rmtree(run.path)
    start()  # the one before had the newest events in memory
    late = attach()
    late.wait(lambda: late.engine.state == "live")
    assert not [event for event in late.events if isinstance(event, events.StepDone)]
    said = [event.text for event in late.events if isinstance(event, events.Log)]
    assert not [text for text in said if "cannot be read" in text]


def test_an_index_that_is_removed_under_an_engine_harms_nobody(
    start: Start, attach: Attach
) -> None:
    one = start()
    heard = attach()
    index = one.place.root / INDEX
    first = heard.engine.submit(training(600))
    heard.ending(first)
    job = heard.engine.submit(training())
    heard.wait(lambda: len(heard.steps(job)) > 20)
    journal = heard.engine.greeting.journal
    for _ in range(2):
        index.unlink()
        serving(one).kill()
        so_far = len(heard.steps(job))
        heard.wait(lambda: len(heard.steps(job)) > so_far + 20, "it is read on")  # noqa: B023
        assert index.exists(), "it is written again"
    heard.engine.cancel(job, after_step=True)
    heard.ending(job)
    assert steps_are_whole(heard, job), "nothing is lost, and nothing said twice"
    assert heard.engine.greeting.journal == journal
    late = attach()
    late.ending(job)
    assert late.steps(job) == heard.steps(job)
    index.unlink()
    one.end()
    start()
    heard.wait(lambda: heard.engine.state == "live")
    assert heard.engine.greeting.journal == journal, "also for the next engine"


def test_a_held_job_leaves_the_queue_when_its_run_is_resumed_otherwise(
    start: Start, attach: Attach, workspace: Workspace
) -> None:
    one = start()
    heard = attach()
    first = heard.engine.submit(training())
    heard.wait(lambda: len(heard.steps(first)) > 2)
    one.end(signal.SIGKILL)
    heard.ending(first)
    start()
    heard.wait(lambda: [job.held for job in heard.engine.status().queued] == [True], "offered")
    (held,) = heard.engine.status().queued
    (run,) = list_runs(workspace.runs)
    other = heard.engine.submit(training(2))
    heard.ending(other)
    assert heard.engine.status().queued == [held], "another run is no reason"
    resumed = heard.engine.submit(resuming_job(run))
    heard.wait(lambda: heard.of(held.id, events.JobCancelled), "it has left")
    (left,) = heard.of(held.id, events.JobCancelled)
    assert f"{resumed} has resumed its run" in str(left)
    assert heard.engine.status().queued == []
    heard.engine.cancel(resumed, after_step=True)
    heard.ending(resumed)
