"""In reports an adapter has the name that it was asked for by, in every engine, and an eval is
resumed by what its adapters are, not by what they are called."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.core.errors import SekftError
from sekft_engine.data.recipe import Recipe
from sekft_engine.data.scenario import Scenario
from sekft_engine.engine.engine import Engine
from sekft_engine.model.device import Device
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import events, jobs
from sekft_engine.records.adapters import AdapterMeta
from sekft_engine.records.events import Event
from sekft_engine.records.resuming import resuming_job
from sekft_engine.records.runs import read_run
from sekft_engine.work.context import Stopped
from tests.documents import document, run_document


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """One engine for all: the base is loaded once."""
    engine = Engine(nice=0).start()
    yield engine
    assert engine.close(timeout=60)


@pytest.fixture
def runs(tiny_base: Path, tmp_path: Path) -> Path:
    """Runs with untrained adapters; ``002-train`` holds the same one as ``001-train``."""
    base = ResidentBase.load(tiny_base)
    for seed, run in enumerate(("001-train", "003-train.v2")):
        base.new_adapter(run, Recipe(rank=2, seed=seed))
        meta = AdapterMeta(base_digest=base.digest, render=base.render)
        base.save_adapter(run, tmp_path / "runs" / run / "adapter", meta)
    shutil.copytree(tmp_path / "runs" / "001-train", tmp_path / "runs" / "002-train")
    return tmp_path / "runs"


@pytest.fixture
def asked(
    engine: Engine,
    tiny_base: Path,
    runs: Path,
    tmp_path: Path,
    make_scenario: Callable[..., Scenario],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., jobs.Evaluate]]:
    """An eval of adapters, by run or by name; afterwards the base has none."""
    monkeypatch.setattr(Device, "rows", 1)
    (tmp_path / "worlds").mkdir()
    for number in range(3):
        bundle = msgspec.json.encode(make_scenario(f"s{number}"))
        (tmp_path / "worlds" / f"s{number}.json").write_bytes(bundle)

    def make(*adapters: str, **changes: Any) -> jobs.Evaluate:
        fields: dict[str, Any] = {
            "base": str(tiny_base),
            "adapters": tuple(
                str(runs / each) if (runs / each).exists() else each for each in adapters
            ),
            "with_base": False,
            "scenarios": str(tmp_path / "worlds"),
            "n": 3,
            "step_cap": 1,
            "turn_tokens": 2,
            "out": str(tmp_path / "eval"),
        }
        return jobs.Evaluate(**(fields | changes))

    yield make
    for name in on_base(engine):
        run_document(jobs.Drop(name=name), engine=engine)


def on_base(engine: Engine) -> list[str]:
    return list(document(engine.status())["resident"].get("adapters", {}))


def attach(engine: Engine, base: Path, run: Path, name: str) -> None:
    """As the engine that trained the run under this name has it."""
    run_document(jobs.Load(base=str(base)), engine=engine)
    run_document(jobs.Attach(path=str(run), name=name), engine=engine)


def stop_after_one(engine: Engine, job: jobs.Evaluate) -> set[Path]:
    def stop(event: Event) -> None:
        if isinstance(event, events.EpisodeDone):
            engine.cancel()

    unsubscribe = engine.subscribe(stop)
    try:
        with pytest.raises(Stopped):
            run_document(job, engine=engine)
    finally:
        unsubscribe()
    return set((Path(job.out) / "episodes").iterdir())


def test_an_eval_is_resumed_by_the_engine_that_has_its_adapter_under_another_name(
    engine: Engine, tiny_base: Path, runs: Path, asked: Callable[..., jobs.Evaluate]
) -> None:
    job = asked("001-train")
    done = stop_after_one(engine, job)
    attach(engine, tiny_base, runs / "001-train", "cat")
    resumed = resuming_job(read_run(Path(job.out)))
    kept = [path.stat().st_mtime_ns for path in sorted(done)]
    result = run_document(resumed, engine=engine)
    assert [subject["name"] for subject in result["subjects"]] == ["001-train"]
    assert result["subjects"][0]["n"] == 3
    assert [path.stat().st_mtime_ns for path in sorted(done)] == kept
    assert on_base(engine) == ["cat"]


def test_an_eval_of_an_adapter_named_as_on_the_base_is_resumed_by_an_engine_without_it(
    engine: Engine, tiny_base: Path, runs: Path, asked: Callable[..., jobs.Evaluate]
) -> None:
    attach(engine, tiny_base, runs / "001-train", "cat")
    job = asked("cat")
    done = stop_after_one(engine, job)
    run_document(jobs.Drop(name="cat"), engine=engine)
    result = run_document(resuming_job(read_run(Path(job.out))), engine=engine)
    assert [subject["name"] for subject in result["subjects"]] == ["cat"]
    assert result["subjects"][0]["n"] == 3
    assert done < set((Path(job.out) / "episodes").iterdir())
    assert {episode["subject"] for episode in result["episodes"]} == {"cat"}


def test_an_eval_whose_adapter_was_trained_on_says_so_and_names_it(
    engine: Engine, runs: Path, asked: Callable[..., jobs.Evaluate]
) -> None:
    job = asked("001-train")
    stop_after_one(engine, job)
    shutil.rmtree(runs / "001-train")
    shutil.copytree(runs / "003-train.v2", runs / "001-train")
    resumed = msgspec.structs.replace(job, resume=True)
    with pytest.raises(SekftError, match=r"its models differ \(001-train has changed since\)"):
        run_document(resumed, engine=engine)
    other = msgspec.structs.replace(resumed, adapters=(str(runs / "002-train"),), with_base=True)
    with pytest.raises(SekftError, match=r"its models differ \(base added\).*with another --out"):
        run_document(other, engine=engine)


def test_of_two_runs_with_the_same_adapter_the_eval_names_the_one_that_was_asked_for(
    engine: Engine, tiny_base: Path, runs: Path, asked: Callable[..., jobs.Evaluate]
) -> None:
    attach(engine, tiny_base, runs / "001-train", "001-train")
    result = run_document(asked("002-train"), engine=engine)
    assert [subject["name"] for subject in result["subjects"]] == ["002-train"]
    assert {episode["subject"] for episode in result["episodes"]} == {"002-train"}
    assert list(read_run(Path(result["path"])).about["subjects"]) == ["002-train"]
    with pytest.raises(SekftError, match="002-train: the same adapter as 001-train, bit by bit"):
        run_document(asked("001-train", "002-train", out=result["path"] + "-2"), engine=engine)


def test_an_adapter_is_called_as_its_run_whatever_else_is_on_the_base(
    engine: Engine, tiny_base: Path, runs: Path, asked: Callable[..., jobs.Evaluate]
) -> None:
    attach(engine, tiny_base, runs / "001-train", "003-train.v2")
    result = run_document(asked("003-train.v2"), engine=engine)
    assert [subject["name"] for subject in result["subjects"]] == ["003-train.v2"]
    assert on_base(engine) == ["003-train.v2"]


def test_the_adapters_of_an_eval_are_told_to_leave_the_base_at_its_end(
    engine: Engine, asked: Callable[..., jobs.Evaluate]
) -> None:
    seen: list[Event] = []
    run_document(asked("001-train"), on_event=seen.append, engine=engine)
    came = [event.name for event in seen if isinstance(event, events.AdapterAttached)]
    went = [event.name for event in seen if isinstance(event, events.AdapterDropped)]
    assert came == went == ["001-train"]
