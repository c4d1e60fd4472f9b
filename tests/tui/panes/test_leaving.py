"""Leaving: what is asked, what ctrl-c does, and when nothing is asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from textual.events import Paste

from sekft_engine.core.errors import Unavailable
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.remote import RemoteEngine
from sekft_engine.records import events, jobs
from sekft_tui import engine_switch
from sekft_tui.app import Workbench
from sekft_tui.process.attachment import Chosen
from sekft_tui.screens import busy
from sekft_tui.screens import quit as quitting
from tests.tui.screen import until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine, training

Make = Callable[[], Workbench]
TINY_LOADED = events.BaseLoaded(
    job="",
    base="/bases/tiny",
    digest="0",
    parameters=1,
    dtype="float32",
    device="cpu",
    seconds=13.0,
)


async def test_leaving_while_a_job_runs_is_asked_for(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "s")
        engine.say(*training(upto=2), events.StepBegan(job="train-1", step=3, batch=[]))
        await until_shown(pilot, "train 2/60")
        await pilot.press("q")
        await until_shown(pilot, "Training is still running")
        await pilot.press("k")
        await until_gone(pilot, "still running")
        await pilot.press("q")
        await until_shown(pilot, "still running")
        await pilot.press("s")
        assert engine.cancelled == [("train-1", True)]
        await until_shown(pilot, "Step 3 ends and is saved")
        engine.say(events.JobCancelled(job="train-1", kind="train"))
        await until(pilot, lambda: not app.is_running, "left")


@pytest.mark.parametrize(
    ("kind", "kept"),
    [("eval", "finished episodes are kept"), ("setup", "what it has made is kept")],
)
async def test_a_job_without_steps_is_not_said_to_end_one(
    make_app: Make, engine: ScriptedEngine, kind: str, kept: str
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "12 trajectories")
        engine.submit(
            jobs.Setup(workspace="demo") if kind == "setup" else jobs.Evaluate(scenarios="x")
        )
        job = f"{kind}-1"
        engine.say(events.JobStarted(job=job, kind=kind))
        await pilot.press("q")
        shown = await until_shown(pilot, "is still running", f"stop it, and leave; {kept}")
        assert "step" not in shown.split("leave?")[1]
        await pilot.press("c")
        await until_shown(pilot, f"cancelling: {kept}")
        await pilot.press("q", "s")
        await until_shown(pilot, f"stops; {kept}, ")
        engine.say(events.JobCancelled(job=job, kind=kind))
        await until(pilot, lambda: not app.is_running, "left")


#: Typed for the shell, by someone who thinks that the workbench is gone: every letter is an answer
#: of the question before, or a key of a pane.
FOR_THE_SHELL = ("q", "d", "s", "c", "k", "escape", "f", "2", "W", "ctrl+q", "ctrl+p", "enter")


async def test_what_is_typed_while_a_step_is_saved_does_nothing(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "s")
        engine.say(*training(upto=2))
        await until_shown(pilot, "train 2/60")
        await pilot.press("q")
        await until_shown(pilot, "still running")
        await pilot.press("s")
        before = await until_shown(pilot, "Training ends its step and is saved", "No other key")
        await pilot.press(*FOR_THE_SHELL)
        app.post_message(Paste("rm -r runs\n"))
        await pilot.press("x")
        after = await until_shown(pilot, "Training ends its step and is saved")
        assert before.split("\n")[0] == after.split("\n")[0], "the same pane"
        assert (app.is_running, engine.cancelled) == (True, [("train-1", True)])
        engine.say(events.JobCancelled(job="train-1", kind="train"))
        await until(pilot, lambda: not app.is_running, "left")


async def test_what_is_typed_during_a_handover_does_nothing(
    make_app: Make, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slowly(_engine: object) -> RemoteEngine:
        assert go_on.wait(60)
        raise Unavailable("it did not start")

    monkeypatch.setattr(engine_switch, "move_out", slowly)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "s")
        engine.say(*training(upto=2), events.StepBegan(job="train-1", step=3, batch=[]))
        await until_shown(pilot, "train 2/60")
        await pilot.press("q")
        await until_shown(pilot, "still running")
        await pilot.press("d", *FOR_THE_SHELL)
        await until_shown(pilot, "handing over", "Step 3 ends and is saved, ")
        engine.say(events.JobCancelled(job="train-1", kind="train"))
        await until_shown(pilot, "The engine in the background starts, ")
        await pilot.press(*FOR_THE_SHELL)
        await until_shown(pilot, "The engine in the background starts, ")
        assert (app.is_running, app.pane, engine.cancelled) == (True, "train", [])
        go_on.set()
        await until_gone(pilot, "handing over")
        await until_shown(pilot, "the engine stays in this workbench")
        await pilot.press("1")
        assert app.pane == "trajectories"


async def test_the_next_job_of_the_queue_is_not_waited_for(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "s")
        engine.say(*training(upto=2))
        await until_shown(pilot, "train 2/60")
        engine.submit(jobs.Train(base="tiny"))
        await pilot.press("q")
        await until_shown(pilot, "1 job is waiting")
        await pilot.press("s")
        await until_shown(pilot, "ends its step and is saved")
        engine.say(events.JobCancelled(job="train-1", kind="train"))
        await until(pilot, lambda: not app.is_running, "left")


async def test_who_does_not_want_to_wait_for_the_step_presses_ctrl_c_twice(
    make_app: Make, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "s")
        engine.say(*training(upto=2))
        await until_shown(pilot, "train 2/60")
        await pilot.press("q")
        await until_shown(pilot, "still running")
        await pilot.press("s")
        await until_shown(pilot, "twice: leave now, without waiting")
        monkeypatch.setattr(busy, "TWICE", 60.0)
        await pilot.press("ctrl+c")
        await until_shown(pilot, "leave now: press it again")
        assert app.is_running
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not app.is_running, "left")


async def test_ctrl_c_asks_what_to_do_and_cancels_the_job(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "s")
        engine.say(*training(upto=2))
        await until_shown(pilot, "train 2/60")
        await pilot.press("ctrl+c")
        await until_shown(pilot, "Training is still running", "2 steps are not saved yet")
        assert not engine.cancelled
        await pilot.press("c")
        await until_gone(pilot, "still running")
        assert engine.cancelled == [("train-1", False)]
        assert app.is_running


async def test_ctrl_c_twice_leaves_and_later_ones_do_not(
    make_app: Make, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "s")
        engine.say(*training(upto=2))
        await until_shown(pilot, "train 2/60")
        monkeypatch.setattr(quitting, "TWICE", -1.0)
        await pilot.press("ctrl+c", "ctrl+c", "ctrl+c")
        await until_shown(pilot, "Training is still running")
        monkeypatch.setattr(quitting, "TWICE", 60.0)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not app.is_running, "left")
    assert "step 2 of 60" in app.farewell
    assert "2 steps are not saved yet" in app.farewell
    assert "1 unfinished" in app.farewell


async def test_another_workspace_is_opened_only_by_who_really_leaves_this_one(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "certified")
        engine.say(TINY_LOADED)
        app.ask_to_leave("/elsewhere")
        await until_shown(pilot, "tiny is loaded; loading it took")
        await pilot.press("k")
        await until_gone(pilot, "tiny is loaded")
        assert app.next_workspace == ""
        app.ask_to_leave("/elsewhere")
        await until_shown(pilot, "tiny is loaded; loading it took")
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running, "left")
    assert app.next_workspace == "/elsewhere"


async def test_leaving_with_a_loaded_base_is_asked_and_with_nothing_to_lose_is_not(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "certified")
        engine.say(TINY_LOADED)
        await pilot.press("q")
        await until_shown(pilot, "tiny is loaded; loading it took", "engine in the background")
        await pilot.press("k")
        await until_gone(pilot, "tiny is loaded")
        await pilot.press("q", "q")
        await until(pilot, lambda: not app.is_running, "left")
    assert app.farewell == ""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "certified")
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running, "left")


async def test_what_a_background_engine_would_keep_is_called_by_its_name(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "certified")
        held = events.Queued(id="train-1", kind="train", label="/data", held=True)
        engine.say(events.QueueChanged(job="", waiting=[held]))
        await pilot.press("q")
        await until_shown(pilot, "1 job is waiting", "keep the queue in an engine")
        await pilot.press("k")
        await until_gone(pilot, "keep the queue")
        engine.say(TINY_LOADED)
        await pilot.press("q")
        await until_shown(pilot, "tiny is loaded", "keep the base in an engine")


async def test_a_tick_after_the_last_screen_is_gone_does_no_harm(make_app: Make) -> None:
    app = make_app()
    async with app.run_test():
        pass
    app.pull()
    app.key_done()


async def test_a_workbench_that_is_left_while_it_still_reads_ends_without_an_error(
    workspace: Workspace, engine: ScriptedEngine
) -> None:
    may_go_on = threading.Event()

    def choose() -> Chosen:
        may_go_on.wait(30)
        return Chosen(engine)

    app = Workbench(choose, workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        asyncio.get_running_loop().call_later(1.0, may_go_on.set)
        app.exit(0)
    assert app.crash is None
