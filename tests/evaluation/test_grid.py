"""Several seeds per world, stopping when it is decided, and results that are equal to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.core.errors import SekftError
from sekft_engine.data.dialect import DEFAULT_DIALECT
from sekft_engine.data.scenario import Scenario
from sekft_engine.engine.engine import Engine
from sekft_engine.episodes.episode import episode_key
from sekft_engine.evaluation.grid import Grid
from sekft_engine.evaluation.report.tables import tables
from sekft_engine.model.device import Device
from sekft_engine.operators.operator import Operator
from sekft_engine.operators.subjects import Subject
from sekft_engine.records import events, jobs
from sekft_engine.records.evals import EvalResult
from sekft_engine.sources import load_trajectories
from sekft_engine.work.context import Context
from tests.documents import run_document
from tests.evaluation.conftest import Scripted

CAPS: dict[str, Any] = {"step_cap": 2, "turn_tokens": 4}


@pytest.fixture
def bundles(tmp_path: Path, make_scenario: Callable[..., Scenario]) -> Path:
    folder = tmp_path / "holdout"
    folder.mkdir()
    for number in range(3):
        scenario = make_scenario(f"s{number}")
        (folder / f"{scenario.id}.json").write_text(json.dumps(scenario.to_json()))
    return folder


def samples(folder: Path) -> dict[str, Any]:
    """Everything that was sampled, to the last bit."""
    return {
        one.id: [(turn.ids, turn.logprobs) for turn in one.turns if turn.is_command]
        for one in load_trajectories(folder / "episodes", keep_only=False).trajectories
    }


def test_several_seeds_give_several_episodes_per_world_and_pass_at_k(
    tiny_base: Path, bundles: Path, tmp_path: Path
) -> None:
    seen: list[events.Event] = []
    job = jobs.Evaluate(
        base=str(tiny_base),
        scenarios=str(bundles),
        n=2,
        seeds=3,
        temperature=1.0,
        out=str(tmp_path / "run"),
        **CAPS,
    )
    report = run_document(job, on_event=seen.append)
    (subject,) = report["subjects"]
    assert (subject["n"], subject["worlds"]) == (6, 2)
    assert set(subject["pass_at"]["verified"]) == {"1", "2", "3"}
    assert [one["draw"] for one in report["episodes"]] == [0, 1, 2, 0, 1, 2]
    assert "at least one of k draws: @1 0.00" in tables(msgspec.convert(report, EvalResult))
    started = next(one for one in seen if isinstance(one, events.EvalStarted))
    first = started.scenarios[0]
    assert started.scenarios[:3] == [first, f"{first}@2", f"{first}@3"]
    assert (started.seeds, started.until_decided) == (3, False)
    drawn = samples(tmp_path / "run")
    assert len(drawn) == 6
    assert drawn[f"base--{first}"] != drawn[f"base--{first}@2"]

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/episodes").iterdir()}
    again = run_document(_with(job, resume=True))
    assert again["episodes"] == report["episodes"]
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


def test_a_greedy_model_is_not_asked_the_same_several_times(
    tiny_base: Path, bundles: Path, tmp_path: Path
) -> None:
    job = jobs.Evaluate(
        base=str(tiny_base), scenarios=str(bundles), seeds=2, out=str(tmp_path / "r")
    )
    with pytest.raises(SekftError, match="does the same whatever the seed"):
        run_document(job)
    lonely = jobs.Evaluate(base=str(tiny_base), scenarios=str(bundles), until_decided=True)
    with pytest.raises(SekftError, match="one model alone"):
        run_document(lonely)


def test_an_exact_eval_gives_the_same_bits_in_any_company(
    tiny_base: Path, bundles: Path, tmp_path: Path
) -> None:
    def run(name: str, n: int) -> dict[str, Any]:
        out = tmp_path / name
        job = jobs.Evaluate(
            base=str(tiny_base), scenarios=str(bundles), n=n, out=str(out), exact=True, **CAPS
        )
        run_document(job)
        return samples(out)

    everyone, one = run("all", 3), run("one", 1)
    assert len(everyone) == 3
    ((key, alone),) = one.items()
    assert everyone[key] == alone


def test_without_exactness_the_company_moves_nothing_but_the_last_bits(
    tiny_base: Path, bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str, rows: int) -> dict[str, Any]:
        monkeypatch.setattr(Device, "rows", rows)
        out = tmp_path / name
        run_document(
            jobs.Evaluate(base=str(tiny_base), scenarios=str(bundles), n=3, out=str(out), **CAPS)
        )
        return samples(out)

    together, apart = run("together", 3), run("apart", 1)
    for key, turns in together.items():
        for (ids, logprobs), (other_ids, other_logprobs) in zip(turns, apart[key], strict=True):
            assert ids == other_ids
            assert logprobs == pytest.approx(other_logprobs, abs=1e-4)


def test_an_eval_stops_as_soon_as_it_is_decided(
    tmp_path: Path, make_scenario: Callable[..., Scenario]
) -> None:
    scenarios = [make_scenario(f"s{number:02d}") for number in range(24)]
    subjects = [Subject(name="base"), Subject(name="tuned", digest="x")]
    scripts = {"base": ["panic lost"], "tuned": ["cp word.txt copy.txt", "exit"]}

    def operators(subject: Subject) -> tuple[Operator, int]:
        lines = {
            episode_key(subject.name, scenario.id): scripts[subject.name] for scenario in scenarios
        }
        return Scripted(lines), 4

    def evaluate(job: jobs.Evaluate, context: Context) -> EvalResult:
        run = context.open_run("eval", about={}, out=job.out)
        run.episodes.mkdir()
        about = {"world": "bubblewrap", "userland": "host:0", "dialect": {}}
        grid = Grid(job, context, run, scenarios, DEFAULT_DIALECT, about)
        grid.fill(subjects, operators)
        return grid.document(0.0)

    job = jobs.Evaluate(
        base="", scenarios="", until_decided=True, step_cap=4, out=str(tmp_path / "run")
    )
    engine = Engine(handlers={jobs.Evaluate: evaluate}).start()
    try:
        report = run_document(job, engine=engine)
    finally:
        engine.close()
    assert [subject["n"] for subject in report["subjects"]] == [8, 8]
    assert report["decisions"]["tuned"]["state"] == "decided"
    assert report["decisions"]["tuned"]["better"] == "tuned"
    (pair,) = report["comparisons"]
    assert (pair["test"], pair["only_a"], pair["only_b"]) == ("any time", 0, 8)
    assert report["subjects"][0]["endings"] == {"wrong terminal": 8}
    assert report["subjects"][0]["confusion"]["exit"]["panic"] == 8
    assert report["subjects"][1]["endings"] == {"done": 8}
    assert report["subjects"][1]["by"]["channel"]["motd"]["clean_termination"] == 8
    told = tables(msgspec.convert(report, EvalResult), "channel")
    assert "valid at any time" in told
    assert "until decided, tuned against base: decided: tuned is better" in told
    assert "8/8 [0.68, 1.00]" in told


def _with(job: jobs.Evaluate, **changes: Any) -> jobs.Evaluate:
    return msgspec.structs.replace(job, **changes)
