"""The queue: what waits can be put in order, held and taken out, and outlives the engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.cli.main import run as run_command
from sekft_engine.data.recipe import Recipe
from sekft_engine.data.workspace import Workspace, naming
from sekft_engine.engine.engine import JOURNAL, Engine
from sekft_engine.engine.queue import last_queue, queue_entry, unfinished_jobs
from sekft_engine.records import events, jobs
from sekft_engine.records.resuming import to_resume
from sekft_engine.work.context import Context
from tests.documents import document
from tests.engine.conftest import Listener, Poke

Make = Callable[..., tuple[Engine, Listener]]


class Gate:
    """A handler that does one job at a time, each when the test lets it."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def __call__(self, _job: Poke, _context: Context) -> dict[str, Any]:
        self.entered.release()
        assert self.go_on.acquire(timeout=120)
        return {}

    def begun(self) -> None:
        assert self.entered.acquire(timeout=120)


def test_waiting_jobs_run_in_the_order_they_are_put_in(make_engine: Make) -> None:
    gate = Gate()
    engine, listener = make_engine(gate)
    first = engine.submit(Poke(what="first"))
    gate.begun()
    a, b, c = (engine.submit(Poke(what=name)) for name in "abc")
    assert engine.move(c, -5)
    assert engine.move(a, 1)
    assert not engine.move(c, -1)
    assert not engine.move(first, 1)
    waiting = document(engine.status())["queued"]
    assert [one["id"] for one in waiting] == [c, b, a]
    for _ in range(4):
        gate.go_on.release()
    listener.ending(a)
    assert [event.job for event in listener.of(events.JobDone)] == [first, c, b, a]


def test_a_held_job_lets_the_others_pass_until_it_is_released(make_engine: Make) -> None:
    gate = Gate()
    engine, listener = make_engine(gate)
    engine.submit(Poke())
    gate.begun()
    held, other = engine.submit(Poke()), engine.submit(Poke())
    engine.submit(jobs.Pause(target=held))
    assert [one["held"] for one in document(engine.status())["queued"]] == [True, False]
    gate.go_on.release()
    gate.go_on.release()
    listener.ending(other)
    engine.submit(jobs.Resume(target=held))
    gate.go_on.release()
    assert isinstance(listener.ending(held), events.JobDone)
    assert not engine.pause("no-such-job")


def test_every_change_of_the_queue_is_told_with_what_runs_and_what_waits(
    make_engine: Make,
) -> None:
    gate = Gate()
    engine, listener = make_engine(gate)
    running = engine.submit(Poke(what="x"))
    gate.begun()
    waiting = engine.submit(Poke())
    engine.submit(jobs.Pause(target=waiting))
    told = listener.of(events.QueueChanged)[-1]
    assert told.running.id == running
    assert [(one.id, one.held) for one in told.waiting] == [(waiting, True)]
    engine.cancel(waiting)
    gate.go_on.release()
    listener.ending(running)
    told = listener.of(events.QueueChanged)[-1]
    assert (told.running, told.waiting) == (None, [])


def test_jobs_that_wait_when_the_engine_is_told_to_leave_are_offered_again(
    make_engine: Make, workspace: Workspace, tmp_path: Path
) -> None:
    gate = Gate()
    engine, listener = make_engine(gate, workspace)
    engine.submit(Poke())
    gate.begun()
    wanted = jobs.Train(base="b", data=str(tmp_path), recipe=Recipe(lr=0.5))
    first = engine.submit(wanted)
    engine.submit(jobs.Load(base="of the moment only"))
    closing = threading.Thread(target=engine.close, args=(60,))
    closing.start()
    ended = listener.ending(first)
    assert isinstance(ended, events.JobCancelled)
    assert "offered again" in ended.detail
    gate.go_on.release()
    closing.join(60)

    again, heard = make_engine(workspace=workspace)
    (offered,) = document(again.status())["queued"]
    assert (offered["id"], offered["held"]) == (first, True)
    assert document(again.status())["running"] is None
    assert int(again.submit(jobs.Load(base="nowhere")).split("-")[1]) > int(first.split("-")[1])
    again.resume(first)
    failed = heard.ending(first)
    assert isinstance(failed, events.JobFailed)  # there is no base b: it did begin
    assert document(again.status())["queued"] == []
    assert unfinished_jobs(workspace.root / JOURNAL) == []


def test_an_engine_that_was_not_the_first_has_the_queue_when_the_first_has_left(
    make_engine: Make, workspace: Workspace, tmp_path: Path
) -> None:
    gate = Gate()
    first, _ = make_engine(gate, workspace)
    first.submit(Poke())
    gate.begun()
    left = first.submit(jobs.Train(base="b", data=str(tmp_path)))
    behind = Gate()
    second, _ = make_engine(behind, workspace)
    second.submit(Poke())
    behind.begun()
    own = second.submit(jobs.Train(base="b", data=str(tmp_path)))
    assert own == left, "each counts from one"
    gate.go_on.release()
    assert first.close(60)
    assert unfinished_jobs(workspace.root / JOURNAL), "written down by the first"

    assert second.open_journal()
    assert len(unfinished_jobs(workspace.root / JOURNAL)) == 2, "that of each"
    last = second.submit(jobs.Train(base="c", data=str(tmp_path)))
    waiting = {one["id"]: one["held"] for one in document(second.status())["queued"]}
    assert (len(waiting), waiting[own], waiting[last]) == (3, False, False)
    assert list(waiting.values()).count(True) == 1, "what the first had yet to do"
    assert {one.id for one in unfinished_jobs(workspace.root / JOURNAL)} == set(waiting)
    for job in waiting:
        second.cancel(job)
    behind.go_on.release()


