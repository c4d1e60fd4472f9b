"""The engine: jobs in, events out; nothing that a job does may end it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.core.errors import BadInput
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import JOURNAL, Engine
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.records.journal import Journal, read_events
from sekft_engine.records.runs import read_run
from sekft_engine.work.context import Context, Stopped
from tests.documents import document
from tests.engine.conftest import Listener, Poke

Make = Callable[..., tuple[Engine, Listener]]


@pytest.mark.parametrize(
    ("error", "line", "status"),
    [
        (BadInput("broken", where="x.json:3", mend="mend it"), "x.json:3: broken (mend it)", 2),
        (ZeroDivisionError("two\nlines"), "ZeroDivisionError: two", 1),
        (OSError(errno.ENOSPC, "No space", "/data/x"), "/data/x: the disk is full", 1),
        (KeyboardInterrupt(), "KeyboardInterrupt", 1),
        (SystemExit(3), "SystemExit: 3", 1),
    ],
)
def test_a_failing_job_is_told_in_one_line_and_the_engine_lives_on(
    make_engine: Make, error: BaseException, line: str, status: int
) -> None:
    def poke(job: Poke, _context: Context) -> dict[str, Any]:
        if job.what == "fail":
            raise error
        return {"fine": True}

    engine, listener = make_engine(poke)
    failed = listener.ending(engine.submit(Poke(what="fail")))
    assert isinstance(failed, events.JobFailed)
    assert failed.error.startswith(line)
    assert "\n" not in failed.error
    assert failed.exit_status == status
    assert ("Traceback" in failed.trace) == (not isinstance(error, BadInput))
    done = listener.ending(engine.submit(Poke()))
    assert isinstance(done, events.JobDone)
    assert done.result == {"fine": True}


def test_an_event_is_on_disk_before_anyone_sees_it(make_engine: Make, workspace: Workspace) -> None:
    def poke(_job: Poke, context: Context) -> dict[str, Any]:
        for number in range(5):
            context.progress("counting", number, 5)
        return {}

    engine, listener = make_engine(poke, workspace)
    unwritten: list[Event] = []
    journal = workspace.root / JOURNAL

    def look(event: Event) -> None:
        if event not in read_events(journal):
            unwritten.append(event)

    engine.subscribe(look)
    listener.ending(engine.submit(Poke()))
    assert not unwritten
    assert len(listener.of(events.Progress)) == 5


def test_nothing_is_written_into_a_folder_before_something_is_done_there(
    make_engine: Make, tmp_path: Path
) -> None:
    engine, listener = make_engine(lambda _job, _context: {}, Workspace(tmp_path))
    listener.ending(engine.submit(jobs.Status()))
    engine.cancel()
    assert list(tmp_path.iterdir()) == []
    listener.ending(engine.submit(Poke()))
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL]
    assert any(isinstance(event, events.JobDone) for event in read_events(tmp_path / JOURNAL))


def test_a_runs_journal_tells_the_whole_job(make_engine: Make, workspace: Workspace) -> None:
    def poke(_job: Poke, context: Context) -> dict[str, Any]:
        context.log("before there was a run")
        context.open_run("train", about={"a": 1})
        context.progress("working", 1)
        return {"answer": 42}

    engine, listener = make_engine(poke, workspace)
    job = engine.submit(Poke())
    listener.ending(job)
    made = listener.of(events.RunCreated)[0]
    info = read_run(workspace.runs / made.run)
    assert read_events(info.events_path) == [event for event in listener.seen if event.job == job]
    assert engine.close()
    assert info.status == "done"
    assert info.result == {"answer": 42}


def test_a_disk_that_fills_up_fails_the_job_with_one_line(
    make_engine: Make, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poke(_job: Poke, context: Context) -> dict[str, Any]:
        context.progress("writing", 1)
        return {}

    def full(_self: Journal, event: Event) -> None:
        if isinstance(event, events.Progress):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Journal, "write", full)
    engine, listener = make_engine(poke, workspace)
    failed = listener.ending(engine.submit(Poke()))
    assert isinstance(failed, events.JobFailed)
    assert failed.error.startswith("the disk is full")
    assert failed.exit_status == 1
    assert not listener.of(events.Progress)


def test_a_job_that_a_full_disk_does_not_let_in_fails_and_the_engine_lives_on(
    make_engine: Make, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, listener = make_engine(lambda _job, _context: {"fine": True}, workspace)
    room = os.write

    def full(descriptor: int, data: bytes) -> int:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == JOURNAL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return room(descriptor, data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        failed = listener.ending(engine.submit(Poke()))
        assert engine.cancel() is False
    assert isinstance(failed, events.JobFailed)
    assert failed.error.startswith(f"{workspace.root / JOURNAL}: the disk is full")
    done = listener.ending(engine.submit(Poke()))
    assert isinstance(done, events.JobDone)


def test_a_front_end_that_stumbles_does_not_end_the_job(make_engine: Make) -> None:
    def stumble(_event: Event) -> None:
        raise RuntimeError("a widget is gone")

    engine, listener = make_engine(lambda _job, _context: {"fine": True})
    engine.subscribe(stumble)
    assert isinstance(listener.ending(engine.submit(Poke())), events.JobDone)


def test_status_and_cancel_are_answered_while_a_job_runs(make_engine: Make) -> None:
    entered = threading.Event()

    def poke(_job: Poke, context: Context) -> dict[str, Any]:
        entered.set()
        while not context.cancelled():
            threading.Event().wait(0.005)
        assert not context.cancelled_now()
        raise Stopped("saved what there was", result={"steps": 3})

    engine, listener = make_engine(poke)
    running = engine.submit(Poke(what="long"))
    assert entered.wait(60)
    waiting = engine.submit(Poke())
    status = document(engine.status())
    assert status["running"]["id"] == running
    assert [job["id"] for job in status["queued"]] == [waiting]
    answered = listener.ending(engine.submit(jobs.Status()))
    assert isinstance(answered, events.JobDone)
    assert document(answered.result) == status
    engine.submit(jobs.Cancel(target=waiting))
    assert isinstance(listener.ending(waiting), events.JobCancelled)
    engine.submit(jobs.Cancel(after_step=True))
    stopped = listener.ending(running)
    assert isinstance(stopped, events.JobCancelled)
    assert stopped.detail == "saved what there was"
    assert stopped.result == {"steps": 3}
    assert not engine.cancel("no-such-job")


def test_a_paused_job_holds_until_it_may_go_on(make_engine: Make) -> None:
    steps = threading.Semaphore(0)

    def poke(_job: Poke, context: Context) -> dict[str, Any]:
        for number in range(3):
            steps.acquire()
            context.wait_while_paused()
            context.progress("step", number)
        return {}

    engine, listener = make_engine(poke)
    job = engine.submit(Poke())
    listener.wait(lambda event: isinstance(event, events.JobStarted))
    engine.pause()
    steps.release()
    listener.wait(lambda event: isinstance(event, events.JobPaused))
    assert document(engine.status())["running"]["paused"]
    assert not listener.of(events.Progress)
    engine.resume()
    steps.release()
    steps.release()
    assert isinstance(listener.ending(job), events.JobDone)
    assert len(listener.of(events.JobResumed)) == 1


def test_a_paused_job_can_be_cancelled(make_engine: Make) -> None:
    def poke(_job: Poke, context: Context) -> dict[str, Any]:
        while not context.cancelled():
            context.wait_while_paused()
        raise Stopped("left")

    engine, listener = make_engine(poke)
    job = engine.submit(Poke())
    listener.wait(lambda event: isinstance(event, events.JobStarted))
    engine.pause()
    listener.wait(lambda event: isinstance(event, events.JobPaused))
    engine.cancel()
    assert isinstance(listener.ending(job), events.JobCancelled)


def test_closing_lets_the_queue_drain_when_asked(make_engine: Make) -> None:
    engine, listener = make_engine(lambda _job, _context: {})
    ids = [engine.submit(Poke()) for _ in range(5)]
    assert engine.close(timeout=60, drain=True)
    assert [event.job for event in listener.of(events.JobDone)] == ids
    late = listener.ending(engine.submit(Poke()))
    assert isinstance(late, events.JobFailed)


def test_a_job_submitted_while_the_engine_closes_is_refused_or_gets_an_ending() -> None:
    for number in range(1000):
        engine = Engine(handlers={Poke: lambda _job, _context: {}}, nice=0).start()
        endings: Counter[str] = Counter()

        def count(event: Event, endings: Counter[str] = endings) -> None:
            endings[event.job] += isinstance(event, events.ENDINGS)

        engine.subscribe(count)
        submitted: list[str] = []
        together = threading.Barrier(2)

        def submit(
            engine: Engine = engine,
            submitted: list[str] = submitted,
            together: threading.Barrier = together,
        ) -> None:
            together.wait(60)
            submitted.extend(engine.submit(Poke()) for _ in range(4))

        thread = threading.Thread(target=submit)
        thread.start()
        together.wait(60)
        assert engine.close(60, drain=number % 2 == 0)
        thread.join(60)
        assert len(submitted) == 4
        assert {job: endings[job] for job in submitted} == dict.fromkeys(submitted, 1)


@pytest.mark.parametrize("drain", [True, False])
def test_a_held_job_gets_an_ending_when_the_engine_closes(make_engine: Make, drain: bool) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def poke(_job: Poke, _context: Context) -> dict[str, Any]:
        entered.set()
        assert go_on.wait(60)
        return {}

    engine, listener = make_engine(poke)
    engine.submit(Poke())
    assert entered.wait(60)
    held = engine.submit(Poke())
    assert engine.pause(held)
    go_on.set()
    assert engine.close(60, drain=drain)
    assert isinstance(listener.ending(held), events.JobCancelled)


def test_pausing_says_when_there_is_nothing_to_pause(make_engine: Make) -> None:
    engine, listener = make_engine()
    assert not engine.pause()
    assert not engine.resume()
    answered = listener.ending(engine.submit(jobs.Pause()))
    assert isinstance(answered, events.JobDone)
    assert document(answered.result) == {"paused": False}
    answered = listener.ending(engine.submit(jobs.Resume()))
    assert isinstance(answered, events.JobDone)
    assert document(answered.result) == {"paused": False, "found": False}


def test_a_job_about_a_base_that_is_not_there_is_refused(make_engine: Make) -> None:
    engine, listener = make_engine()
    failed = listener.ending(engine.submit(jobs.Attach(path="somewhere")))
    assert isinstance(failed, events.JobFailed)
    assert "no base is loaded" in failed.error
    assert failed.exit_status == 2


def test_an_engine_runs_without_torch_until_a_job_needs_it() -> None:
    script = """
import sys
from sekft_engine.records import jobs
from sekft_engine.engine.engine import Engine
engine = Engine().start()
engine.submit(jobs.Status())
assert engine.close(10)
assert not {"torch", "transformers", "peft"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_the_engines_thread_steps_back_behind_the_front_end() -> None:
    script = """
import os, threading
from sekft_engine.engine.engine import Engine
seen = []
def handler(job, context):
    seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    return {}
from sekft_engine.records.jobs import Job
class Poke(Job, frozen=True, kw_only=True, tag="poke"): pass
engine = Engine(handlers={Poke: handler}).start()
engine.submit(Poke())
engine.close(10, drain=True)
assert seen[0] > os.getpriority(os.PRIO_PROCESS, 0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
