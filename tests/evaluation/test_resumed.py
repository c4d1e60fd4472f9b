"""``sekft eval --resume`` in a workspace continues the eval that did not come to its end."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sekft_engine.core.errors import Interrupted
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.engine.run_job import run_job
from sekft_engine.records import events, jobs
from sekft_engine.records.evals import EvalResult
from sekft_engine.records.events import Event
from sekft_engine.records.results import expect
from sekft_engine.records.runs import list_runs
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
