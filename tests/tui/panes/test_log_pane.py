"""Log: levels, words, and how many warnings were not read yet."""

from __future__ import annotations

from collections.abc import Callable

from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events
from sekft_engine.records.runs import create_run
from sekft_tui.app import Workbench
from sekft_tui.widgets.line_list import LineList
from tests.tui.screen import screen_text, until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine

Make = Callable[[], Workbench]


def said(engine: ScriptedEngine) -> None:
    for level, text in (
        ("info", "the base is loaded"),
        ("debug", "a detail"),
        ("warning", "memory is short"),
        ("error", "the disk is full"),
    ):
        engine.say(events.Log(job="train-1", t=1.0, level=level, text=text))


async def test_warnings_and_errors_are_counted_in_the_tab_until_they_are_seen(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "12 trajectories")
        said(engine)
        await until_shown(pilot, "6 Log (2)")
        await pilot.press("6")
        await until_shown(pilot, "the disk is full")
        await pilot.press("1")
        await until_gone(pilot, "(2)")
        engine.say(events.Log(job="train-1", t=2.0, level="warning", text="again"))
        await until_shown(pilot, "6 Log (1)")


async def test_the_log_shows_levels_and_words(make_app: Make, engine: ScriptedEngine) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "12 trajectories")
        said(engine)
        await pilot.press("6")
        shown = await until_shown(pilot, "4 entries", "debug a detail", "warn  memory is short")
        assert "error the disk is full" in shown
        await pilot.press("v", "v")
        await until_shown(pilot, "2 of 4 entries", "warnings and errors")
        assert "the base is loaded" not in screen_text(app)
        await pilot.press("v")
        await until_shown(pilot, "1 of 4 entries")
        await pilot.press("escape", "f", *"base")
        await until_shown(pilot, "1 of 4 entries", "the base is loaded")
        await pilot.press("enter", "escape")
        await until_shown(pilot, "4 entries", "the disk is full")


async def test_the_log_begins_with_runs_that_died_or_were_stopped_since_the_last_session(
    make_app: Make, workspace: Workspace
) -> None:
    for status in ("running", "stopped", "done"):  # of one that is killed the status stays
        run = create_run(workspace.runs, "train", about={})
        run.journal.write(events.StepBegan(job="train-1", step=1, batch=[]))
        run.write(status=status)
        run.close()
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "12 trajectories", "6 Log (1)")
        await pilot.press("6")
        shown = await until_shown(
            pilot, "001-train was killed, or its process died", "002-train was stopped", "u in Runs"
        )
        assert "003-train" not in shown
        await pilot.press("1", "q")
    again = Workbench(ScriptedEngine(), workspace)
    async with again.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "12 trajectories", "tiny idle")
        await pilot.press("6")
        await until_shown(pilot, "nothing logged yet")


async def test_neither_a_filter_that_is_cancelled_nor_a_new_entry_moves_the_cursor(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "12 trajectories")
        said(engine)
        await pilot.press("6")
        await until_shown(pilot, "4 entries", "following")
        entries = app.query_one("#log-list", LineList)
        await pilot.press("k", "k")
        await until(pilot, lambda: entries.cursor == 1, "the second entry")
        await pilot.press("f", *"full")
        await until_shown(pilot, "1 of 4 entries")
        await pilot.press("escape")
        await until_shown(pilot, "4 entries")
        await until(pilot, lambda: entries.cursor == 1, "the second entry again")
        engine.say(events.Log(job="train-1", t=2.0, level="info", text="more"))
        await until_shown(pilot, "5 entries", "more")
        assert entries.cursor == 1
        await pilot.press("G")
        await until_shown(pilot, "following")
        engine.say(events.Log(job="train-1", t=3.0, level="info", text="still more"))
        await until(pilot, lambda: entries.cursor == 5, "the newest one is followed")
