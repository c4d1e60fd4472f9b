"""The job that measures token losses: at the end of a run, and whenever someone asks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.core.errors import BadInput
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.records.runs import TOKEN_LOSSES, read_events, read_run
from sekft_engine.records.upkeep.copy import export_run
from sekft_engine.training.token_losses import job
from sekft_engine.training.token_losses import measure as measuring
from sekft_engine.training.token_losses.job import MANY
from sekft_engine.training.token_losses.losses import (
    TokenLosses,
    read_token_losses,
    write_token_losses,
)
from sekft_engine.work.context import Stopped
from tests.documents import document, run_document
from tests.training.conftest import RECIPE
from tests.training.sessions import write_sessions

TRAIN = msgspec.structs.replace(RECIPE, epochs=4, dropout=0.1, token_losses=6)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """One engine for all: the base is loaded once."""
    engine = Engine(nice=0).start()
    yield engine
    assert engine.close(timeout=60)


def train(engine: Engine, base: Path, data: Path, out: Path, **changes: Any) -> dict[str, Any]:
    recipe = msgspec.structs.replace(TRAIN, **changes)
    job = jobs.Train(base=str(base), data=str(data), out=str(out), recipe=recipe)
    return run_document(job, engine=engine)


@pytest.fixture(scope="module")
def trained(
    engine: Engine, tiny_base: Path, sessions: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run that measured six trajectories when it ended."""
    out = tmp_path_factory.mktemp("runs") / "trained"
    train(engine, tiny_base, sessions, out)
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A private copy of that run."""
    return Path(shutil.copytree(trained, tmp_path / "trained"))


def measure(engine: Engine, run: Path, seen: Any = None, **fields: Any) -> dict[str, Any]:
    return run_document(jobs.MeasureLosses(run=str(run), **fields), None, seen, engine=engine)


def test_a_run_ends_by_measuring_some_trajectories(trained: Path) -> None:
    losses = read_token_losses(trained)
    assert sorted(one.part for one in losses.values()) == ["heldout"] * 3 + ["train"] * 3
    for one in losses.values():
        if one.part == "train":
            assert one.mean_after < one.mean_before
    info = read_run(trained)
    summary = document(info.result)["token_losses"]
    assert (summary["trajectories"], info.status) == (6, "done")
    assert summary["parts"]["train"]["after"] < summary["parts"]["train"]["before"]
    tokens = sum(len(one.positions) for one in losses.values())
    mean = sum(sum(one.after) for one in losses.values()) / tokens
    assert (summary["tokens"], summary["after"]) == (tokens, pytest.approx(mean, abs=1e-5))
    told = read_events(info.events_path)
    [done] = [event for event in told if isinstance(event, events.LossesMeasured)]
    assert (done.run, done.trajectories, done.tokens) == ("trained", 6, tokens)
    progress = [e for e in told if isinstance(e, events.Progress) and "losses" in e.label]
    assert (progress[0].done, progress[-1].done, progress[-1].total) == (0, 6, 6)


def test_the_adapter_is_bit_equal_with_and_without_measuring(
    engine: Engine, tiny_base: Path, sessions: Path, trained: Path, tmp_path: Path
) -> None:
    without = train(engine, tiny_base, sessions, tmp_path / "without", token_losses=0)
    assert without["adapter_sha256"] == document(read_run(trained).result)["adapter_sha256"]
    assert without["token_losses"] is None
    assert not (tmp_path / "without" / TOKEN_LOSSES).exists()
    # A run that follows one that measured is not changed either.
    after = train(engine, tiny_base, sessions, tmp_path / "after")
    assert after["adapter_sha256"] == without["adapter_sha256"]


def test_any_trajectory_may_be_measured_later(engine: Engine, run: Path) -> None:
    known = read_token_losses(run)
    others = [name for n in range(16) if (name := f"session-{n:03d}") not in known]
    [first, second, *_] = others
    result = measure(engine, run, ids=(first, second))
    assert sorted(result["measured"]) == [first, second]
    assert result["known"] == []
    losses = read_token_losses(run)
    assert set(losses) == {*known, first, second}
    assert all(losses[name].part for name in losses), "what it was to the run is found out"
    again = measure(engine, run, ids=(first,))
    assert (again["measured"], again["known"]) == ([], [first])
    assert len((run / TOKEN_LOSSES).read_text().splitlines()) == 8


def test_measuring_again_gives_the_same_numbers(engine: Engine, run: Path) -> None:
    before = {one.id: one for one in read_token_losses(run).values()}
    (run / TOKEN_LOSSES).unlink()
    result = measure(engine, run, n=6)
    assert sorted(result["measured"]) == sorted(before), "the same are chosen"
    for name, one in read_token_losses(run).items():
        assert one.after == pytest.approx(before[name].after, abs=2e-5)
        assert one.before == pytest.approx(before[name].before, abs=2e-5)
        assert one.part == before[name].part


def test_the_base_carries_afterwards_what_it_carried_before(
    engine: Engine, tiny_base: Path, run: Path
) -> None:
    before = document(engine.status())["resident"]
    measure(engine, run / "adapter", ids=("session-003",))
    assert document(engine.status())["resident"] == before
    own = Engine(nice=0).start()
    run_document(jobs.Load(base=str(tiny_base)), engine=own)
    measure(own, run, ids=("session-004",))
    facts = document(own.status())["resident"]
    assert (facts["adapters"], facts["active"]) == ({}, None)
    assert own.close()


def test_a_recording_that_is_not_kept_may_be_measured_too(
    engine: Engine, run: Path, tmp_path: Path
) -> None:
    data = write_sessions(tmp_path / "data", 3)
    path = data / "session-001.json"
    path.write_text(path.read_text().replace('"keep": true', '"keep": false'))
    measure(engine, run, ids=("session-001",), data=str(data))
    assert read_token_losses(run)["session-001"].part == "", "other data than the run had"


def test_stopping_keeps_what_was_measured_and_going_on_measures_the_rest(
    engine: Engine, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "TOKENS", 1)
    (run / TOKEN_LOSSES).unlink()

    def stop(event: Event) -> None:
        if isinstance(event, events.Progress) and "losses" in event.label and event.done == 2:
            engine.cancel(event.job)

    # Straight from the engine's thread, so that the request is there before the next pass.
    unsubscribe = engine.subscribe(stop)
    with pytest.raises(Stopped, match="stopped with 4 to go; what was measured is saved") as caught:
        measure(engine, run, n=6)
    unsubscribe()
    assert len(document(caught.value.result)["measured"]) == len(read_token_losses(run)) == 2
    with (run / TOKEN_LOSSES).open("ab") as file:
        file.write(b'{"id":"session-0')  # as a killed process leaves it
    result = measure(engine, run, n=6)
    assert (len(result["measured"]), len(result["known"])) == (4, 2)
    assert len(read_token_losses(run)) == 6


def test_a_disk_that_refuses_the_losses_fails_no_run(
    engine: Engine,
    tiny_base: Path,
    sessions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_folder: Path, _losses: list[TokenLosses]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job, "write_token_losses", full)
    out = tmp_path / "run"
    result = train(engine, tiny_base, sessions, out, epochs=1)
    assert result["token_losses"] is None
    assert read_run(out).status == "done"
    logs = [e for e in read_events(out / "events.jsonl") if isinstance(e, events.Log)]
    [warning] = [log.text for log in logs if log.level == "warning"]
    assert "token losses are not measured: the disk is full" in warning


def test_a_workspace_knows_its_runs_by_their_ids(
    tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "workspace").create()
    engine = Engine(workspace, nice=0).start()
    train = jobs.Train(base=str(tiny_base), data=str(sessions), recipe=TRAIN)
    done = run_document(train, engine=engine)
    job = jobs.MeasureLosses(run="001", ids=("session-001",))
    result = run_document(job, engine=engine)
    assert engine.close()
    assert result["run"] == done["run"] == "001-train"
    told = read_events(workspace.root / "engine.jsonl")
    assert any(isinstance(e, events.LossesMeasured) and e.job == "measure_losses-2" for e in told)


def test_what_cannot_be_measured_is_refused_by_name(
    engine: Engine, run: Path, sessions: Path, tmp_path: Path
) -> None:
    short = write_sessions(tmp_path / "short", 1)
    path = short / "session-000.json"
    path.write_text(path.read_text().replace('"exit"}', '"  exit"}'))
    for fields, said in (
        ({"ids": ("nobody",)}, f"{sessions}: no trajectory has the id 'nobody'"),
        ({"data": "/no/such/data", "ids": ("one",)}, "no such file or folder"),
        ({"base": "/no/such/base"}, "no such base"),
        ({"data": str(short), "ids": ("session-000",)}, "session-000: cannot be measured, since"),
    ):
        with pytest.raises(BadInput, match=said):
            measure(engine, run, **fields)
    for place, said in ((tmp_path / "nothing", "no such run"), (sessions, "no such run")):
        with pytest.raises(BadInput, match=said):
            measure(engine, place)
    shutil.rmtree(run / "adapter")
    with pytest.raises(BadInput, match="this run has no adapter"):
        measure(engine, run)
    manifest = run / "run.json"
    manifest.write_text(manifest.read_text().replace('"kind": "train"', '"kind": "eval"'))
    with pytest.raises(BadInput, match="of the kind 'eval' and trained nothing"):
        measure(engine, run)


def test_another_base_than_the_adapters_is_refused(run: Path, tiny_base_copy: Path) -> None:
    config = tiny_base_copy / "config.json"
    config.write_text(config.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))
    job = jobs.MeasureLosses(run=str(run), ids=("session-001",), base=str(tiny_base_copy))
    with pytest.raises(BadInput, match="trained on another base"):
        run_document(job)


def test_an_exported_run_takes_its_losses_along(run: Path, tmp_path: Path) -> None:
    export_run(read_run(run), tmp_path / "copy")
    assert dict(read_token_losses(tmp_path / "copy")) == dict(read_token_losses(run))


def test_many_trajectories_are_not_made_rows_of_to_tell_what_one_was(
    engine: Engine, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MANY >= 1000
    monkeypatch.setattr(job, "MANY", 3)
    (run / TOKEN_LOSSES).unlink()
    measure(engine, run, ids=("session-001",))
    assert read_token_losses(run)["session-001"].part == ""


def test_losses_of_other_text_under_the_same_id_are_measured_anew(
    engine: Engine, run: Path
) -> None:
    name, one = next(iter(read_token_losses(run).items()))
    write_token_losses(run, [msgspec.structs.replace(one, ids_digest="of other text")])
    assert measure(engine, run, ids=(name,))["measured"] == [name]
    assert read_token_losses(run)[name].ids_digest == one.ids_digest
