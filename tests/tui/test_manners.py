"""Small promises: clipboard and text files, the keys of vi, themes, remembered settings."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from sekft_tui.app import Workbench
from sekft_tui.input import clipboard
from sekft_tui.panes.train import TrainPane
from sekft_tui.panes.trajectories import TrajectoriesPane
from sekft_tui.process.hangup import over_bare_ssh
from sekft_tui.process.settings import State, load_state, save_state
from tests.tui.screen import until, until_shown

Make = Callable[[], Workbench]


def test_text_goes_to_the_terminals_clipboard_also_through_tmux() -> None:
    plain = clipboard.osc52("ls -l é", {})
    assert plain == f"\x1b]52;c;{base64.b64encode('ls -l é'.encode()).decode()}\x07"
    wrapped = clipboard.osc52("x", {"TMUX": "/tmp/tmux"})
    assert wrapped.startswith("\x1bPtmux;\x1b\x1b]52;c;")
    assert wrapped.endswith("\x07\x1b\\")
    assert len(clipboard.osc52("y" * 1_000_000, {})) < 140_000
    assert clipboard.osc52("\ud800", {})


def test_settings_survive_and_a_broken_file_is_only_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tui.json"
    assert load_state(path) == State()
    save_state(State(theme="nord", tour_offered=True), path)
    assert load_state(path) == State(theme="nord", tour_offered=True)
    assert [one.name for one in path.parent.iterdir()] == ["tui.json"]
    path.write_text('{"theme": "x", "from_a_newer_version": 1}')
    assert load_state(path).theme == "x"
    path.write_text("{")
    assert load_state(path) == State()
    blocked = tmp_path / "file"
    blocked.write_text("")
    save_state(State(), blocked / "tui.json")


def test_only_a_bare_connection_is_warned_of() -> None:
    ssh = {"SSH_CONNECTION": "1.2.3.4"}
    assert over_bare_ssh(ssh)
    assert not over_bare_ssh(ssh | {"TMUX": "x"})
    assert not over_bare_ssh({})


async def test_the_keys_of_vi_move_in_lists_and_in_texts(make_app: Make) -> None:
    app = make_app()
    async with app.run_test(size=(80, 20)) as pilot:
        await until_shown(pilot, "12 trajectories", "certified")
        pane = app.query_one(TrajectoriesPane)
        places = []
        for key in ("j", "j", "k", "G", "g", "ctrl+d", "ctrl+u"):
            await pilot.press(key)
            places.append(pane.list.cursor)
        *few, half, back = places
        assert few == [1, 2, 1, 11, 0]
        assert 1 < half < 11
        assert back == 0
        await pilot.press("enter", "l", "l", "h")
        await until_shown(pilot, "turn 2/6")
        await pilot.press("/", *"warden", "enter", "n")
        await until_shown(pilot, "warden: 3 of 3")
        await pilot.press("N")
        await until_shown(pilot, "warden: 2 of 3")


async def test_what_is_shown_is_written_to_a_text_file(
    make_app: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with make_app().run_test(size=(120, 24)) as pilot:
        await until_shown(pilot, "12 trajectories", "certified")
        await pilot.press("Y")
        await until(pilot, lambda: list(tmp_path.glob("*.txt")), "the file")
    (path,) = tmp_path.glob("sekft-trajectories-*.txt")
    assert "warden --help" in path.read_text(encoding="utf-8")


async def test_every_theme_can_be_chosen_in_the_settings(make_app: Make) -> None:
    app = make_app()
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.press("ctrl+o")
        await until_shown(pilot, "settings", "chart glyphs")
        seen = []
        while app.theme not in seen:
            seen.append(app.theme)
            await pilot.press("enter")
        assert set(seen) == set(app.available_themes)
        assert {"sekft-dark", "nord"} <= set(seen)
        assert any(app.available_themes[name].ansi for name in seen), "the terminal's own colours"


async def test_an_error_that_comes_again_is_shown_once(make_app: Make) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_shown(pilot, "12 trajectories")
        for text in ("no base here", "no base here", "another", "no base here"):
            app.error(text)
        shown = await until_shown(pilot, "no base here", "another")
        assert shown.count("no base here") == 1


async def test_an_error_covers_neither_what_is_typed_nor_what_waits(
    make_app: Make,
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("E", "ctrl+u", *"12345678" * 4)
        app.error("the run is running (stop it first) " * 4)
        await until_shown(pilot, f"export to: {'12345678' * 4}  ", "the run is running")
        await pilot.press("escape", "2")
        form = app.query_one(TrainPane).form
        while form.field is None or form.field.name != "clip":
            await pilot.press("j")
        await pilot.press("enter", *"12345678" * 4)
        app.error("the disk is full " * 8)
        await until_shown(pilot, "12345678" * 4, "the disk is full")
        await pilot.press("escape")
        app.notes.stand("1 job is held: Q, then p, releases it " + "." * 30)
        await until_shown(pilot, "releases it " + "." * 30, "the disk is full")


async def test_an_error_covers_no_field_of_a_form(make_app: Make) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("2", "j")  # the help of the base takes more lines
        await until_shown(pilot, "batch          8")
        app.error("no base in this workspace (sekft base add smollm2-135m adds one)")
        shown = await until_shown(pilot, "error · e shows", "adds one")
        fields = [line for line in shown.splitlines() if line.startswith(" batch")]
        assert fields
        assert not any("▌" in line for line in fields)
