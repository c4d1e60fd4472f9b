"""Terminals as people have them: without a screen, with few colours, with other keyboards."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.events import Key

from sekft_engine.core.terminal import colours
from sekft_engine.data.workspace import Workspace
from sekft_tui.input.layouts import by_place
from sekft_tui.process.guarded_app import PlacedKeysParser, placed
from tests.tui.terminal import terminal


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return Workspace(tmp_path / "workspace").create().root


def keys(text: str) -> list[tuple[str, str | None]]:
    """The keys that the workbench reads from what a terminal sends."""
    parser = PlacedKeysParser()
    found = [*parser.feed(text), *parser.feed("")]
    return [(event.key, event.character) for event in found if isinstance(event, Key)]


@pytest.mark.parametrize("term", ["dumb", "", "unknown"])
def test_a_terminal_that_only_prints_is_told_the_commands_that_need_no_screen(
    workspace: Path, term: str
) -> None:
    with terminal("tui", cwd=workspace, environ={"TERM": term}) as shown:
        assert shown.ended() == 2
        shown.let_go()
        text = " ".join(shown.text.split())
    assert "cannot place text" in text
    assert "sekft train, eval" in text


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("\x1b[1089;5u", "ctrl+c"),
        ("\x1b[1089::99;5u", "ctrl+c"),
        ("\x1b[1089:1057:99;5u", "ctrl+c"),
        ("\x1b[1094::119;5u", "ctrl+w"),
        ("\x1b[1513;5u", "ctrl+a"),
        ("\x1b[99;5u", "ctrl+c"),
        ("\x1b[99;5:1u", "ctrl+c"),
    ],
)
def test_ctrl_keys_are_read_by_their_place_on_the_keyboard(sent: str, key: str) -> None:
    assert [name for name, _ in keys(sent)] == [key]


def test_letters_stay_what_they_are_and_have_a_place() -> None:
    assert [character for _, character in keys("\x1b[1099;;1099u")] == ["ы"]
    assert by_place("ы") == "s"
    assert by_place("Й") == "Q"
    assert by_place("é") is None
    assert [by_place(letter) for letter in "хъюбХЮ"] == ["[", "]", ".", ",", "{", ">"]


def test_ctrl_with_a_letter_at_the_place_of_a_sign_is_no_escape() -> None:
    assert "escape" not in [name for name, _ in keys("\x1b[1093::91;5u")]


def test_a_terminal_teaches_the_places_of_a_layout_that_nobody_knew() -> None:
    assert by_place("ა") is None
    keys("\x1b[4304::97;5u")
    assert by_place("ა") == "a"


@pytest.mark.parametrize(
    "sent", ["\x1b[1089::99u", "\x1b[99999999u", "\x1b[1089;5;u", "\x1b[::;u", "\x1b[1:2:3:4;5u"]
)
def test_no_sequence_ends_the_reading_of_keys(sent: str) -> None:
    placed(sent) if sent != "\x1b[99999999u" else None
    keys(sent)
    assert ("q", "q") in keys(f"{sent}q")[-1:]


def test_on_another_keyboard_the_workbench_is_left_by_place(workspace: Path) -> None:
    with terminal("tui", "--workspace", ".", cwd=workspace) as shown:
        shown.until_shown("Trajectories", "Train")
        shown.press("\x1b[1094::119;5u")  # nothing is bound to ctrl+w
        shown.press("\x1b[1081;;1081u")  # q
        assert shown.ended() == 0


@pytest.mark.parametrize(
    ("environ", "system"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "truecolor"),
        ({"TERM": "screen-256color", "COLORTERM": "truecolor"}, "256"),
        ({"TERM": "screen", "COLORTERM": "24bit"}, "256"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "STY": "1.x"}, "256"),
        ({"TERM": "screen-256color", "COLORTERM": "truecolor", "TMUX": "/x"}, "truecolor"),
        (
            {"TERM": "screen", "COLORTERM": "truecolor", "TEXTUAL_COLOR_SYSTEM": "truecolor"},
            "truecolor",
        ),
        (
            {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
            | {"TERM_PROGRAM": "Apple_Terminal"},
            "256",
        ),
        ({"TERM": "xterm-256color"}, "256"),
        ({"TERM": "xterm"}, "standard"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "none"),
    ],
)
def test_colours_are_those_that_the_terminal_has_unless_someone_says_otherwise(
    environ: dict[str, str], system: str
) -> None:
    found = colours(environ)
    assert found.system == system
    assert found.why


FALLING = """
import sekft_tui.app
from sekft_engine.cli.main import main

def fall(self):
    raise ZeroDivisionError("over a stone")

sekft_tui.app.Workbench.on_mount = fall
main()
"""


def test_an_unexpected_error_of_the_workbench_is_one_line_and_a_report(
    workspace: Path, tmp_path: Path
) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with terminal("tui", cwd=workspace, environ=environ, code=FALLING, size=(200, 24)) as shown:
        assert shown.ended() == 1
        shown.let_go()
        text = shown.text
    assert "unexpected ZeroDivisionError: over a stone" in text
    assert "Traceback" not in text
    (report,) = (tmp_path / "state").rglob("crash-*.txt")
    assert "in fall" in report.read_text()


@pytest.mark.parametrize("home", ["/proc", "/dev/null/home"])
def test_a_home_that_cannot_be_written_stops_no_workbench(
    workspace: Path, home: str, tmp_path: Path
) -> None:
    environ = {"HOME": home, "TMPDIR": str(tmp_path), "XDG_STATE_HOME": "", "XDG_CACHE_HOME": ""}
    with terminal("tui", "--workspace", ".", cwd=workspace, environ=environ) as shown:
        shown.until_shown("Trajectories", "Train")
