"""What belongs to no pane: help and palette, the first screen, the engine, what is remembered."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from sekft_engine.records import events, jobs
from sekft_tui.app import Workbench
from sekft_tui.panes.pane import Part
from sekft_tui.panes.train import TrainPane
from sekft_tui.panes.trajectories import TrajectoriesPane
from sekft_tui.screens.help import HelpScreen
from tests.tui.screen import until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine, training

SIZES = pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
Make = Callable[[], Workbench]


def trajectories(pilot: Pilot[int]) -> TrajectoriesPane:
    return next(iter(pilot.app.query(TrajectoriesPane)))


async def test_the_engine_of_this_process_is_described(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "certified")
        await pilot.press("I")
        await until_shown(pilot, "in this workbench", "none is loaded", "job        none", "GiB")
        await pilot.press("escape", "2", "s")
        engine.say(*training(upto=2))
        await pilot.press("I")
        await until_shown(pilot, "job        ▸ train 2/60")


@SIZES
async def test_help_lists_the_keys_of_the_pane_and_the_palette_runs_them(
    make_app: Make, size: tuple[int, int]
) -> None:
    async with make_app().run_test(size=size) as pilot:
        await until_shown(pilot, "certified")
        await pilot.press("?")
        await until_shown(pilot, "Show all tokens, only trained, only masked")
        help_screen = pilot.app.screen
        assert isinstance(help_screen, HelpScreen)
        assert "▌ trained text" in help_screen.sheet.plain(), "what the colours mean"
        await pilot.press("G")
        await until_shown(pilot, "Leave; asks first if something would be lost")
        await pilot.press("escape")
        await until_gone(pilot, "Leave; asks first")
        await pilot.press("ctrl+p")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 2, "palette")
        await pilot.press(*"only trained")
        await until_shown(pilot, "Show all tokens, only trained")
        await pilot.press("enter")
        await until_shown(pilot, "trained only")
        for short, described in (
            ("queue", "The job queue"),
            ("screenshot", "Save a picture"),
            ("theme", "Choose among all themes"),
        ):
            await pilot.press("ctrl+p", *short)
            await until_shown(pilot, described)
            await pilot.press("escape")
            await until_gone(pilot, described)


async def test_an_empty_workspace_says_what_to_do(
    make_app: Make, workspace: object, engine: ScriptedEngine, tmp_path: object
) -> None:
    from pathlib import Path

    from sekft_engine.data.workspace import Workspace

    app = Workbench(engine, Workspace(Path(str(tmp_path)) / "empty").create())
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "an empty workspace")
        await pilot.press("escape")
        await until_shown(pilot, "no trajectories in", "sekft tui --demo")
        await pilot.press("2", "s")
        await until_shown(pilot, "no base in this workspace")
        assert not engine.jobs
        await pilot.press("4")
        await until_shown(pilot, "no episodes yet")
        await pilot.press("5")
        await until_shown(pilot, "no runs yet")


async def test_the_demo_is_set_up_with_progress_and_then_filled(
    workspace: object, engine: ScriptedEngine, tmp_path: object
) -> None:
    from pathlib import Path

    from sekft_engine.data.workspace import Workspace

    app = Workbench(engine, Workspace(Path(str(tmp_path)) / "demo").create(), demo=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "making the demo workspace")
        assert isinstance(engine.jobs[0], jobs.Setup)
        engine.say(
            events.JobStarted(job="setup-1", kind="setup"),
            events.Progress(job="setup-1", label="convert", done=3, total=10, detail="layers"),
        )
        await until_shown(pilot, "convert", "3/10", "layers")
        await pilot.press("ctrl+c")  # as the box says
        await until_shown(pilot, "leave?", "is still running")
        await pilot.press("k")
        await until_gone(pilot, "leave?")
        engine.say(events.JobDone(job="setup-1", kind="setup", result={}))
        await until_gone(pilot, "making the demo workspace")
        await until_shown(pilot, "set-up done")


async def test_theme_and_pane_are_remembered(make_app: Make) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("T", "2", "q")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: bool(pilot.app.query(TrainPane)), "the Train pane")
        assert app.theme == "sekft-light"
        assert app.pane == "train"


async def test_the_title_of_the_part_that_has_the_focus_stands_out(make_app: Make) -> None:
    async with make_app().run_test(size=(160, 48)) as pilot:
        await until_shown(pilot, "12 trajectories", "certified")
        pane = trajectories(pilot)

        def colours() -> list[str]:
            return [part.query_one(".head").styles.background.hex for part in pane.query(Part)]

        first = colours()
        assert len(set(first)) == 2
        await pilot.press("enter")
        await until(pilot, lambda: colours() == first[::-1], "the other title")
        await pilot.press("escape")
        await until(pilot, lambda: colours() == first, "the first title")
