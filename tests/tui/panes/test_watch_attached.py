"""Watching a model that types on the engine of another process: the keys mean the same."""

from __future__ import annotations

from textual.events import Key
from textual.keys import _character_to_key
from textual.pilot import Pilot

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.for_session import engine_for_shell
from sekft_engine.engine.attached.remote import RemoteEngine
from sekft_engine.records.results import ShellResult
from sekft_engine.records.runs import list_runs
from sekft_engine.takeover.shell import Shell, prepare
from sekft_tui.watch_app import WatchApp, Watcher
from tests.engine.socket.conftest import REAL, Start, runtime, start
from tests.tui.screen import until, until_gone, until_shown

__all__ = ["runtime", "start"]


async def typed(pilot: Pilot[int], text: str) -> None:
    for letter in text:
        pilot.app.post_message(Key(_character_to_key(letter), letter))
    await pilot.press("enter")


async def test_a_model_on_the_living_engine_is_paused_steps_loses_the_keyboard_and_is_ended(
    start: Start, workspace: Workspace
) -> None:
    one = start("--base", "tiny", module=REAL)
    asked = Shell(scenario="held-000", turn_tokens=300, step_cap=30)
    engine, asked, text = engine_for_shell(asked, workspace, resident=True)
    assert isinstance(engine, RemoteEngine)
    assert f"pid {one.process.pid}" in text
    watcher = Watcher()
    watched = prepare(asked, workspace, engine, watcher.changed)
    session = watched.session
    app = WatchApp(engine, watched, watcher, workspace)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await until_shown(pilot, "keyboard: base")
            await until(pilot, lambda: bool(session.view.writing.strip()), "writing")
            await pilot.press("space")
            await until_shown(pilot, "paused ·", "resume")
            before = len(session.view.turns)
            await pilot.press("full_stop")
            await until(pilot, lambda: len(session.view.turns) == before + 2, "one turn")
            await until_shown(pilot, "paused ·")
            await pilot.press("t")
            await until_shown(pilot, "keyboard: you", "your turn")
            await typed(pilot, "touch done")
            await until_shown(pilot, "touched: not counted in rates")
            await pilot.press("escape", "h")
            await until_shown(pilot, "keyboard: base")
            await until(pilot, lambda: bool(session.view.writing.strip()), "it writes again")
            await until_gone(pilot, "paused ·")
            await pilot.press("Q")
            await until_shown(pilot, "cap after", "verdict")
            await pilot.press("q")
    finally:
        session.close()
        assert session.join(60.0)
        watched.record.close()
        engine.close()
    (info,) = list_runs(workspace.runs)
    assert isinstance(info.result, ShellResult)
    assert (info.result.touched, info.result.verified) == (True, True)
    assert one.process.poll() is None, "the engine goes on"
