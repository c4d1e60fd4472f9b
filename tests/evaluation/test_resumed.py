"""``sekft eval --resume`` in a workspace continues the eval that did not come to its end."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from sekft_engine.cli.main import run as run_command
from sekft_engine.core.errors import Interrupted, SekftError
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.engine.run_job import run_job
from sekft_engine.records import events, jobs
from sekft_engine.records.evals import EvalResult
from sekft_engine.records.events import Event
from sekft_engine.records.results import expect
from sekft_engine.records.runs import create_run, list_runs, reopen_run
from tests.experiment.conftest import world, write_worlds


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "place").create()


@pytest.fixture
def job(place: Workspace) -> jobs.Evaluate:
    worlds = [world(f"w{number}") for number in range(4)]
    return jobs.Evaluate(
        scenarios=str(write_worlds(place.root / "worlds", worlds)),
        controls=("always-exit", "oracle"),
        with_base=False,
        n=0,
    )


def test_the_newest_eval_of_the_same_kind_is_continued_and_no_episode_is_done_again(
    place: Workspace, job: jobs.Evaluate
) -> None:
    engine = Engine(place, nice=0).start()
    seen: list[Event] = []

    def stop_at_the_first(event: Event) -> None:
        if isinstance(event, events.EpisodeDone) and not seen:
            seen.append(event)
            engine.cancel()

    engine.subscribe(stop_at_the_first)
    try:
        with pytest.raises(Interrupted):
            run_job(job, place, engine=engine)
    finally:
        assert engine.close()
    [stopped] = list_runs(place.runs)
    before = {path: path.stat().st_mtime_ns for path in Path(stopped.path).glob("episodes/*.json")}
    assert 0 < len(before) < 8

    other = msgspec.structs.replace(job, resume=True, seed=9)
    run_job(other, place)
    assert len(list_runs(place.runs)) == 2, "another seed is another eval"

    resumed = msgspec.structs.replace(job, resume=True)
    result = expect(run_job(resumed, place), EvalResult)
    assert len(list_runs(place.runs)) == 2
    assert [subject.n for subject in result.subjects] == [4, 4]
    assert {path: path.stat().st_mtime_ns for path in before} == before

    run_job(resumed, place)
    assert len(list_runs(place.runs)) == 3, "what has come to its end is not continued"


@pytest.fixture
def stopped(place: Workspace, job: jobs.Evaluate) -> Path:
    """The folder of an eval that was stopped after its first episode."""
    engine = Engine(place, nice=0).start()

    def stop(event: Event) -> None:
        if isinstance(event, events.EpisodeDone):
            engine.cancel()

    engine.subscribe(stop)
    asked = msgspec.structs.replace(job, n=3, step_cap=5)
    try:
        with pytest.raises(Interrupted):
            run_job(asked, place, engine=engine)
    finally:
        assert engine.close()
    [info] = list_runs(place.runs)
    return Path(info.path)


@pytest.mark.parametrize("old", [False, True])
def test_the_command_takes_what_is_not_given_from_the_run(
    stopped: Path, capfd: pytest.CaptureFixture[str], old: bool
) -> None:
    if old:  # as versions wrote it that did not record what was asked for
        about = json.loads((stopped / "run.json").read_text())
        (stopped / "run.json").write_text(json.dumps(about | {"job": {}}))
    assert run_command(["eval", "--resume", "--out", str(stopped), "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert (result["run"], result["about"]["n"], result["about"]["step_cap"]) == (
        stopped.name,
        3,
        5,
    )
    acted = [(subject["name"], subject["n"]) for subject in result["subjects"]]
    assert acted == [("always-exit", 3), ("oracle", 3)]


def test_the_command_resumes_the_newest_eval_that_agrees_with_what_is_given(
    place: Workspace, stopped: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    where = ("--workspace", str(place.root))
    assert run_command(["eval", "--resume", *where, "--step-cap", "5", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["run"] == stopped.name
    assert len(list_runs(place.runs)) == 1


def test_what_is_given_and_differs_is_refused(
    stopped: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "--resume", "--out", str(stopped)]
    assert run_command([*words, "--n", "2"]) == 2
    assert "this run was another eval: its n differs" in capfd.readouterr().err
    assert run_command([*words, "--control", "random"]) == 2
    assert "its controls differ" in capfd.readouterr().err


def test_an_eval_that_another_process_still_writes_is_refused_before_a_base_is_loaded(
    place: Workspace, job: jobs.Evaluate, stopped: Path
) -> None:
    asked = msgspec.structs.replace(job, n=3, step_cap=5, resume=True, out=str(stopped))
    other = reopen_run(stopped)
    with pytest.raises(SekftError, match="another process is still writing this run"):
        run_job(asked, place)
    other.close()
    assert run_job(asked, place)


def test_a_run_of_another_kind_is_named(
    place: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    run = create_run(place.runs, "train", about={})
    run.write(status="stopped")
    run.close()
    assert run_command(["eval", "--resume", "--out", str(run.folder)]) == 2
    assert "a run of train, not an eval" in capfd.readouterr().err
