"""First steps: what an empty workspace offers, the tour through the panes, and settings."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sekft_engine.cli.main import run
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.records import jobs
from sekft_tui.app import Workbench
from sekft_tui.input.tour import STOPS
from sekft_tui.panes.replay.listing import Listing
from sekft_tui.process.preferences import (
    Preferences,
    drawing,
    load_preferences,
    path_of_preferences,
    save_preferences,
)
from sekft_tui.widgets.token_view import TokenView
from tests.tui.conftest import trajectory
from tests.tui.screen import screen_text, until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine
from tests.tui.terminal import terminal

Make = Callable[[], Workbench]
SIZES = pytest.mark.parametrize("size", [(80, 24), (60, 20)], ids=["80x24", "60x20"])


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Workspace(tmp_path / "empty").create()


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@SIZES
async def test_an_empty_workspace_offers_the_demo(
    empty: Workspace, engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    async with Workbench(engine, empty).run_test(size=size) as pilot:
        await until_shown(pilot, "an empty workspace", "make the demo here", "look around")
        await pilot.press("d")
        await until_shown(pilot, "making the demo workspace")
    assert any(isinstance(job, jobs.Setup) for job in engine.jobs)


@SIZES
async def test_a_demo_that_was_made_here_is_opened_and_not_made_again(
    empty: Workspace, engine: ScriptedEngine, tmp_path: Path, size: tuple[int, int]
) -> None:
    """As after ``sekft tui --demo``, by someone who types plain ``sekft tui`` the next time."""
    here = tmp_path / "here"
    made = Workspace(here / "demo").create()
    app = Workbench(engine, Workspace(here))
    async with app.run_test(size=size) as pilot:
        shown = await until_shown(pilot, "The demo is here, in the folder demo", "d  open the demo")
        assert "make the demo" not in shown
        await pilot.press("d")
        await until(pilot, lambda: not app.is_running, "left, for the demo")
    assert app.next_workspace == str(made.root)
    assert not engine.jobs


async def test_who_only_looks_leaves_nothing_behind(empty: Workspace, tmp_path: Path) -> None:
    """A folder with files and no workspace, such as a checkout: that it has none is said."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "README").write_text("mine")
    engine = Engine(Workspace(checkout))
    async with Workbench(engine, Workspace(checkout)).run_test(size=(80, 24)) as pilot:
        shown = await until_shown(pilot, "no workspace here", "There is no workspace in")
        assert "nothing in" not in shown
        await pilot.press("escape")
        for number in "123456":
            await pilot.press(number)
        await until_shown(pilot, "Log")
        await pilot.press("q")
    assert engine.close(timeout=60)
    assert [path.name for path in checkout.iterdir()] == ["README"]


@SIZES
async def test_what_an_empty_workspace_offers_is_told_to_its_end(
    empty: Workspace, engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    async with Workbench(engine, empty).run_test(size=size) as pilot:
        await until_shown(pilot, "There is nothing in", "(minutes)", "file)")


async def test_replay_says_nothing_of_what_it_has_not_read_yet(
    empty: Workspace, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, read = threading.Event(), Listing.read

    def slowly(listing: Listing, runs: Path) -> list[str]:
        assert go_on.wait(60)
        return read(listing, runs)

    monkeypatch.setattr(Listing, "read", slowly)
    async with Workbench(engine, empty).run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "an empty workspace")
        await pilot.press("escape", "4")
        shown = await until_shown(pilot, "reading episodes …")
        assert "0 episodes" not in shown
        assert "no episodes yet" not in shown
        go_on.set()
        await until_shown(pilot, "0 episodes", "no episodes yet")


async def test_a_list_without_rows_is_not_hidden(empty: Workspace, engine: ScriptedEngine) -> None:
    async with Workbench(engine, empty).run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "an empty workspace")
        await pilot.press("escape", "o")
        await until_shown(pilot, "nothing to show beside the list", "no trajectories in")


