"""Commands whose job the living engine of the workspace does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.cli.main import run
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.fit import Held, fitted, held_base, needs_base
from sekft_engine.records import jobs
from sekft_engine.records.events import Queued
from sekft_engine.records.results import LoadResult
from tests.engine.attached.conftest import Attach, training
from tests.engine.socket.conftest import PATIENCE, Start


class Command:
    """A command of sekft in a process of its own."""

    def __init__(self, *words: str, cwd: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sekft_engine", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
        )

    def says(self, wanted: str) -> str:
        """The next line on stderr that has this in it."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if wanted in line:
                return line
        raise AssertionError(f"it never said {wanted!r}")

    def ended(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


def words(place: Workspace, *more: str, steps: int = 3) -> list[str]:
    where = ("--workspace", str(place.root), "--data", "d")
    return ["train", *where, "--max-steps", str(steps), "--json", *more]


def test_a_job_is_done_by_the_living_engine_with_the_paths_of_the_command(
    start: Start,
    place: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    one = start()
    monkeypatch.chdir(tmp_path)
    assert run(words(place, "--out", "mine")) == 0
    out, err = capfd.readouterr()
    result: dict[str, Any] = json.loads(out)
    assert (result["steps"], result["loss"]["first"]) == (3, 3.0)
    assert result["path"] == str(tmp_path / "mine"), "beside the command, not beside the engine"
    assert f"on the engine of this workspace (pid {one.process.pid})" in err
    assert "torch" not in sys.modules or err, "it loads nothing"


def test_what_a_job_waits_for_is_said_and_it_is_done_in_its_turn(
    start: Start, place: Workspace, attach: Attach, tmp_path: Path
) -> None:
    start()
    other = attach()
    first = other.engine.submit(training())
    other.wait(lambda: other.steps(first))
    waiting = Command(*words(place, "--out", "mine"), cwd=tmp_path)
    line = waiting.says("waits for")
    assert f"waits for {first}" in line
    assert "step" in line
    other.wait(lambda: len(other.engine.status().queued) == 1)
    other.engine.cancel(first, after_step=True)
    status, out, _ = waiting.ended()
    assert (status, json.loads(out)["steps"]) == (0, 3)


def test_ctrl_c_stops_the_job_after_its_step_and_the_engine_lives(
    start: Start, place: Workspace, attach: Attach, tmp_path: Path
) -> None:
    one = start()
    other = attach()
    stopped = Command(*words(place, "--out", "mine", "-v", steps=0), cwd=tmp_path)
    stopped.says("step 2/")
    stopped.process.send_signal(signal.SIGINT)
    status, out, err = stopped.ended()
    assert status == 130
    assert json.loads(out)["steps"] >= 2, "what was saved is told"
    assert "stopped after its step" in err
    assert one.process.poll() is None
    again = other.engine.submit(training(2))
    assert type(other.ending(again)).__name__ == "JobDone"


def test_a_job_goes_on_when_the_terminal_of_its_command_is_lost(
    start: Start, place: Workspace, attach: Attach, tmp_path: Path
) -> None:
    start()
    other = attach()
    lost = Command(*words(place, "--out", "mine", "-v", steps=0), cwd=tmp_path)
    lost.says("step 2/")
    lost.process.send_signal(signal.SIGHUP)
    status, _, err = lost.ended()
    assert status == 130
    assert "goes on in the engine" in err
    running = other.engine.status().running
    assert running is not None
    seen = len(other.steps(running.id))
    other.wait(lambda: len(other.steps(running.id)) > seen + 2, "it goes on")
    other.engine.cancel()


def test_an_engine_that_is_killed_ends_its_command_with_a_way_on(
    start: Start, place: Workspace, tmp_path: Path
) -> None:
    one = start()
    left = Command(*words(place, "--out", "mine", "-v", steps=0), cwd=tmp_path)
    left.says("step 2/")
    one.end(signal.SIGKILL)
    status, out, err = left.ended()
    assert status == 1
    assert json.loads(out)["error"]
    assert "the engine has ended" in err
    assert "sekft queue run" in err


def test_without_the_living_engine_the_command_works_by_itself(
    start: Start, place: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    start()
    assert run(words(place, "--base", "/no/base", "--no-resident")) == 2
    assert "/no/base" in capfd.readouterr().err


def test_a_job_without_a_base_asks_for_no_engine(place: Workspace) -> None:
    assert needs_base(jobs.Evaluate(scenarios="s"))
    assert not needs_base(jobs.Evaluate(scenarios="s", endpoints=("http://h",)))
    assert not needs_base(jobs.Evaluate(scenarios="s", with_base=False, controls=("oracle",)))
    assert not needs_base(jobs.Export(source="r", target="t"))


@pytest.fixture
def bases(place: Workspace) -> tuple[str, str]:
    """Two folders that pass for bases."""
    made = [place.bases / name for name in ("one", "two")]
    for folder in made:
        folder.mkdir()
        (folder / "tokenizer.json").write_text("{}")
    return str(made[0]), str(made[1])


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({}, ""),
        ({"base": "one"}, ""),
        ({"base": "two"}, "holds one, and not two"),
        ({"load_4bit": False}, ""),
        ({"load_4bit": True}, "holds one in full precision"),
        ({"device": "cpu"}, ""),
        ({"device": "cuda:1"}, "holds one on cpu, and not on cuda:1"),
        ({"shard_base": True}, "holds a base that is not spread over processes"),
    ],
)
def test_an_engine_does_a_job_on_the_base_that_it_holds_and_as_it_holds_it(
    place: Workspace, bases: tuple[str, str], asked: dict[str, Any], why: str
) -> None:
    held = Held(bases[0], quantised=False, device="cpu")
    (place.root / "sekft.toml").write_text('base = "one"\n')
    assert fitted(jobs.Train(**asked), place, held)[1] == why


def test_a_job_without_a_base_means_the_workspaces_and_else_the_engines(
    place: Workspace, bases: tuple[str, str]
) -> None:
    one, two = bases
    job, why = fitted(jobs.Train(), place, Held(two))
    assert (job.base, why) == ("", ""), "two bases lie there, and none is named"
    (place.root / "sekft.toml").write_text('base = "one"\n')
    job, why = fitted(jobs.Train(), place, Held(two))
    assert why == "holds two, and not one"
    assert fitted(jobs.Train(), place, None)[0].base == one


def test_the_base_that_will_be_resident_when_the_job_comes_counts() -> None:
    resident = LoadResult(base="/one", digest="d", device="cpu", quantised=False)
    loads = Queued(id="load-1", kind="load", spec={"job": "load", "base": "/two"})
    trains = Queued(id="train-1", kind="train", spec={"job": "train", "base": "/three"})
    assert held_base(None, None, []) is None
    later = msgspec.structs.replace(loads, held=True)
    assert held_base(None, None, [later]) is None, "it may never run"
    held = held_base(resident, trains, [loads])
    assert held is not None
    assert held.base == "/two"
    held = held_base(None, trains, [])
    assert held is not None
    assert held.base == "/three"


def test_the_queue_of_a_living_engine_is_ordered_emptied_and_run_by_commands(
    start: Start, place: Workspace, attach: Attach, capfd: pytest.CaptureFixture[str]
) -> None:
    start()
    other = attach()
    engine = other.engine
    first = engine.submit(training())
    waiting = [engine.submit(training(steps)) for steps in (1, 2, 3)]
    for job in waiting:
        engine.pause(job)
    other.wait(lambda: [job.held for job in engine.status().queued] == [True] * 3)
    where = ("--workspace", str(place.root))
    assert run(["queue", "move", waiting[2], "-2", *where]) == 0
    assert run(["queue", "drop", waiting[0], *where]) == 0
    assert run(["queue", "drop", "nothing", *where]) == 2
    assert "nothing: no such job waits" in capfd.readouterr().err
    left = [waiting[2], waiting[1]]
    other.wait(lambda: [job.id for job in engine.status().queued] == left)
    engine.cancel(first)
    other.ending(first)
    assert run(["queue", "run", "--json", *where]) == 0
    done = json.loads(capfd.readouterr().out)["jobs"]
    assert [(job["id"], job["result"]["steps"]) for job in done] == [(left[0], 3), (left[1], 2)]
