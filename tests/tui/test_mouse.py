"""The mouse does what keys do, or nothing at all: then the terminal keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekft_engine.data.workspace import Workspace
from tests.tui.terminal import MOUSE, Terminal, terminal

#: What a workbench of its own user says when it is open.
OPEN = ("12 trajectories", "certified")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}


def opened(shown: Terminal) -> frozenset[int]:
    """Wait until the workbench is open; the modes of the mouse that it has asked for."""
    shown.until_shown(*OPEN)
    return shown.modes & MOUSE


@pytest.mark.slow
def test_tabs_rows_keys_and_the_wheel_answer_to_the_mouse(
    workspace: Workspace, tmp_path: Path, environ: dict[str, str]
) -> None:
    words = ("tui", "--workspace", str(workspace.root))
    with terminal(*words, cwd=tmp_path, size=(120, 24), environ=environ) as shown:
        assert opened(shown)
        shown.click("tidy-002")
        shown.until_shown("cat notes-2")
        shown.wheel("cat notes-2", 40)
        shown.until(
            lambda text: "▌ exit" in text and "Welcome. warden" not in text,
            "the end of the session",
        )
        shown.wheel("▌ exit", -40)
        shown.until_shown("Welcome. warden")
        shown.click("v view")
        shown.until_shown("token edges")
        shown.click("6 Log")
        shown.until_shown("entries")
        shown.click("5 Runs")
        shown.until_shown("no runs")
        shown.click("q quit")
        assert shown.ended() == 0
        shown.read_all()
        assert not shown.modes & MOUSE, "it is given back"


@pytest.mark.slow
def test_without_the_mouse_the_terminal_is_never_asked_for_it(
    workspace: Workspace, tmp_path: Path, environ: dict[str, str]
) -> None:
    words = ("tui", "--workspace", str(workspace.root))
    with terminal(*words, "--no-mouse", cwd=tmp_path, environ=environ) as shown:
        opened(shown)
        shown.press("6")
        shown.until_shown("entries")
        shown.press("q")
        assert shown.ended() == 0
        shown.read_all()
        assert not shown.ever_on & MOUSE


@pytest.mark.slow
def test_the_mouse_is_switched_off_for_good_in_the_settings(
    workspace: Workspace, tmp_path: Path, environ: dict[str, str]
) -> None:
    words = ("tui", "--workspace", str(workspace.root))
    with terminal(*words, cwd=tmp_path, environ=environ) as shown:
        assert opened(shown)
        shown.press("\x0f")  # ctrl+o
        shown.until_shown("[x] mouse")
        shown.press(*"jjjjjj", "enter")
        shown.until_shown("[ ] mouse")
        shown.press("escape")
        shown.until(lambda text: "mouse" not in text, "the settings are closed")
        shown.press("q")
        assert shown.ended() == 0
    with terminal(*words, cwd=tmp_path, environ=environ) as shown:
        opened(shown)
        shown.press("q")
        assert shown.ended() == 0
        shown.read_all()
        assert not shown.ever_on & MOUSE
    with terminal(*words, "--mouse", cwd=tmp_path, environ=environ) as shown:
        assert opened(shown), "the flag counts more than the setting"