async def test_a_workspace_that_was_never_open_begins_with_the_first_pane(
    empty: Workspace, workspace: Workspace, engine: ScriptedEngine
) -> None:
    first = Workbench(engine, workspace)
    async with first.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("5")
        await until_shown(pilot, "no runs yet")
        await pilot.press("q")
    another = Workbench(ScriptedEngine(), empty)
    async with another.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "an empty workspace")
        assert another.pane == "trajectories"
    again = Workbench(ScriptedEngine(), workspace)
    async with again.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "no runs yet")


def test_a_folder_without_its_option_is_told_the_option(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["tui", str(tmp_path)]) == 2
    assert f"--workspace {tmp_path}" in capfd.readouterr().err


@pytest.mark.parametrize("key", ["i", "o"])
async def test_who_changes_their_mind_is_asked_again_what_to_do_with_an_empty_workspace(
    empty: Workspace, engine: ScriptedEngine, key: str
) -> None:
    async with Workbench(engine, empty).run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "make the demo here")
        await pilot.press(key)
        await until_gone(pilot, "make the demo here")
        await pilot.press("escape")
        await until_shown(pilot, "make the demo here", "open another workspace")


async def test_sessions_of_somewhere_else_are_shown(
    empty: Workspace, engine: ScriptedEngine, tmp_path: Path
) -> None:
    data = tmp_path / "mine.jsonl"
    data.write_text("".join(json.dumps(trajectory(n, "copy")) + "\n" for n in range(3)))
    async with Workbench(engine, empty).run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "an empty workspace")
        await pilot.press("i", *str(tmp_path / "nothing"), "enter")
        await until_shown(pilot, "no such folder or file")
        await pilot.press("ctrl+u", *str(data), "enter")
        await until_shown(pilot, "3 trajectories", "copy-000")


@pytest.mark.slow
def test_another_workspace_is_opened(
    empty: Workspace, workspace: Workspace, tmp_path: Path
) -> None:
    with terminal("tui", "--workspace", str(empty.root), cwd=tmp_path) as shown:
        shown.until_shown("an empty workspace")
        shown.press("o")
        shown.until_shown("workspace: ")
        shown.press(str(workspace.root), "enter")
        shown.until_shown("12 trajectories")
        shown.press("q")
        assert shown.ended() == 0


def test_another_workspace_is_opened_from_the_palette(workspace: Workspace, tmp_path: Path) -> None:
    other = Workspace(tmp_path / "other")
    other.create()
    with terminal("tui", "--workspace", str(workspace.root), cwd=tmp_path) as shown:
        shown.until_shown("12 trajectories")
        shown.press("ctrl+p")
        shown.until_shown("Search for commands")
        shown.press(*"another workspace")
        shown.until_shown("Leave this one for another folder")
        shown.press("enter")
        shown.until_shown("workspace: ")
        shown.press(str(tmp_path / "nothing"), "enter")
        shown.until_shown("no such folder")
        shown.press("ctrl+u", str(other.root), "enter")
        shown.until_shown("an empty workspace")
        shown.press("q")
        shown.press("q")
        assert shown.ended() == 0


@SIZES
async def test_the_tour_leads_through_all_panes_and_leaves_the_keys_alone(
    make_app: Make, size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "12 trajectories")
        for number, stop in enumerate(STOPS, 1):
            await pilot.press("ctrl+g")
            shown = await until_shown(pilot, f"Tour {number}/{len(STOPS)}", stop.title)
            assert app.pane == stop.place
            recipe = "o shows the recipe" in shown
            assert recipe == (number == 3), "there is room for one part of the pane"
            last = stop.text.split()[-1]
            assert last in shown, "all of it is in view"
        await pilot.press("question_mark")
        await until_shown(pilot, "esc close")
        await pilot.press("escape", "ctrl+g")
        await until_gone(pilot, "Tour ")
        await pilot.press("ctrl+g", "ctrl+x")
        await until_gone(pilot, "Tour ")


@SIZES
async def test_the_tour_says_that_there_are_no_sessions_where_there_are_none(
    empty: Workspace, engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    async with Workbench(engine, empty).run_test(size=size) as pilot:
        await until_shown(pilot, "an empty workspace")
        await pilot.press("escape", "ctrl+g")
        await until_shown(pilot, "Tour 1/", "There are none here yet", "with a bar.")


async def test_the_tour_speaks_of_what_is_on_the_screen_however_it_was_left(
    make_app: Make,
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 36)) as pilot:
        await until_shown(pilot, "12 trajectories", "✓ certified")
        await pilot.press("m", "m", "v")
        await until_shown(pilot, "masked only")
        await pilot.press("ctrl+g")
        await until_shown(pilot, "Bold text with a")
        await until_gone(pilot, "masked only")
        view = app.query_one(TokenView)
        assert (view.mode, view.wanted) == ("all", "context")


