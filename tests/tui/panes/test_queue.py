"""The queue on screen: what runs, what waits, and every order by a key."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.errors import Interrupted
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.records import events, jobs
from sekft_engine.work.context import Context
from sekft_tui.app import Workbench
from sekft_tui.model.reducer import Shared, reduce
from sekft_tui.screens.engine.queue import QueueScreen
from tests.documents import document
from tests.tui.screen import until, until_shown
from tests.tui.scripted import ScriptedEngine, evaluation, training

Make = Callable[[], Workbench]


def _queue(*waiting: tuple[str, bool], running: str = "") -> events.QueueChanged:
    return events.QueueChanged(
        job="",
        running=events.Queued(id=running, kind="train", label="/data/one") if running else None,
        waiting=[
            events.Queued(id=name, kind="train", label=f"{name} \x1b[31m", held=held)
            for name, held in waiting
        ],
    )


def _shown(app: Workbench) -> list[str]:
    screen = app.screen
    assert isinstance(screen, QueueScreen)
    return screen.list.plain().splitlines()


async def test_the_queue_has_help(make_app: Make) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("Q", "question_mark")
        await until_shown(pilot, "The job queue", "Hold or release a job")
        await pilot.press("question_mark")
        await until_shown(pilot, "no job is running or waiting")


async def test_a_pause_is_taken_back_before_the_step_ends_as_after_it(
    workspace: Workspace, tmp_path: Path
) -> None:
    """By a real engine, whose job takes as long to begin as the test lets it."""
    loaded, step = threading.Event(), threading.Event()

    def train(job: jobs.Train, context: Context) -> dict[str, Any]:
        assert loaded.wait(60)
        context.open_run("train", about={}, out=str(tmp_path / "run"))
        for number in range(2):
            step.wait(60)
            step.clear()
            context.log(f"step {number} done")
            context.wait_while_paused()
        return {}

    engine = Engine(nice=0, handlers={jobs.Train: train})
    app = Workbench(engine, workspace)
    async with app.run_test(size=(100, 24)) as pilot:
        await pilot.press("2", "s")
        await until_shown(pilot, "▸ running")
        await pilot.press("p")  # the base is still being loaded
        await until_shown(pilot, "‖ pausing", "p resumes")
        assert document(engine.status())["running"]["paused"]
        await pilot.press("p")
        await until_shown(pilot, "▸ running", "resumed")
        assert not document(engine.status())["running"]["paused"]
        await pilot.press("Q", "p")
        await until(pilot, lambda: "pausing" in _shown(app)[0], "pausing in the queue")
        await pilot.press("p")
        await until(pilot, lambda: "running" in _shown(app)[0], "running in the queue")
        await pilot.press("escape", "p")
        loaded.set()
        step.set()
        await until_shown(pilot, "‖ paused")
        await pilot.press("p")
        await until_shown(pilot, "▸ running")
        step.set()
        await until_shown(pilot, "✓ done")
    assert engine.close()


async def test_what_an_earlier_workbench_leaves_is_offered_once_that_one_has_ended(
    workspace: Workspace,
) -> None:
    begun = threading.Event()

    def train(job: jobs.Train, context: Context) -> dict[str, Any]:
        begun.set()
        while not context.cancelled():
            time.sleep(0.01)
        raise Interrupted("stopped")

    earlier = Engine(workspace, nice=0, handlers={jobs.Train: train}).start()
    earlier.submit(jobs.Train(data="/one"))
    earlier.submit(jobs.Train(data="/two"))
    assert begun.wait(60)
    app = Workbench(Engine(workspace, nice=0), workspace)
    async with app.run_test(size=(100, 24)) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("Q")
        await until_shown(pilot, "no job is running or waiting")
        await pilot.press("escape")
        assert earlier.close()
        await until_shown(pilot, "2 jobs are held")
        await pilot.press("Q")
        await until(pilot, lambda: ["held" in line for line in _shown(app)[:2]] == [True] * 2)
    assert app.engine.close()


async def test_the_queue_is_shown_and_ordered_by_keys(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("Q")
        assert "no job is running" in "\n".join(_shown(app))
        engine.say(events.JobStarted(job="train-1", kind="train"))
        engine.say(_queue(("train-2", False), ("eval-3", True), running="train-1"))
        app.pull()
        lines = _shown(app)
        assert ["running" in lines[0], "queued" in lines[1], "held" in lines[2]] == [True] * 3
        assert "\x1b" not in "".join(lines)
        await pilot.press("J", "p", "j", "J", "p")
        app.pull()
        await pilot.press("k", "K", "p")
        assert engine.orders == [
            ("pause", "train-1"),  # what runs cannot be moved
            ("move 1", "train-2"),
            ("pause", "train-2"),
            ("move -1", "eval-3"),
            ("resume", "eval-3"),
        ]
        engine.say(_queue(("train-2", True), ("eval-3", False), running="train-1"))
        app.pull()
        await pilot.press("x")  # the cursor has gone with its job
        assert engine.cancelled == [("eval-3", True)]
        app.pull()
        assert "eval-3" not in "".join(_shown(app))
        await pilot.press("escape")
        assert not isinstance(app.screen, QueueScreen)


def test_held_jobs_are_nothing_that_keeps_one_from_leaving() -> None:
    def active(held: bool) -> str:
        shared = Shared()
        reduce(shared, _queue(("train-2", held)))
        return shared.active.id if shared.active is not None else ""

    assert active(held=True) == ""
    assert active(held=False) == "train-2"


async def test_a_run_that_waits_is_said_to_wait_in_its_pane(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(120, 30)) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "no run yet", "s starts a run with this recipe")
        engine.say(*evaluation({"base": ["good", "run"]}, 2))
        engine.submit(jobs.Train(base="tiny", out="/w/runs/001-train", resume=True))
        shown = await until_shown(pilot, "001-train waits in the queue", "Q shows the queue")
        assert "no run yet" not in shown
        assert "starts a run" not in shown


async def test_an_eval_that_waits_or_is_prepared_is_not_said_to_be_none(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(120, 30)) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "no eval yet")
        engine.say(*training(60, upto=3))
        name = engine.submit(jobs.Evaluate(base="tiny", scenarios="/w"))
        shown = await until_shown(pilot, "an eval waits in the queue")
        assert "no eval yet" not in shown
        engine.say(
            events.JobDone(job="train-1", kind="train", result={}),
            events.JobStarted(job=name, kind="eval", t=1.0),
        )
        shown = await until_shown(pilot, "new eval", "▸ running")
        assert "no eval yet" not in shown


async def test_a_run_that_is_resumed_says_after_which_step_and_counts_nothing_before(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("2")
        script = list(training(60, upto=3))
        engine.say(*script, events.JobCancelled(job="train-1", kind="train"))
        await until_shown(pilot, "step 3/60")
        again = [msgspec.structs.replace(event, job="train-2") for event in script]
        engine.say(*again[:2], events.Progress(job="train-2", label="reading the data", done=0))
        shown = await until_shown(pilot, "0001-train is being resumed: step 3 was its last")
        assert "3/60" not in shown
        engine.say(events.RunResumed(job="train-2", step=2), again[-1])
        await until_shown(pilot, "resumed after step 2", "step 3/60", "train 3/60")


async def test_an_adapter_is_called_as_its_run_in_the_engine_and_in_the_queue(
    make_app: Make, engine: ScriptedEngine
) -> None:
    engine.adapters = {"cat": "f00d" * 16, "002-train": "beef" * 16}
    engine.runs = {"cat": "001-train-cat"}
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await until_shown(pilot, "12 trajectories")
        engine.submit(jobs.Train(base="tiny", data="d", name="dog"))
        await pilot.press("I")
        shown = await until_shown(pilot, "adapter    001-train-cat (f00df00df00d, cat on the base)")
        assert "adapter    002-train (beefbeefbeef)" in shown
        assert "…-train-dog" in shown, "the number is known once it begins"
        await pilot.press("x")
        await until_shown(pilot, "drop which adapter? its files stay", "001-train-cat")
        await pilot.press("enter")
        await until(pilot, lambda: jobs.Drop in map(type, engine.jobs), "the job")
        dropped = next(job for job in engine.jobs if isinstance(job, jobs.Drop))
        assert dropped.name == "cat", "as it is called on the base"
        await until_shown(pilot, "waiting    drop 001-train-cat")
        await pilot.press("escape", "Q")
        await until_shown(pilot, "…-train-dog", "001-train-cat")


async def test_where_no_adapter_is_on_the_base_none_can_be_dropped(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(80, 24), notifications=True) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("I")
        await until_shown(pilot, "x drop an adapter")
        await pilot.press("x")
        await until_shown(pilot, "no adapter is on the base")
        await pilot.press("question_mark")
        await until_shown(pilot, "Drop an adapter from the base; its files stay")
    assert not engine.jobs