def test_what_a_killed_engine_was_doing_and_had_yet_to_do_is_offered_again(
    workspace: Workspace,
) -> None:
    script = f"""
import sys, threading
from sekft_engine.records import jobs
from sekft_engine.engine.engine import Engine
from sekft_engine.data.workspace import Workspace

def train(job, context):
    context.open_run("train", about={{"recipe": {{}}}})
    print("in it", flush=True)
    threading.Event().wait()

engine = Engine(Workspace({str(workspace.root)!r}), handlers={{jobs.Train: train}}).start()
engine.submit(jobs.Train(base="one", data="d"))
engine.submit(jobs.Evaluate(base="two", scenarios="s"))
engine.submit(jobs.Train(base="three", data="d"))
engine.move("train-3", -1)
threading.Event().wait()
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"in it\n"
    journal = workspace.root / JOURNAL
    for _ in range(1200):
        last = last_queue(journal)
        if last is not None and [one.id for one in last.waiting] == ["train-3", "eval-2"]:
            break
        threading.Event().wait(0.1)
    os.kill(child.pid, signal.SIGKILL)
    child.wait(60)
    one, three, two = unfinished_jobs(journal)
    assert isinstance(one, jobs.Train)
    assert (one.base, one.resume) == ("one", True)
    assert Path(one.out) == workspace.runs / "001-train"
    assert isinstance(three, jobs.Train)
    assert (three.base, three.resume, three.out) == ("three", False, "")
    assert isinstance(two, jobs.Evaluate)


def test_a_job_the_user_stopped_or_that_ended_is_not_offered_again(
    make_engine: Make, workspace: Workspace
) -> None:
    engine, listener = make_engine(lambda _job, _context: {}, workspace)
    for job in (Poke(), jobs.Train(base="not there", data="d"), jobs.Status()):
        listener.ending(engine.submit(job))
    assert engine.close(60)
    assert unfinished_jobs(workspace.root / JOURNAL) == []


@pytest.mark.parametrize("text", ["", "{", '{"event":"QueueChanged","job":"","waiting":[{"id":'])
def test_a_journal_that_tells_no_queue_offers_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "journal"
    assert unfinished_jobs(path) == []
    path.write_text(text)
    assert unfinished_jobs(path) == []


def test_of_a_running_job_is_known_whether_it_was_asked_to_resume(tmp_path: Path) -> None:
    """Its spec is what would resume it, whichever it was."""
    new = jobs.Train(id="train-1", base="b", data="d")
    entry = queue_entry(new, again=to_resume(new, tmp_path))
    assert (entry.spec["resume"], entry.resumes) == (True, False)
    assert queue_entry(to_resume(new, tmp_path)).resumes


def test_the_last_whole_word_on_the_queue_counts(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    job = events.Queued(
        id="train-1", kind="train", spec={"job": "train", "base": "b", "of_tomorrow": 1}
    )
    good = events.Queued(
        id="eval-2", kind="eval", spec={"job": "eval", "base": "b", "scenarios": "s"}
    )
    noise = events.Log(job="x", level="info", text='{"event":"QueueChanged"')
    lines = [events.QueueChanged(job="", waiting=[job, good]), noise]
    path.write_bytes(
        b"\n".join(events.encode(line) for line in lines) + b'\n{"event":"QueueChanged","job":"'
    )
    assert [type(one) for one in unfinished_jobs(path)] == [jobs.Evaluate]


def test_the_command_orders_and_does_what_a_dead_engine_left(
    make_engine: Make, workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    gate = Gate()
    engine, listener = make_engine(gate, workspace)
    engine.submit(Poke())
    gate.begun()
    for base in ("one", "two", "three"):
        last = engine.submit(jobs.Train(base=base, data="d"))
    place = ["--workspace", str(workspace.root)]
    assert run_command(["queue", "list", "--json", *place]) == 0
    assert json.loads(capfd.readouterr().out)["live"] is True
    assert run_command(["queue", "list", *place]) == 0
    running, *queued = capfd.readouterr().out.splitlines()
    assert running.split()[1] == "running"
    assert [line.split()[1] for line in queued] == ["queued"] * 3
    assert run_command(["queue", "drop", "train-2", *place]) == 2
    assert "an engine is at work" in capfd.readouterr().err
    closing = threading.Thread(target=engine.close, args=(60,))
    closing.start()
    listener.ending(last)
    gate.go_on.release()
    closing.join(60)

    def waiting() -> list[tuple[str, bool]]:
        assert run_command(["queue", "list", "--json", *place]) == 0
        told = json.loads(capfd.readouterr().out)
        assert (told["live"], told["running"]) == (False, None)
        return [(one["id"], one["held"]) for one in told["waiting"]]

    assert waiting() == [("train-2", True), ("train-3", True), ("train-4", True)]
    assert run_command(["queue", "list", *place]) == 0
    *rows, way = capfd.readouterr().out.splitlines()
    assert [row.split() for row in rows] == [
        [f"train-{number}", "held", "train", row.split()[-1]]
        for number, row in zip((2, 3, 4), rows, strict=True)
    ]
    assert way == f"no engine is at work here; sekft queue run{naming(workspace.root)} does them"
    assert run_command(["queue", "move", "train-4", "-2", *place]) == 0
    assert run_command(["queue", "drop", "train-3", *place]) == 0
    assert run_command(["queue", "drop", "train-3", *place]) == 2
    assert waiting() == [("train-4", True), ("train-2", True)]
    capfd.readouterr()
    assert run_command(["queue", "run", "--json", *place]) == 1  # there are no such bases
    done = json.loads(capfd.readouterr().out)["jobs"]
    assert [Path(one["label"]).name for one in done] == ["d", "d"]
    assert "three" in done[0]["error"]
    assert "one" in done[1]["error"]
    assert waiting() == []