async def test_sessions_of_somewhere_else_are_found_in_the_palette(
    make_app: Make, tmp_path: Path
) -> None:
    data = tmp_path / "mine.jsonl"
    data.write_text("".join(json.dumps(trajectory(n, "copy")) + "\n" for n in range(3)))
    async with make_app().run_test(size=(100, 30)) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("ctrl+p", *"open data")
        await until_shown(pilot, "Open data: import sessions")
        await pilot.press("enter")
        await until_shown(pilot, "sessions: ")
        await pilot.press(*str(data), "enter")
        await until_shown(pilot, "3 trajectories", "copy-000")


@SIZES
async def test_settings_are_checked_kept_and_take_effect(
    make_app: Make, size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await pilot.press("ctrl+o")
        await until_shown(pilot, "settings", "chart glyphs", "long job")
        await pilot.press("enter")
        await until(pilot, lambda: app.theme != "sekft-dark", "another theme")
        await pilot.press("j", "j", "enter", *"soon", "enter")
        await until_shown(pilot, "a whole number of seconds")
        await pilot.press("ctrl+u", *"090", "enter")
        await until(pilot, lambda: load_preferences().bell_after == 90, "it is on disk")
        assert app.attention.preferences.bell_after == 90
        await pilot.press("escape")
        await until_gone(pilot, "long job")
    assert json.loads(path_of_preferences().read_text()) == {"bell_after": 90}


def test_what_is_wrong_in_a_file_of_settings_is_the_default_and_what_is_unknown_stays(
    tmp_path: Path,
) -> None:
    path = tmp_path / "workbench.json"
    path.write_text('{"mouse": 7, "bell": false, "glyphs": "runes", "of tomorrow": [1]}')
    found = load_preferences(path)
    assert found == Preferences(bell=False)
    save_preferences(found, path)
    assert json.loads(path.read_text()) == {"of tomorrow": [1], "bell": False}
    for broken in (b"\xff", b"[]", b""):
        path.write_bytes(broken)
        assert load_preferences(path) == Preferences()


@pytest.mark.parametrize(
    ("environ", "glyphs"),
    [
        ({"TERM": "linux"}, "blocks"),
        ({"TERM": "vt220"}, "blocks"),
        ({"TERM": "xterm-256color", "LANG": "C.UTF-8"}, "braille"),
        ({"TERM": "xterm", "LC_ALL": "de_DE.ISO-8859-1"}, "ascii"),
        ({"TERM": "xterm", "LANG": "C"}, "braille"),
    ],
)
def test_curves_are_drawn_with_what_the_terminals_font_has(
    environ: dict[str, str], glyphs: str
) -> None:
    assert drawing(Preferences(), environ).glyphs == glyphs
    assert drawing(Preferences(glyphs="ascii"), environ).glyphs == "ascii"


async def test_a_chart_in_blocks_has_no_braille(
    make_app: Make, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.tui.scripted import watched

    monkeypatch.setenv("TERM", "linux")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "s")
        engine.say(*watched(60))
        shown = await until_shown(pilot, "step 60/60", "█")
        assert not any("⠀" < letter <= "⣿" for letter in shown), screen_text(app)
    monkeypatch.setenv("TERM", "xterm-256color")
    make_app()  # the next one draws as its terminal can


async def test_an_error_stands_above_the_tour(make_app: Make) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("ctrl+g")
        await until_shown(pilot, "Tour 1/8")
        said = [line for line in screen_text(app).splitlines()[-7:-2] if line.strip()]
        app.error("the disk is full: choose another folder, or make room")
        await until_shown(pilot, "the disk is full")
        for _ in range(20):
            await pilot.pause(0.05)
        assert [line for line in screen_text(app).splitlines() if line in said] == said
