"""The mask view and the engine: bases that have to be prepared, losses that have to be measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events, jobs
from sekft_tui.app import Workbench
from tests.tui.conftest import Show, trajectory
from tests.tui.screen import screen_text, until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine

if TYPE_CHECKING:
    from sekft_engine.training.token_losses.losses import TokenLosses

SMALL, LARGE = (80, 24), (160, 48)


async def test_a_base_that_is_not_converted_yet_is_prepared_by_the_engine(
    show: Show, workspace: Workspace, engine: ScriptedEngine, tiny_base: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SEKFT_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF, some day")
    app = Workbench(engine, workspace, base=str(model))
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "12 trajectories", "preparing the base …")
        await until(pilot, lambda: bool(engine.jobs), "a job")
        assert engine.jobs == [jobs.Prepare(id="prepare-1", base=str(model))]
        await pilot.press("j")
        await until_shown(pilot, "preparing the base …")
        engine.say(
            events.JobStarted(job="prepare-1", kind="prepare"),
            events.JobDone(job="prepare-1", kind="prepare", result={"path": str(tiny_base)}),
        )
        await until_shown(pilot, "✓ certified", "merge-001")
        assert len(engine.jobs) == 1


async def test_a_base_that_cannot_be_prepared_says_why(
    workspace: Workspace, engine: ScriptedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEKFT_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF, some day")
    async with Workbench(engine, workspace, base=str(model)).run_test(size=SMALL) as pilot:
        await until(pilot, lambda: bool(engine.jobs), "a job")
        engine.say(events.JobFailed(job="prepare-1", kind="prepare", error="no such layers"))
        await until_shown(pilot, "the base could not be prepared: no such layers")


def measured_run(workspace: Workspace, data: Path, base: Path) -> str:
    """A run with an adapter, and the losses of the first trajectory's tokens."""
    from sekft_engine.records.runs import create_run
    from sekft_engine.training.token_losses.losses import write_token_losses

    run = create_run(workspace.runs, "train", about={})
    run.adapter.mkdir()
    (run.adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4}')
    (run.adapter / "adapter_model.safetensors").write_bytes(b"weights")
    run.write(status="done")
    run.close()
    write_token_losses(run.folder, [losses_of(run.folder, data, base, 0)])
    return run.id


def losses_of(run: Path, data: Path, base: Path, number: int) -> TokenLosses:
    """The losses of a trajectory's tokens, as if they had been measured."""
    from sekft_engine.records.adapters import adapter_digest
    from sekft_engine.render import Row, build_row
    from sekft_engine.render.template.tokenizer import load_tokenizer
    from sekft_engine.sources import open_index
    from sekft_engine.training.token_losses.losses import TokenLosses, ids_digest
    from sekft_engine.training.trainer.data import train_row

    row = build_row(open_index(data).read_all().trajectory(number), load_tokenizer(str(base)))
    assert isinstance(row, Row)
    positions = row.trained.nonzero()[0].tolist()
    return TokenLosses(
        id=row.id, render=row.render_digest, ids_digest=ids_digest(train_row(row)),
        adapter=adapter_digest(run / "adapter"), positions=positions,
        before=[4.0] * len(positions), after=[0.25] * len(positions),
    )  # fmt: skip


async def test_the_losses_of_a_run_are_shown_and_what_is_missing_is_measured(
    show: Show, workspace: Workspace, engine: ScriptedEngine, tiny_base: Path, tmp_path: Path
) -> None:
    app = show([trajectory(n, "good") for n in range(3)])
    run = measured_run(workspace, tmp_path / "data.jsonl", tiny_base)
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "✓ certified")
        await pilot.press("O")
        await until_shown(pilot, "losses of which run?", run, "1 measured")
        await pilot.press("enter")
        await until_shown(pilot, "loss 4.00 → 0.25 nats")
        await pilot.press("j")
        await until_gone(pilot, "loss 4.00 → 0.25 nats")
        await until_shown(pilot, "good-001  exit ✓")
        await pilot.press("M")
        await until(pilot, lambda: bool(engine.jobs), "a job")
        job = engine.jobs[0]
        assert isinstance(job, jobs.MeasureLosses)
        assert (job.run, job.ids) == (run, ("good-001",))
        assert job.data == str(tmp_path / "data.jsonl")
        await pilot.press("O", "j", "enter")
        await pilot.press("k")
        await until_shown(pilot, "good-000  exit ✓", "✓ certified")
        assert "nats" not in screen_text(app)


async def test_without_a_run_there_is_nothing_to_choose(show: Show) -> None:
    async with show([trajectory(0, "good")]).run_test(size=SMALL) as pilot:
        await until_shown(pilot, "✓ certified")
        await pilot.press("M")
        await until_shown(pilot, "no run with an adapter yet")


async def test_losses_appear_once_they_are_measured(
    show: Show, workspace: Workspace, engine: ScriptedEngine, tiny_base: Path, tmp_path: Path
) -> None:
    from sekft_engine.training.token_losses.losses import write_token_losses

    data = tmp_path / "data.jsonl"
    app = show([trajectory(n, "good") for n in range(2)])
    run = measured_run(workspace, data, tiny_base)
    folder = workspace.runs / run
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "✓ certified")
        await pilot.press("O", "enter")
        await until_shown(pilot, "loss 4.00 → 0.25 nats")
        await pilot.press("M")  # it is measured already
        await pilot.press("j")
        await until_shown(pilot, "good-001  exit ✓  good")
        await pilot.press("M")
        await until(pilot, lambda: bool(engine.jobs), "a job")
        assert len(engine.jobs) == 1
        write_token_losses(folder, [losses_of(folder, data, tiny_base, n) for n in (0, 1)])
        job = engine.jobs[0].id
        engine.say(
            events.JobStarted(job=job, kind="measure_losses"),
            events.JobDone(job=job, kind="measure_losses", result={}),
        )
        await until_shown(pilot, "good-001  exit ✓  good", "loss 4.00 → 0.25 nats")


async def test_losses_of_another_text_are_refused_with_the_reason(
    show: Show, workspace: Workspace, tiny_base: Path, tmp_path: Path
) -> None:
    from sekft_engine.training.token_losses.losses import write_token_losses

    data = tmp_path / "data.jsonl"
    app = show([trajectory(0, "good")])
    run = measured_run(workspace, data, tiny_base)
    folder = workspace.runs / run
    other = msgspec.structs.replace(losses_of(folder, data, tiny_base, 0), ids_digest="0" * 16)
    write_token_losses(folder, [other])
    async with app.run_test(size=LARGE) as pilot:
        await until_shown(pilot, "✓ certified")
        await pilot.press("O", "enter")
        await until_shown(pilot, "6 Log (1)")
        assert "nats" not in screen_text(app)
        await pilot.press("6")
        await until_shown(pilot, "its losses were measured on other text than it has now")
