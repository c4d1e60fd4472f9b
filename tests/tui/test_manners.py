"""Small promises: clipboard over SSH, remembered settings, filters, what is not trained on."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from sekft_engine.workspace import Workspace
from sekft_tui import clipboard, filters
from sekft_tui.app import over_bare_ssh
from sekft_tui.library import Library
from sekft_tui.state import State, load_state, save_state
from tests.tui.conftest import trajectory


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


def test_filters_take_words_and_fields() -> None:
    facts = {"archetype": "count", "outcome": "panic", "keep": "yes"}

    def passes(text: str) -> bool:
        return filters.matches(filters.parse(text), facts, lambda: "cat the notes")

    assert passes("")
    assert passes("notes CAT")
    assert passes("arch:cou out:pan keep:y")
    assert not passes("keep:no")
    assert not passes("notes dog")
    assert not passes("nosuch:field")


def test_only_a_bare_connection_is_warned_of() -> None:
    ssh = {"SSH_CONNECTION": "1.2.3.4"}
    assert over_bare_ssh(ssh)
    assert not over_bare_ssh(ssh | {"TMUX": "x"})
    assert not over_bare_ssh({})


def test_a_session_that_is_not_trained_on_is_shown_with_the_reason(workspace: Workspace) -> None:
    long = trajectory(50, "count")
    long["turns"][2]["content"] = "word " * 4000
    (workspace.trajectories / "long.json").write_text(json.dumps(long))
    library = Library(workspace.trajectories, workspace.base, 2048)
    library.load()
    rows = {row.id: library.render(row) for row in library.trajectories}
    assert len(rows) == 13
    shown = rows["count-050"]
    assert shown.dropped
    assert shown.doc is not None
    assert shown.doc.trained == 0
    good = rows["count-000"]
    assert good.doc is not None
    assert good.dropped == ""
    assert all(ok for _, ok in good.certificate)


def test_without_a_base_sessions_can_still_be_read(workspace: Workspace) -> None:
    library = Library(workspace.trajectories, "", 2048)
    library.load()
    shown = library.at_once(library.trajectories[0])
    assert shown is not None
    assert shown.doc is not None
    assert "no base" in shown.dropped


def test_a_broken_file_does_not_hide_the_others(workspace: Workspace) -> None:
    (workspace.trajectories / "broken.json").write_text("{")
    twice = (workspace.trajectories / "000.json").read_text()
    (workspace.trajectories / "twice.json").write_text(twice)
    library = Library(workspace.trajectories, workspace.base, 2048)
    library.load()
    assert len(library.trajectories) == 12
    assert len(library.skipped) == 2
    assert "broken.json" in library.skipped[0]
    assert "count-000" in library.skipped[1]
