"""``sekft train --sweep`` as a person reads it: the points before, the table afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sekft_engine.cli.main import run as sekft
from sekft_engine.data.workspace import Workspace
from tests.experiment.conftest import world, write_worlds

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


def test_each_point_acts_in_the_worlds_that_the_table_names(
    tiny_base: Path, sessions: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_worlds(tmp_path / "worlds", [world("w0"), world("w1", terminal="panic")])
    table = tmp_path / "rates.toml"
    table.write_text(
        TABLE.replace("[1e-3, 1e30]", "[1e-3]")
        + '[eval]\nscenarios = "worlds"\nstep_cap = 1\nturn_tokens = 2\nn = 2\n'
    )
    asked = ["train", "--sweep", str(table), "--base", str(tiny_base), "--data", str(sessions)]
    asked += ["--workspace", str(tmp_path / "place")]
    assert sekft(asked) == 0
    _, titles, point = capfd.readouterr().out.splitlines()
    for measure in ("operates", "ends", "verified", "clean end"):
        assert measure in titles
    assert sum(cell.endswith("/2") for cell in cells(point)) == 4
    assert sekft([*asked, "--json"]) == 0
    [done] = json.loads(capfd.readouterr().out)["points"]
    assert done["eval"]["n"] == 2
    assert set(done["eval"]["intervals"]) >= {"clean_termination"}


def test_an_eval_of_worlds_that_are_not_there_is_refused_before_anything_is_trained(
    tiny_base: Path, sessions: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "rates.toml"
    table.write_text(TABLE + '[eval]\nscenarios = "nowhere"\n')
    asked = ["train", "--sweep", str(table), "--base", str(tiny_base), "--data", str(sessions)]
    assert sekft([*asked, "--workspace", str(tmp_path / "place")]) == 2
    assert str(tmp_path / "nowhere") in capfd.readouterr().err
    assert not list(Workspace(tmp_path / "place").runs.glob("*"))


def test_a_sweep_takes_no_name_for_its_adapters(
    table: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ["train", "--sweep", str(table), "--name", "mine", "--workspace", str(tmp_path)]
    assert sekft([*asked, "--json"]) == 2
    out, err = capfd.readouterr()
    assert json.loads(out)["error"]["mend"] == "leave --name out"
    assert "a sweep names its adapters" in err


def test_a_sweep_is_resumed_by_its_table_and_resume_may_stand_beside_it(
    table: Path, tiny_base: Path, sessions: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table.write_text(TABLE.replace("[1e-3, 1e30]", "[1e-3]"))
    asked = ["train", "--sweep", str(table), "--base", str(tiny_base), "--data", str(sessions)]
    asked += ["--workspace", str(tmp_path / "place")]
    for again in ([], ["--resume"]):
        assert sekft([*asked, *again]) == 0
        out, err = capfd.readouterr()
        assert out.splitlines()[0] == "001-sweep-rates: 1 of 1 points", "there is one sweep"
    assert "finished before" in err


def test_a_run_that_is_named_for_resume_is_told_the_way(
    table: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sekft(["train", "--sweep", str(table), "--resume", "001-sweep"]) == 2
    assert "(got '001-sweep'); give the sweep's table again" in capfd.readouterr().err
    for command in ("train", "eval"):
        assert sekft([command, "--resume", "003-run"]) == 2
        assert "name the run's folder with --out" in capfd.readouterr().err
