"""``sekft runs``: what was done, from the disk alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sekft_engine.cli.main import run as sekft
from sekft_engine.cli.runs.command import command
from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events
from sekft_engine.records.runs import create_run


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with a finished training run and one that broke off."""
    place = Workspace(tmp_path / "workspace").create()
    for status in ("done", "running"):
        run = create_run(place.runs, "train", about={"recipe": {"lr": 0.001}})
        for step, loss in enumerate((2.0, 1.0, float("nan")), 1):
            run.journal.write(
                events.StepDone(
                    job="j",
                    step=step,
                    steps=3,
                    epoch=1.0,
                    loss=loss,
                    lr=0.1,
                    grad_norm=1.0,
                    trained_tokens=5,
                    tokens=50,
                    tokens_per_s=10.0,
                    seconds=5.0,
                    eta_s=0.0,
                )
            )
        result = {"steps": 3, "loss": {"first": 2.0, "last": 1.0, "heldout": None}}
        run.write(status=status, result=result)
        run.close()
    return place.root


def document(*arguments: str) -> Any:
    done = CliRunner().invoke(command, [*arguments, "--json"], standalone_mode=False)
    return json.loads(done.stdout)


def test_the_list_tells_what_is_done_and_what_died(workspace: Path) -> None:
    runs = document("list", "--workspace", str(workspace))["runs"]
    assert [(one["id"], one["status"]) for one in runs] == [
        ("001-train", "done"),
        ("002-train", "died"),
    ]
    shown = CliRunner().invoke(command, ["list", "--workspace", str(workspace)]).stdout
    assert "3 steps, loss 2.000 -> 1.000" in shown


def test_a_run_is_shown_with_what_its_journal_tells(workspace: Path) -> None:
    shown = document("show", "001", "--workspace", str(workspace))
    assert shown["about"] == {"recipe": {"lr": 0.001}}
    assert shown["journal"]["losses"] == [2.0, 1.0, None]
    plain = CliRunner().invoke(command, ["show", str(workspace / "runs" / "001-train")])
    assert "loss: null" in plain.stdout


def test_a_run_is_exported(workspace: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.tar.gz"
    written = document("export", "001", str(target), "--workspace", str(workspace))
    assert written == {"run": "001-train", "target": str(target)}
    assert target.is_file()


def test_an_unknown_run_or_no_workspace_is_told_in_one_line(
    workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert sekft(["runs", "show", "nine", "--workspace", str(workspace)]) == 2
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEKFT_WORKSPACE", raising=False)
    assert sekft(["runs", "list"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "sekft: error: nine: no such run (sekft runs list)",
        f"sekft: error: {tmp_path}: no workspace here (name it with --workspace)",
    ]
