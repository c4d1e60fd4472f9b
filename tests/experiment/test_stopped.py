"""An experiment that is stopped says how far it came, and the same job goes on from there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.core.errors import BadInput
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.engine.run_job import run_job
from sekft_engine.experiment.ledger import Ledger
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.records.experiments import ExperimentResult
from sekft_engine.records.results import expect
from sekft_engine.records.runs import list_runs
from sekft_engine.work.context import Context, Stopped
from sekft_engine.work.stages import Stages
from tests.engine.conftest import Listener, Poke, make_engine

__all__ = ["make_engine"]


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "place").create()


@pytest.fixture
def job(tiny_base: Path) -> jobs.Experiment:
    """As small as it can be with a round of improvement, and with other data in an ablation."""
    recipe = {"max_steps": 1, "batch": 2, "heldout": 0.0, "token_losses": 0, "rank": 4}
    return jobs.Experiment(
        preset="laptop",
        base=str(tiny_base),
        sessions=4,
        worlds=1,
        seeds=1,
        rounds=1,
        ablations=("archetypes",),
        step_cap=1,
        turn_tokens=2,
        flags=recipe,
    )


def stopped_at(said: str, job: jobs.Experiment, place: Workspace) -> Stopped:
    """Stop the experiment when it says this."""
    engine = Engine(place, nice=0).start()

    def watch(event: Event) -> None:
        if isinstance(event, events.Log) and event.text == said:
            engine.cancel(after_step=True)

    engine.subscribe(watch)
    try:
        with pytest.raises(Stopped) as stopped:
            run_job(job, place, engine=engine)
    finally:
        assert engine.close()
    return stopped.value


def test_stopped_in_any_stage_it_says_how_far_it_came_and_goes_on(
    job: jobs.Experiment, place: Workspace
) -> None:
    for stage in ("sessions", "train-0", "improve"):
        stopped = stopped_at(f"stage {stage}", job, place)
        assert "give the same command again to continue" in stopped.what
        result = expect(stopped.result, ExperimentResult)
        last = result.stages[-1]
        assert (last.name, last.status) == (stage, "waiting"), result.stages
        assert {each.status for each in result.stages[:-1]} == {"done"}
        assert not result.files, "there is no report yet"
        assert not result.finished, "also where it could do without this stage"
    done = expect(run_job(job, place), ExperimentResult)
    assert done.finished
    assert {each.status for each in done.stages} == {"done"}
    assert done.improvement is not None
    assert done.improvement.rounds[1].sampled > 0
    assert {row.name for row in done.rows if row.kind == "ablation"} == {"archetypes"}
    assert len([run for run in list_runs(place.runs) if run.kind == "experiment"]) == 1


def test_another_experiment_does_not_go_into_the_folder_of_one(
    job: jobs.Experiment, place: Workspace
) -> None:
    out = str(place.root / "mine")
    first = msgspec.structs.replace(job, out=out)
    stopped_at("stage worlds", first, place)
    with pytest.raises(BadInput, match=r"this folder holds another experiment .*--out"):
        run_job(msgspec.structs.replace(first, sessions=5), place)


Make = Callable[..., tuple[Engine, Listener]]


def with_ledger(make_engine: Make, place: Workspace, work: Callable[[Ledger], None]) -> Event:
    """How a job ends that has a ledger."""

    def poke(_: Poke, context: Context) -> dict[str, Any]:
        run = context.open_run("experiment", about={})
        work(Ledger(context, run, Stages(context, run)))
        return {}

    engine, listener = make_engine(poke, place)
    return listener.ending(engine.submit(Poke()))


def stages(place: Workspace) -> list[dict[str, Any]]:
    """What is written down of the stages."""
    found: list[dict[str, Any]] = list_runs(place.runs)[-1].about["stages"]
    return found


def broken() -> None:
    raise BadInput("no such thing")


def test_an_optional_stage_may_fail_and_the_reason_is_written_down(
    make_engine: Make, place: Workspace
) -> None:
    def work(ledger: Ledger) -> None:
        assert not ledger.do("extra", "factory", broken, optional=True)
        assert ledger.do("main", "factory", lambda: None)
        ledger.skip("late", "train", "the budget leaves no time for it")
        assert ledger.is_skipped("late")

    assert isinstance(with_ledger(make_engine, place, work), events.JobDone)
    written = [(each["name"], each["status"], each["why"]) for each in stages(place)]
    assert written == [
        ("extra", "failed", "no such thing"),
        ("main", "done", ""),
        ("late", "skipped", "the budget leaves no time for it"),
    ]


def test_a_stage_that_is_needed_and_fails_ends_the_experiment(
    make_engine: Make, place: Workspace
) -> None:
    def work(ledger: Ledger) -> None:
        ledger.do("main", "factory", broken)

    failed = with_ledger(make_engine, place, work)
    assert isinstance(failed, events.JobFailed)
    assert failed.what == "no such thing"
    assert [each["status"] for each in stages(place)] == ["failed"]


def test_a_stage_is_done_once_and_time_that_is_spent_counts_against_the_budget(
    make_engine: Make, place: Workspace
) -> None:
    done: list[int] = []

    def work(ledger: Ledger) -> None:
        for _ in range(2):
            assert ledger.do("main", "factory", lambda: done.append(1))
        assert ledger.lacks_time(10.0, 11.0)
        assert not ledger.lacks_time(0.0, 1e9), "there is no budget"

    assert isinstance(with_ledger(make_engine, place, work), events.JobDone)
    assert done == [1]
