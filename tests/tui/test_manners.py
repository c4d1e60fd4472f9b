"""Small promises: clipboard over SSH, remembered settings, filters, what is not trained on."""

from __future__ import annotations

import base64
from pathlib import Path

from sekft_tui.input import clipboard
from sekft_tui.process.hangup import over_bare_ssh
from sekft_tui.process.settings import State, load_state, save_state


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
    save_state(State(theme="nord", pane="runs"), path)
    assert load_state(path) == State(theme="nord", pane="runs")
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
