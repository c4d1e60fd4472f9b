"""A run looks at what its adapter does, keeps the best one, and stops when none is better."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.core.errors import BadInput, Interrupted
from sekft_engine.data.recipe import Recipe
from sekft_engine.data.scenario import Announcement, Provider, Scenario
from sekft_engine.engine.engine import Engine
from sekft_engine.episodes.store import read_episode
from sekft_engine.records import events, jobs
from sekft_engine.records.adapters import adapter_digest, read_meta
from sekft_engine.records.events import Event
from sekft_engine.records.journal import effective_events
from sekft_engine.records.runs import read_events, read_run
from sekft_engine.training.run import job, session
from sekft_engine.training.run import trials as behaviour
from sekft_engine.training.run.checkpoint import newest_checkpoint
from sekft_engine.training.run.early_stopping import Best
from sekft_engine.training.trainer.trainer import Trainer
from sekft_engine.work.context import Stopped
from tests.documents import document, run_document
from tests.training import crash

RECIPE: Recipe = msgspec.structs.replace(crash.RECIPE, eval_every=2, eval_worlds=1)
STEPS = 13  # of 16 trajectories 13 are trained on, in twos, twice


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """One engine for all: the base is loaded once."""
    engine = Engine(nice=0).start()
    yield engine
    assert engine.close(timeout=60)


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two worlds."""
    folder = tmp_path_factory.mktemp("worlds")
    for number in range(2):
        scenario = Scenario(
            id=f"leave-{number}",
            archetype="leave",
            provider=Provider(
                name="quil", path="/usr/local/bin/quil", script="#!/bin/sh\necho Just leave.\n"
            ),
            announcement=Announcement(channel="motd", text="Orders: quil"),
            fixtures=(),
            checker="true",
            reference_solution=("exit",),
            terminal="exit",
        )
        (folder / f"{scenario.id}.json").write_bytes(msgspec.json.encode(scenario.to_json()))
    return folder


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes of two commands of a few tokens each."""
    real = behaviour.choose_trials

    def chosen(*arguments: Any) -> behaviour.Trials | None:
        trials = real(*arguments)
        if trials is None:
            return None
        options = msgspec.structs.replace(trials.options, step_cap=2, turn_tokens=4)
        return msgspec.structs.replace(trials, options=options)

    monkeypatch.setattr(job, "choose_trials", chosen)


Scripted = Callable[[Sequence[int]], list[int]]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Let the n-th eval of a run (at steps 2, 4, ...) find so many clean terminations of ten."""

    def script(clean: Sequence[int]) -> list[int]:
        done: list[int] = []

        def measured(_trials: Any, step: int, *_: Any) -> events.RatesMeasured:
            done.append(step)
            found = clean[min(step // 2, len(clean)) - 1]
            counts = {"operates": 10, "terminates": found, "verified": found}
            return events.RatesMeasured(
                job="", step=step, n=10, clean_termination=found, seconds=0.1, **counts
            )

        monkeypatch.setattr(session, "measure_rates", measured)
        return done

    return script


def test_the_first_of_the_best_counts_and_what_is_no_number_is_never_better() -> None:
    best = Best().after(2, (0.5,)).after(4, (0.7,)).after(6, (0.7,)).after(8, (float("nan"),))
    assert best == Best(step=4, score=(0.7,), since=2)
    assert Best().after(2, (float("nan"),)) == Best(since=1)
    assert Best().after(2, ()).after(4, (0.0,)).step == 4, "an eval that counts beats none"


def test_the_adapter_in_training_acts_in_real_worlds_and_training_is_none_the_different(
    short: None, engine: Engine, tiny_base: Path, sessions: Path, scenarios: Path, tmp_path: Path
) -> None:
    with_evals = msgspec.structs.replace(RECIPE, eval_every=7)
    plain = run_document(
        _job(tiny_base, sessions, tmp_path / "plain", recipe=crash.RECIPE), engine=engine
    )
    result = run_document(
        _job(tiny_base, sessions, tmp_path / "run", recipe=with_evals, scenarios=str(scenarios)),
        engine=engine,
    )
    assert result["adapter_sha256"] == plain["adapter_sha256"]
    journal = read_events(tmp_path / "run" / "events.jsonl")
    rates = [event for event in journal if isinstance(event, events.RatesMeasured)]
    assert [(event.step, event.n) for event in rates] == [(7, 1), (STEPS, 1)]
    assert result["rates"]["step"] == STEPS
    episodes = sorted((tmp_path / "run" / "episodes").iterdir())
    assert len(episodes) == 2
    assert read_episode(episodes[0]).trajectory.meta["subject"] == "step-000007"
    best = Path(result["best"]["adapter"])
    meta = read_meta(best)
    assert meta is not None
    assert meta.step == result["best"]["step"]
    assert meta.step in (7, STEPS)
    assert document(read_run(tmp_path / "run").facts)["worlds"]["path"] == str(scenarios)


def test_a_run_stops_when_none_is_better_and_ends_with_the_best_adapter(
    scripted: Scripted,
    engine: Engine,
    tiny_base: Path,
    sessions: Path,
    scenarios: Path,
    tmp_path: Path,
) -> None:
    done = scripted([1, 5, 4, 5, 9])
    recipe = msgspec.structs.replace(RECIPE, patience=2)
    seen: list[Event] = []
    out = tmp_path / "run"
    job = _job(tiny_base, sessions, out, recipe=recipe, scenarios=str(scenarios))
    result = run_document(job, None, seen.append, engine=engine)
    assert (result["steps"], result["stopped_early"], result["adapter_step"]) == (8, True, 4)
    assert done == [2, 4, 6, 8]
    assert result["best"] == {"step": 4, "by": "episodes", "adapter": str(out / "best/step-000004")}
    meta = read_meta(out / "adapter")
    assert meta is not None
    assert meta.step == 4
    assert adapter_digest(out / "adapter") == adapter_digest(out / "best" / "step-000004")
    assert result["adapter_sha256"] == adapter_digest(out / "adapter")
    told = [event.text for event in seen if isinstance(event, events.Log)]
    assert any("stopped after step 8" in text and "step 4" in text for text in told)
    info = read_run(out)
    assert (info.status, document(info.result)) == ("done", result)


def test_a_run_that_stops_early_is_the_same_when_it_was_interrupted(
    scripted: Scripted,
    engine: Engine,
    tiny_base: Path,
    sessions: Path,
    scenarios: Path,
    tmp_path: Path,
) -> None:
    scripted([1, 5, 4, 5, 9])
    fields: dict[str, Any] = {
        "recipe": msgspec.structs.replace(RECIPE, patience=2),
        "scenarios": str(scenarios),
        "resume": True,
    }
    whole = run_document(_job(tiny_base, sessions, tmp_path / "whole", **fields), engine=engine)
    out = tmp_path / "part"
    for step in (5, 6):
        _stop_after(step, _job(tiny_base, sessions, out, **fields), engine)
    other = msgspec.structs.replace(RECIPE, patience=2, seed=1)
    with pytest.raises(BadInput, match=r"seed was 0, now 1; the set of worlds differs"):
        run_document(_job(tiny_base, sessions, out, **(fields | {"recipe": other})), engine=engine)
    result = run_document(_job(tiny_base, sessions, out, **fields), engine=engine)
    same = ("steps", "adapter_step", "adapter_sha256", "loss", "rates", "stopped_early", "signs")
    assert [result[key] for key in same] == [whole[key] for key in same]


def test_an_eval_that_a_stop_came_before_is_made_when_the_run_goes_on(
    scripted: Scripted,
    engine: Engine,
    tiny_base: Path,
    sessions: Path,
    scenarios: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = scripted([3, 2, 1])
    real = getattr(session, "measure_rates")  # noqa: B009 - it is imported there
    left = {4, STEPS}
    saved: list[tuple[int | None, int]] = []

    def leave_once(trials: Any, step: int, *rest: Any) -> events.RatesMeasured:
        newest = newest_checkpoint(out)
        saved.append((newest.counts.step if newest else None, step))
        if step in left:
            left.remove(step)
            engine.cancel(after_step=True)
            raise Interrupted("the eval was stopped")
        measured: events.RatesMeasured = real(trials, step, *rest)
        return measured

    monkeypatch.setattr(session, "measure_rates", leave_once)
    out = tmp_path / "run"
    job = _job(tiny_base, sessions, out, recipe=RECIPE, scenarios=str(scenarios), resume=True)
    with pytest.raises(Stopped, match="stopped after step 4"):
        run_document(job, engine=engine)
    assert done == [2]
    with pytest.raises(Stopped, match=f"stopped after step {STEPS}"):
        run_document(job, engine=engine)
    run_document(job, engine=engine)
    assert done == [2, 4, 6, 8, 10, 12, STEPS]
    # An eval takes long: a crash or a pause in it costs no step.
    assert all(on_disk == step for on_disk, step in saved)
    journal = effective_events(read_events(out / "events.jsonl"))
    told = [event.step for event in journal if isinstance(event, events.RatesMeasured)]
    assert told == done


def test_without_evals_the_held_out_loss_decides(
    engine: Engine, tiny_base: Path, sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([3.0, 2.0, 2.5, 2.1])
    monkeypatch.setattr(Trainer, "heldout_loss", lambda *_: (next(losses), 10))
    recipe = msgspec.structs.replace(crash.RECIPE, patience=2, heldout_every=3)
    result = run_document(_job(tiny_base, sessions, tmp_path / "run", recipe=recipe), engine=engine)
    assert (result["steps"], result["adapter_step"]) == (12, 6)
    assert result["best"]["by"] == "held-out loss"


@pytest.mark.parametrize(
    ("recipe", "named", "line"),
    [
        (
            Recipe(patience=2, heldout=0),
            False,
            "nothing is measured that a run could be stopped by",
        ),
        (Recipe(eval_every=2), False, "no scenarios named"),
        (Recipe(eval_every=2, eval_worlds=9), True, "only 2 scenarios for n=9"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_written(
    recipe: Recipe,
    named: bool,
    line: str,
    engine: Engine,
    tiny_base: Path,
    sessions: Path,
    scenarios: Path,
    tmp_path: Path,
) -> None:
    folder = str(scenarios) if named else ""
    with pytest.raises(BadInput, match=line):
        run_document(
            _job(tiny_base, sessions, tmp_path / "run", recipe=recipe, scenarios=folder),
            engine=engine,
        )
    assert list(tmp_path.iterdir()) == []


def _job(base: Path, data: Path, out: Path, **changes: Any) -> jobs.Train:
    return jobs.Train(base=str(base), data=str(data), out=str(out), **changes)


def _stop_after(step: int, job: jobs.Train, engine: Engine) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, events.StepDone) and event.step == step:
            engine.cancel(after_step=True)

    unsubscribe = engine.subscribe(stop)
    with pytest.raises(Stopped):
        run_document(job, engine=engine)
    unsubscribe()
