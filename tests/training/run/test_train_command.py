"""``sekft train`` as a person reads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sekft_engine.cli.main import run as sekft
from sekft_engine.data.workspace import Workspace
from sekft_engine.records.adapters import adapter_digest
from tests.training.sessions import write_sessions

QUICK = ("--max-steps", "2", "--batch", "2", "--rank", "4", "--token-losses", "0")


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "place").create()
    write_sessions(made.trajectories, 6)
    return made


def test_the_workspaces_own_sessions_are_trained_on_and_the_adapter_is_named(
    place: Workspace, tiny_base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ["train", "--base", str(tiny_base), "--workspace", str(place.root), *QUICK]
    assert sekft([*asked, "--heldout", "0.34"]) == 0
    out, err = capfd.readouterr()
    run, adapter, digest = out.splitlines()
    assert re.fullmatch(r"run 001-train\S*: 2 steps in \d+ s, loss \S+ -> \S+, held out \S+", run)
    folder = Path(adapter.removeprefix("adapter: ").removesuffix(" (step 2)"))
    assert digest == f"sha256:  {adapter_digest(folder)}"
    assert "6 trajectories (2 held out)" in err


def test_a_quiet_run_says_nothing(
    place: Workspace, tiny_base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ["train", "--base", str(tiny_base), "--workspace", str(place.root), *QUICK, "-q"]
    assert sekft([*asked, "--heldout", "0"]) == 0
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
