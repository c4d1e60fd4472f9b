"""What a command must be told to work on a workspace, where one is."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekft_engine.data.workspace import Workspace, naming


def test_a_workspace_is_named_only_where_it_is_not_found_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEKFT_WORKSPACE", raising=False)
    demo = Workspace(tmp_path / "my demo").create().root
    monkeypatch.chdir(tmp_path)
    assert naming(demo) == " --workspace 'my demo'"
    assert naming(tmp_path) == " --workspace .", "it is no workspace, so that no command finds it"
    monkeypatch.chdir(demo)
    assert naming(demo) == ""
    assert naming(tmp_path) == f" --workspace {tmp_path}"
    monkeypatch.setenv("SEKFT_WORKSPACE", str(tmp_path))
    assert naming(tmp_path) == ""
    assert naming(demo) == " --workspace ."
