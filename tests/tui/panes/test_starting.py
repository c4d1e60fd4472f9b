"""Before an hour is spent: what a job will take is said, and what is in its way."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from sekft_engine.data.recipe import Recipe
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.queue import queue_entry
from sekft_engine.records import events, jobs
from sekft_engine.records.resuming import to_resume
from sekft_engine.records.runs import create_run
from sekft_tui.app import Workbench
from sekft_tui.model.job_size import DataCount, eval_size, roughly, train_size
from tests.tui.screen import until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine, training, watched
from tests.tui.stored import stored_run

Make = Callable[[], Workbench]


def test_what_is_said_of_a_start_ends_before_the_line_does() -> None:
    why = "the machine is busy"
    size = train_size(
        Recipe(max_steps=4, batch=2), DataCount(50, 27_600, counted=True), (9, 18), "", why=why
    )
    assert size.summary(70) == f"4 steps of 2 trajectories, about 4 min to 8 min, {why}"
    assert size.summary(60) == "4 steps of 2 trajectories"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (40, "40 s"), (360, "6 min"), (7800, "2 h 10 min"), (90_000, "25 h")],
)
def test_an_estimated_time_is_not_said_more_exactly_than_it_is_known(
    seconds: float, words: str
) -> None:
    assert roughly(seconds) == words


def test_the_size_of_a_run_is_what_the_trainer_will_do() -> None:
    count = DataCount(200, 60_000, counted=True)
    size = train_size(Recipe(epochs=3, batch=8, heldout=0.05), count, (500, 1000), "")
    assert size.lines == (
        "72 steps of 8 trajectories",  # 190 rows three times
        "about 3 min to 6 min",
        "171k tokens of 190 trajectories",
    )
    assert not size.is_asked
    assert train_size(Recipe(), count, (50, 100), "").is_asked
    assert (
        train_size(Recipe(max_steps=4), count, (50, 100), "").lines[0]
        == "4 steps of 8 trajectories"
    )
    assert train_size(Recipe(), count, (0, 0), "memory ≤ 9 GiB: too much", fits=False).is_asked


def test_the_size_of_an_eval_counts_worlds_models_controls_and_seeds() -> None:
    assert eval_size(16, 2, 0, 1, (0, 0)).lines == ("32 episodes", "2 models in 16 worlds")
    assert eval_size(2, 1, 4, 1, (0, 0)).lines[1] == "1 model and 4 controls in 2 worlds"
    size = eval_size(16, 2, 0, 3, (100.0, 8))
    assert size.lines[:2] == ("96 episodes", "about 20 min, as fast as the last eval")
    assert size.is_asked


async def test_nothing_to_train_on_or_to_act_in_is_said_before_a_job_is_queued(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace
) -> None:
    for folder in (workspace.trajectories, workspace.holdout_scenarios):
        for path in folder.iterdir():
            path.unlink()
    async with make_app().run_test(size=(120, 36)) as pilot:
        await pilot.press("2", "s", "3", "s", "6")
        await until_shown(pilot, "give a folder of .json files", "no worlds in scenarios/holdout")
    assert engine.jobs == []


async def test_starting_a_run_says_how_large_it_is(
    make_app: Make, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    say, said = app.note, [""]

    def note(text: str, seconds: float = 4.0) -> None:
        said.append(text)
        say(text, seconds)

    def ready() -> bool:
        with app.bridge.shared() as shared:
            count = app.data_count
            return shared.active is None and count is not None and count.rows >= 10

    # It may be over before it is looked for, if an import holds up the screen for so long.
    monkeypatch.setattr(app, "note", note)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        await until(pilot, ready, "counted")
        await pilot.press("s")
        await until(pilot, lambda: "started: 4 steps of 8" in said[-1], f"told: {said}")
    assert "tokens of 10 trajectories" in said[-1]
    assert [jobs.kind_of(job) for job in engine.jobs] == ["train"]


async def test_a_run_that_may_take_long_is_not_started_by_a_slip(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "tokens/s")
        app.data_count = DataCount(10_000_000, 90_000_000_000, counted=True)
        await pilot.press("s")
        await until_shown(pilot, "start this training run?", "steps of 8", "y  start")
        await pilot.press("s", "enter")  # pressing again answers nothing
        await until_shown(pilot, "start this training run?")
        await pilot.press("escape")
        await until_gone(pilot, "start this training run?")
        assert not engine.jobs


async def test_a_run_of_another_window_is_shown_and_followed(
    make_app: Make, workspace: Workspace
) -> None:
    with closing(create_run(workspace.runs, "train", about={})) as run:
        script = list(training(steps=9, upto=4, run=run.id))
        for event in script:
            if isinstance(event, events.RunCreated):
                event = msgspec.structs.replace(event, path=str(run.folder))
            run.journal.write(event)
        async with make_app().run_test(size=(120, 40)) as pilot:
            await pilot.press("2")
            await until_shown(pilot, "001-train", "▸ in another process", "step 4/9")
            step = next(event for event in script if isinstance(event, events.StepDone))
            run.journal.write(msgspec.structs.replace(step, step=5))
            await until_shown(pilot, "step 5/9")
            run.close()
            await until_shown(pilot, "from its journal")


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_what_another_process_does_is_said_by_queue_engine_and_train(
    make_app: Make, workspace: Workspace, size: tuple[int, int]
) -> None:
    """The workbench was open before the run began, and does nothing itself."""
    async with make_app().run_test(size=size) as pilot:
        await pilot.press("2", "o")
        await until_shown(pilot, "no run yet")
        with closing(create_run(workspace.runs, "train", about={})) as run:
            script = watched(steps=9, upto=2)
            begun = next(event for event in script if isinstance(event, events.RunCreated))
            run.journal.write(msgspec.structs.replace(begun, run=run.id, path=str(run.folder)))
            await until_shown(pilot, "001-train is being prepared in another process")
            run.journal.write(events.StepBegan(job="train-1", step=1, batch=[]))
            await until_shown(pilot, "001-train is at step 1 in another process")
            for event in script:
                run.journal.write(event)
            ahead = [events.BatchRow(id="tidy-001", tokens=60, edges=[20, 60])]
            run.journal.write(events.StepBegan(job="train-1", step=3, batch=ahead))
            shown = await until_shown(pilot, "▸ in another process", "step 2/9", "ETA")
            assert "no run yet" not in shown
            await pilot.press("b")
            await until_shown(pilot, "step 3 in training")
            await pilot.press("Q")
            await until_shown(
                pilot,
                "no job of this workbench is running or waiting",
                "001-train is running in another process",
            )
            await pilot.press("escape", "I")
            await until_shown(pilot, "none here; 001-train is running in another process")


@pytest.mark.parametrize("kind", ["train", "eval"])
async def test_what_is_resumed_is_called_so_and_what_is_new_is_not(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace, kind: str
) -> None:
    folder = stored_run(workspace, f"003-{kind}", (), "stopped", kind=kind)
    asked: jobs.Job = jobs.Evaluate(scenarios="/worlds") if kind == "eval" else jobs.Train()
    manifest = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(manifest | {"job": msgspec.to_builtins(asked)}))
    app = make_app()
    with closing(create_run(workspace.runs, "train", about={})):  # so that it asks
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.press("5")
            await until_shown(pilot, f"003-{kind}", "004-train")
            await pilot.press("G", "u")
            await until_shown(pilot, f"resume 003-{kind}?", "y  resume", "n  do not resume")
            await pilot.press("y")
            await until(pilot, lambda: engine.jobs, "resumed")
            engine.say(events.JobStarted(job=engine.jobs[0].id, kind=kind))
            if kind == "eval":  # a training run is shown unasked
                await pilot.press("3", "o")
            shown = await until_shown(pilot, f"003-{kind}")
            assert "new eval" not in shown
            await pilot.press("Q")
            await until_shown(pilot, f"resumes  003-{kind}")


async def test_a_new_run_is_not_said_to_resume_one_and_what_waits_behind_it_names_it(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        new = jobs.Train(id="train-1", data="/d")
        await until_shown(pilot, "12 trajectories")
        entry = queue_entry(new, again=to_resume(new, Path("/runs/0001-train")))
        engine.say(*training(60, upto=2), events.QueueChanged(job="", running=entry))
        await pilot.press("3")
        await until_shown(pilot, "start the eval")
        await pilot.press("s")
        await until_shown(pilot, "queued behind 0001-train (Q shows the queue)")
        await pilot.press("Q")
        shown = await until_shown(pilot, "running", "0001-train")
        assert "resumes" not in shown


async def test_a_run_that_is_alive_in_another_window_is_asked_about(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace
) -> None:
    app = make_app()
    with closing(create_run(workspace.runs, "train", about={})):
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("3")
            await until_shown(pilot, "start the eval")
            await pilot.press("s")
            await until_shown(pilot, "001-train is running in another process", "2 episodes")
            assert not engine.jobs
            await pilot.press("y")
            await until(pilot, lambda: engine.jobs, "started")
