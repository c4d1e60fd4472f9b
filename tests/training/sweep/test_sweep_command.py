"""``sekft train --sweep`` as a person reads it: the points before, the table afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sekft_engine.cli.main import run as sekft
from sekft_engine.data.workspace import Workspace

TABLE = """
[recipe]
rank = 4
epochs = 1
batch = 8
heldout = 0.2
heldout_every = 1
token_losses = 0

[grid]
lr = [1e-3, 1e30]
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rates.toml"
    path.write_text(TABLE)
    return path


def cells(line: str) -> list[str]:
    return line.split()


def test_the_points_are_listed_before_anything_is_trained(
    table: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sekft(["train", "--sweep", str(table), "--inspect"]) == 0
    shown = capfd.readouterr().out.splitlines()
    assert [cells(line) for line in shown] == [["point", "lr"], ["1", "0.001"], ["2", "1e+30"]]


def test_the_results_are_a_table_with_the_best_point_marked(
    table: Path, tiny_base: Path, sessions: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = Workspace(tmp_path / "place")
    asked = ["train", "--sweep", str(table), "--base", str(tiny_base), "--data", str(sessions)]
    asked += ["--workspace", str(place.root)]
    assert sekft(asked) == 1, "not every point was trained"
    head, titles, good, bad = capfd.readouterr().out.splitlines()
    assert head == "001-sweep-rates: 1 of 2 points"
    assert cells(titles) == ["run", "lr", "status", "loss", "held-out", "s"]
    assert cells(good)[:4] == ["*", "-01", "0.001", "done"]
    assert cells(bad)[:3] == ["-02", "1e+30", "failed"]
    assert place.root.is_dir(), "it was made for it"


def test_a_sweep_takes_no_name_for_its_adapters(
    table: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ["train", "--sweep", str(table), "--name", "mine", "--workspace", str(tmp_path)]
    assert sekft([*asked, "--json"]) == 2
    out, err = capfd.readouterr()
    assert json.loads(out)["error"]["mend"] == "leave --resume and --name out"
    assert "a sweep resumes by itself, and names its adapters" in err
