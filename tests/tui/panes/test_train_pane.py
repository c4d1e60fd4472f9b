"""Watching a run: what is trained on now, other runs beside it, saving it, going on with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import nan

import msgspec
import pytest
from textual.pilot import Pilot

from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events, jobs
from sekft_tui.app import Workbench
from sekft_tui.panes.train import TrainPane, figures
from sekft_tui.panes.trajectories import TrajectoriesPane
from sekft_tui.process.settings import load_state
from tests.tui.screen import until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine, training, watched
from tests.tui.stored import stored_run

Make = Callable[[], Workbench]
BATCH = [
    events.BatchRow(id="merge-007", tokens=200, edges=[40, 60, 190, 200]),
    events.BatchRow(id="count-003", tokens=120, edges=[100, 120]),
]


async def training_step_21(pilot: Pilot[int], engine: ScriptedEngine) -> None:
    """To the train pane, where a run is in its 21st step."""
    await until_shown(pilot, "12 trajectories")
    await pilot.press("2", "s")
    engine.say(*watched(60, upto=20), events.StepBegan(job="train-1", step=21, batch=BATCH))


async def test_the_batch_in_training_is_shown_with_its_mask_and_opens(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(160, 48)) as pilot:
        await training_step_21(pilot, engine)
        shown = await until_shown(pilot, "step 21 in training", "count-003", "of bound", "CPU")
        assert "2 trajectories · 50 of 320 tokens trained" in shown
        line = next(line for line in shown.splitlines() if "count-003" in line)
        assert line.rstrip().endswith("█")
        assert "─────" in line
        await pilot.press("left", "left")  # the batch of the step that is read
        await until_shown(pilot, "step 19 trained on", "tidy-")
        rows = [row.id for row in BATCH]
        quick = events.StepDone(
            job="train-1", step=22, steps=60, epoch=1, loss=1, lr=1e-3, grad_norm=1, tokens=320,
            trained_tokens=50, tokens_per_s=1e3, seconds=0.3, eta_s=9, rows=rows,
        )  # fmt: skip
        engine.say(msgspec.structs.replace(quick, step=21, rows=["tidy-001"]), quick)
        await pilot.press("escape")  # of so quick a step nothing was told before it was done
        shown = await until_shown(pilot, "step 22 trained on", "50 of 320 tokens trained")
        await pilot.press("b", "j", "enter")
        await until(pilot, lambda: app.pane == "trajectories", "in trajectories")
        pane = app.query_one(TrajectoriesPane)
        await until(pilot, lambda: pane.current and pane.current.id == "count-003", "found")
        assert app.focused is pane.view


async def test_the_engine_prepares_for_a_run_once_the_train_pane_is_open(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "12 trajectories")
        assert not engine.ready
        await pilot.press("2")
        await until(pilot, lambda: engine.ready, "asked to be ready")
        assert not engine.jobs


async def test_a_run_that_is_prepared_says_what_it_does(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("2", "s")
        engine.say(events.JobStarted(job="train-1", kind="train", label="train"))
        for label in ("importing torch", "reading the data", "preparing the adapter"):
            engine.say(events.Progress(job="train-1", label=label, done=0))
            await until_shown(pilot, label)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80", "160"])
async def test_after_the_last_step_it_says_what_it_still_does_and_how_far_that_is(
    make_app: Make, engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    job = "train-1"
    *steps, saved, done = training(6)
    async with make_app().run_test(size=size) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("2", "s")
        engine.say(*steps, saved)
        engine.say(events.Progress(job=job, label="measuring held-out loss", done=3, total=12))
        shown = await until_shown(pilot, "step 6/6", "saved at step 6", "3/12")
        assert "ETA" not in shown
        assert "measuring held-out loss 3/12" in shown
        await pilot.press("5")
        await until_shown(pilot, "6/6 measuring 3/12" if size[0] > 80 else "▸ measuring 3/12")
        engine.say(events.HeldoutDone(job=job, step=6, loss=0.4, tokens=600))
        await until_gone(pilot, "3/12")
        engine.say(done)


async def test_a_run_that_makes_no_step_for_minutes_says_so_until_it_makes_one(
    make_app: Make, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, step_21 = training(steps=60, upto=21)
    async with make_app().run_test(size=(120, 36)) as pilot:
        await training_step_21(pilot, engine)
        await until_shown(pilot, "step 20/60", "ETA")
        monkeypatch.setattr(figures, "STALLED_S", 0.5)
        monkeypatch.setattr(figures, "STALLED", 0.0)
        await until_shown(pilot, "no step for")
        monkeypatch.setattr(figures, "STALLED_S", 60.0)
        engine.say(step_21)
        await until_shown(pilot, "step 21/60", "ETA")
        await until_gone(pilot, "no step for")


async def test_a_run_is_saved_and_its_curves_looked_at_by_keys_in_a_small_terminal(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "c")
        await until_shown(pilot, "no run to save")
        await pilot.press("s")
        engine.say(*watched(60, upto=45, nan=33, spike=21))
        await until_shown(pilot, "step 45/60", "× step 33: gradient is not finite")
        await pilot.press("c")
        assert isinstance(engine.jobs[-1], jobs.Checkpoint)
        chart = app.query_one(TrainPane).chart
        for title in ("behaviour", "gradient norm", "learning rate", "tokens/s", "CPU busy"):
            await pilot.press("v")
            await until_shown(pilot, f" {title}")
        await pilot.press("V", "a")
        await until_shown(pilot, "over tokens", "150k")
        await pilot.press("[")
        await until_shown(pilot, "step 45: checkpoint", "tokens/s at step 45 · 135k tokens")
        await pilot.press("+", "+", "H")
        await until_shown(pilot, "zoomed")
        assert not chart.view.follow
        await pilot.press("0", "a", "a", "v", "v", "b")
        await until_shown(pilot, "step 46 in training", "tidy-")
        await pilot.press("escape")
        await until_shown(pilot, " loss  ━ smoothed")
        assert app.focused is chart
        engine.say(events.SignSeen(job="train-1", step=46, sign="no number", value=nan, usual=1))
        engine.say(events.JobFailed(job="train-1", kind="train", error="no number at step 46"))
        await until_shown(pilot, "✗ failed")
        await pilot.press("[", "b")  # the step that failed, and what it was at
        await until_shown(pilot, "step 46: no number", "step 46 was not done", "tidy-")


async def test_a_terminal_made_small_keeps_the_curve_or_the_batch_that_had_the_focus(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(160, 48)) as pilot:
        await training_step_21(pilot, engine)
        await until_shown(pilot, "step 21 in training", "adapter name")
        await pilot.resize_terminal(80, 24)
        await until_gone(pilot, "adapter name")
        await pilot.press("h", "h")
        await until_shown(pilot, "loss at step 19")
        await pilot.press("escape")
        await pilot.resize_terminal(160, 48)
        await pilot.press("b")
        await until(pilot, lambda: getattr(app.focused, "id", "") != "train-chart", "batch")
        await pilot.resize_terminal(80, 24)
        await until_shown(pilot, "count-003")
        await pilot.press("b", "o")
        await until_shown(pilot, "weight decay")


async def test_pinned_runs_stay_beside_others_and_are_remembered(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace
) -> None:
    stored_run(workspace, "001-train", training(40, seed=2), recipe={"lr": 0.001})
    stored_run(workspace, "002-train", training(30, seed=3), recipe={"lr": 0.003})
    points = [{"run": "001-train"}, {"run": "002-train"}]
    stored_run(workspace, "003-sweep", (), kind="sweep", points=points)
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "003-sweep")
        await pilot.press("j", "P")  # 002-train
        await until_shown(pilot, "002-train is pinned", "✓A 002-train")
        await pilot.press("j", "enter")
        await until_shown(pilot, "001-train", "with  A 002-train lr 0.003")
        await pilot.press("P", "2", "s")
        engine.say(*training(steps=60, upto=10, run="004-train"))
        await until_shown(pilot, "004-train", "A 002-train", "B 001-train")
        await pilot.press("w", "enter")  # let go of the newest one, by the list
        await until_shown(pilot, "002-train is no longer pinned")
        await pilot.press("5", "g", "enter")  # the sweep: its runs, one beside the other
        await until_shown(pilot, "001-train · pinned as A", "B 002-train lr 0.003")
        app.leave()
    assert load_state().pinned == {str(workspace.root): ("001-train", "002-train")}


async def test_a_run_that_died_goes_on_from_the_runs_pane(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace
) -> None:
    done = stored_run(workspace, "001-train", training(5), recipe={"lr": 0.001})
    died = stored_run(workspace, "002-train", training(9, upto=4), "running", recipe={"rank": 8})
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "002-train", "died", done.name)
        await pilot.press("j", "u")
        await until_shown(pilot, "nothing to resume")
        assert not engine.jobs
        await pilot.press("k", "u")
        await until(pilot, lambda: bool(engine.jobs), "a job")
        job = engine.jobs[0]
        assert isinstance(job, jobs.Train)
        assert (job.out, job.resume, job.recipe.rank) == (str(died), True, 8)
        assert (job.base, job.data) == ("/b", "/d")
        await until(pilot, lambda: app.focused is app.query_one(TrainPane).chart, "the chart")
        assert app.pane == "train"


async def test_a_run_that_is_about_to_be_resumed_is_not_listed_as_stopped(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace
) -> None:
    stopped = stored_run(workspace, "001-train", training(60, upto=6), "stopped")
    spec = {"resume": True, "out": str(stopped)}
    job = events.Queued(id="train-1", kind="train", spec=spec)
    async with make_app().run_test(size=(100, 30)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "001-train", "stopped", "step 6 of 60", "u resume")
        engine.say(events.QueueChanged(job="", waiting=[job]))
        engine.say(events.JobStarted(job="train-1", kind="train"))
        await until_shown(pilot, "▸  001-train", "preparing")
        await until_gone(pilot, "u resume")
        await pilot.press("d")
        await until_shown(pilot, "001-train is being resumed; stop that first")
        engine.say(events.JobFailed(job="train-1", kind="train", error="no base"))
        await until_shown(pilot, "stopped", "u resume")


async def test_an_eval_that_was_stopped_resumes_from_the_runs_pane(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace
) -> None:
    folder = stored_run(workspace, "003-eval", (), "stopped", kind="eval")
    old = stored_run(workspace, "001-eval", (), "stopped", kind="eval")
    asked = jobs.Evaluate(id="eval-9", scenarios="/worlds", n=5, adapters=("/a",), seed=3)
    manifest = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(manifest | {"job": msgspec.to_builtins(asked)}))
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "003-eval", old.name)
        await pilot.press("u")
        await until(pilot, lambda: bool(engine.jobs), "a job")
        job = engine.jobs[0]
        assert isinstance(job, jobs.Evaluate)
        assert (job.out, job.resume, job.n, job.adapters) == (str(folder), True, 5, ("/a",))
        assert job.id != "eval-9", "it is another job"
        await pilot.press("j", "u", "6")  # of a version that did not record it
        await until_shown(pilot, "does not say which job made it")
        assert len(engine.jobs) == 1
