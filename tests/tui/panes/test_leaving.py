"""Leaving: what is asked, what ctrl-c does, and when nothing is asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sekft_engine.records import events
from sekft_tui.app import Workbench
from sekft_tui.screens import quit as quitting
from tests.tui.screen import until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine, training

Make = Callable[[], Workbench]


async def test_leaving_while_a_job_runs_is_asked_for(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "s")
        engine.say(*training(upto=2))
        await until_shown(pilot, "train 2/60")
        await pilot.press("q")
        await until_shown(pilot, "training is still running")
        await pilot.press("k")
        await until_gone(pilot, "still running")
        await pilot.press("q")
        await until_shown(pilot, "still running")
        await pilot.press("s")
        assert engine.cancelled == [("train-1", True)]
        await until_shown(pilot, "is finishing its step and saving")
        engine.say(events.JobCancelled(job="train-1", kind="train"))
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
        await until_shown(pilot, "training is still running", "2 steps are not saved yet")
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
        await until_shown(pilot, "training is still running")
        monkeypatch.setattr(quitting, "TWICE", 60.0)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not app.is_running, "left")
    assert "step 2 of 60" in app.farewell
    assert "1 unfinished" in app.farewell


async def test_leaving_with_a_loaded_base_is_asked_and_with_nothing_to_lose_is_not(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "certified")
        engine.say(
            events.BaseLoaded(
                job="", base="/bases/tiny", digest="0", parameters=1, dtype="float32",
                device="cpu", seconds=13.0,
            )
        )  # fmt: skip
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


async def test_a_tick_after_the_last_screen_is_gone_does_no_harm(make_app: Make) -> None:
    app = make_app()
    async with app.run_test():
        pass
    app.pull()
    app.key_done()
