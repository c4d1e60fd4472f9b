"""The end of a session that is taken over: kept elsewhere, left, undone, stopped in the middle."""

from __future__ import annotations

from pathlib import Path

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.sources import load_trajectories
from sekft_engine.takeover.draft_files import DRAFT
from sekft_tui.app import Workbench
from sekft_tui.messages import TakeOver
from sekft_tui.screens.takeover import TakeOverScreen
from tests.tui.panes.test_takeover import Make, begun, recorded, typed
from tests.tui.screen import screen_text, until, until_gone, until_shown

SIZE = (120, 40)


async def test_a_session_is_kept_in_a_folder_that_is_named(make_app: Make, tmp_path: Path) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await begun(pilot)
        await typed(pilot, "touch done")
        await until_shown(pilot, "1 command so far")
        await pilot.press("escape", "C")  # it is not over: nothing is asked
        await pilot.press("i")
        await typed(pilot, "exit")
        await until_shown(pilot, "✓ the checker passed")
        await pilot.press("C")
        await until_shown(pilot, "keep in", "takeovers")
        await pilot.press("ctrl+u", *str(tmp_path / "mine"), "enter")
        await until_shown(pilot, "kept, certified")
        await pilot.press("q")
        await until(pilot, lambda: not isinstance(pilot.app.screen, TakeOverScreen), "left")
    (kept,) = load_trajectories(tmp_path / "mine").trajectories
    assert kept.commands == ("touch done", "exit")


async def test_a_session_that_cannot_be_kept_says_why_and_stays(
    make_app: Make, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    async with make_app().run_test(size=SIZE) as pilot:
        await begun(pilot)
        await typed(pilot, "exit")
        await until_shown(pilot, "✗ the checker failed")
        await pilot.press("C")
        await until_shown(pilot, "keep in")
        await pilot.press("ctrl+u", *str(tmp_path / "file"), "enter")
        await until_shown(pilot, "file")
        await pilot.press("q")
        await until_shown(pilot, "What was typed here is not kept.")
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, TakeOverScreen)


async def test_what_differs_is_undone_or_left_from_where_it_is_told(
    make_app: Make, workspace: Workspace
) -> None:
    path = recorded(
        workspace, ("touch a", "user@box:~$"), ("ls", "other\nuser@box:~$"), ("exit", "")
    )
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        app.post_message(TakeOver(path, 5))
        await until_shown(pilot, "not as recorded", "turn 5")
        await pilot.press("u")
        await until_gone(pilot, "continue in this world")
        await until_shown(pilot, "your turn", "1 command so far")
        await pilot.press("escape", "q")
        await until(pilot, lambda: not isinstance(app.screen, TakeOverScreen), "left at once")
        app.post_message(TakeOver(path, 5))
        await until_shown(pilot, "not as recorded", "turn 5")
        await pilot.press("q")
        await until(pilot, lambda: not isinstance(app.screen, TakeOverScreen), "left")


async def test_what_was_typed_too_late_is_told_and_not_lost_without_a_word(
    make_app: Make,
) -> None:
    async with make_app().run_test(size=SIZE, notifications=True) as pilot:
        await begun(pilot)
        await typed(pilot, "sleep 3; exit")
        await until_shown(pilot, "^c interrupts")
        await typed(pilot, "echo late")
        await until_shown(pilot, "then echo late")
        await until_shown(pilot, "the session ended before this was typed: echo late")


async def test_a_model_types_one_turn_from_the_keys_and_is_stopped_by_ctrl_c(
    workspace: Workspace,
) -> None:
    path = recorded(
        workspace, ("bin/warden", "make the file done, then exit\nuser@box:~$"), ("exit", "")
    )
    engine = Engine(workspace, nice=0)
    app = Workbench(engine, workspace)
    try:
        async with app.run_test(size=SIZE) as pilot:
            app.post_message(TakeOver(path, 3))
            await until_shown(pilot, "your turn")
            await pilot.press("escape", "space")  # there is nobody to pause
            await pilot.press(".")
            await until_shown(pilot, "2 commands so far")
            session = next(one for one in app.screen_stack if isinstance(one, TakeOverScreen))
            await pilot.press("b")
            await until(pilot, lambda: session.session.view.state != "ready", "the model types")
            await pilot.press("ctrl+c")
            await until(pilot, lambda: session.session.view.state in ("ready", "over"), "stopped")
            await pilot.press("escape", "q", "x")
            await until(pilot, lambda: not isinstance(app.screen, TakeOverScreen), "left")
            assert session.session.join(60.0)
    finally:
        engine.close()


async def test_a_command_that_was_cut_off_stands_in_the_prompt_again_and_is_not_run(
    make_app: Make, workspace: Workspace
) -> None:
    """The draft is as a kill of the workbench leaves it while a command runs."""
    folder = workspace.root / "takeovers"
    async with make_app().run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        await typed(pilot, "touch first")
        await until_shown(pilot, "1 command so far")
        await typed(pilot, "touch second; sleep 300")
        await until_shown(pilot, "running,")
        (draft,) = folder.iterdir()
        (folder / f"{DRAFT}killed.json").write_bytes(draft.read_bytes())
        await pilot.press("ctrl+c")
        await until_shown(pilot, "2 commands so far")
        await pilot.press("escape", "q", "x")
        await until(pilot, lambda: not isinstance(pilot.app.screen, TakeOverScreen), "left")
        await until(pilot, lambda: not draft.exists(), "thrown away")
        await pilot.press("W")
        await until_shown(pilot, "held-000, unfinished", "1 command")
        await pilot.press("enter")
        await until_shown(pilot, "$ touch second; sleep 300", "it may have run in part when")
        await pilot.press("ctrl+u")
        await typed(pilot, "ls -a")
        shown = await until_shown(pilot, "2 commands so far", "first")
        assert "second" not in shown
        await pilot.press("escape", "u")
        await until_shown(pilot, "1 command so far")
        assert "sleep 300" not in screen_text(pilot.app), "it was offered once"
