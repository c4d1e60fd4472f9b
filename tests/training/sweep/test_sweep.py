"""A sweep: a table that is checked as a whole, then a run per point on one resident base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.cli.main import run as run_command
from sekft_engine.core.errors import BadInput, SekftError
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.records.runs import find_run, list_runs
from sekft_engine.sweep.results import point_runs
from sekft_engine.sweep.table import read_table
from sekft_engine.work.context import Stopped
from tests.documents import document, run_document
from tests.training.sessions import write_sessions

TABLE = """
[recipe]
rank = 4
alpha = 8
epochs = 1
batch = 4
heldout = 0.2
heldout_every = 1
token_losses = 0

[grid]
lr = [1e-3, 3e-2]

[[point]]
lr = 1e-3
dropout = 0.3
"""


def _table(folder: Path, text: str = TABLE) -> Path:
    path = folder / "rates.toml"
    path.write_text(text)
    return path


# --- the table ----------------------------------------------------------------------------------


def test_a_table_gives_every_combination_and_the_listed_points(tmp_path: Path) -> None:
    text = """
[recipe]
epochs = 2
[grid]
lr = [1e-4, 2e-4]
rank = [8, 16]
[[point]]
lr = 1e-3
targets = "q_proj"
"""
    table = read_table(_table(tmp_path, text), {"seed": 7})
    assert table.fields == ("lr", "rank", "targets")
    assert [point.changes for point in table.points] == [
        {"lr": 1e-4, "rank": 8},
        {"lr": 1e-4, "rank": 16},
        {"lr": 2e-4, "rank": 8},
        {"lr": 2e-4, "rank": 16},
        {"lr": 1e-3, "targets": "q_proj"},
    ]
    assert {point.recipe.epochs for point in table.points} == {2}
    assert {point.recipe.seed for point in table.points} == {7}
    assert table.points[4].title == "lr=0.001, targets=q_proj"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("[grid]\nlr = [1e-3,", 2, "not TOML"),
        ("[grid]\nlr = [1e-3]\nrnak = [8]\n", 3, "grid.rnak: not known; is rank meant?"),
        ("[grid]\nlr = [1e-3]\n\n[recipe]\nlr = -1\n", 5, "recipe.lr: -1: enter a number > 0"),
        ("[grid]\nlr = [1e-3, 'fast']\n", 2, "grid.lr: fast: enter a number"),
        ("[grid]\nlr = 1e-3\n", 2, "put one value for all points under [recipe]"),
        ("[grid]\nlr = []\n", 2, "a list of values is wanted"),
        ("[[point]]\nlr = 1\n[[point]]\nbatch = 0\n", 4, "point.batch: 0: enter a whole number"),
        ("gird = 1\n", 1, "not known; is grid meant?"),
        ("[recipe]\nlr = 1e-3\n", 0, "there is no point in it"),
        ("[[point]]\nlr = 1\n[[point]]\nlr = 1.0\n", 0, "two points are the same recipe"),
        ("[grid]\nseed = [1]\n[eval]\nepisodes = 3\n", 4, "eval.episodes: not known"),
        ("[grid]\nseed = [1]\n[eval]\nn = 'many'\n", 4, "eval.n: many: enter a whole number"),
        ("base = 3\n[grid]\nseed = [1]\n", 1, "base: a text is wanted"),
        ("recipe = 1\n[grid]\nseed = [1]\n", 1, "a table is wanted: [recipe]"),
        ("grid = 1\n", 1, "a table is wanted: [grid]"),
        ("point = 1\n", 1, "several may follow: [[point]]"),
        ("eval = 1\n[grid]\nseed = [1]\n", 1, "a table is wanted: [eval]"),
        (f"[grid]\nseed = {list(range(40))}\nrank = {list(range(1, 40))}\n", 1, "1560 points"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_told_with_its_line_and_field(
    tmp_path: Path, text: str, line: int, what: str
) -> None:
    path = _table(tmp_path, text)
    with pytest.raises(BadInput) as told:
        read_table(path)
    assert what in str(told.value)
    assert str(told.value).startswith(f"{path}:{line}: " if line else f"{path}: ")


def test_a_table_that_is_not_there_or_is_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no such file .*name the sweep's table"):
        read_table(tmp_path / "rates.toml")
    (tmp_path / "rates.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match="not UTF-8"):
        read_table(tmp_path / "rates.toml")


def test_a_flag_for_what_the_sweep_varies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--lr: lr is what the sweep varies"):
        read_table(_table(tmp_path), {"lr": 1.0})


def test_the_table_can_be_looked_at_before_anything_is_trained(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["train", "--sweep", str(_table(tmp_path)), "--inspect", "--json"]) == 0
    points = json.loads(capfd.readouterr().out)["points"]
    assert [point["changes"]["lr"] for point in points] == [1e-3, 3e-2, 1e-3]


# --- the runs -----------------------------------------------------------------------------------


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "place").create()


class Told:
    """An engine on the workspace, what it said, and a way to stop it after so many steps."""

    def __init__(self, workspace: Workspace, stop_after: int = 0) -> None:
        self.engine = Engine(workspace, nice=0).start()
        self.seen: list[Event] = []
        self.stop_after = stop_after
        self.engine.subscribe(self._take)

    def _take(self, event: Event) -> None:
        self.seen.append(event)
        if 0 < self.stop_after == len(self.of(events.StepDone)):
            self.engine.cancel(after_step=True)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.seen if isinstance(event, kind)]

    def sweep(self, file: Path, base: Path, data: Path, out: str = "") -> dict[str, Any]:
        job = jobs.Sweep(file=str(file), base=str(base), data=str(data), out=out)
        try:
            return run_document(job, engine=self.engine)
        finally:
            assert self.engine.close()


def test_points_are_trained_one_after_another_on_one_base_and_none_twice(
    workspace: Workspace, tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    file = _table(tmp_path)
    first = Told(workspace, stop_after=6)  # within the second point
    with pytest.raises(Stopped, match="same table again") as stopped:
        first.sweep(file, tiny_base, sessions)
    assert [point["status"] for point in document(stopped.value.result)["points"]] == [
        "done", "stopped", "waiting",
    ]  # fmt: skip
    second = Told(workspace)
    result = second.sweep(file, tiny_base, sessions)
    assert len(first.of(events.BaseLoaded)) == len(second.of(events.BaseLoaded)) == 1
    assert (result["finished"], result["trained_now"]) == (3, 2)
    steps = [event.step for event in (*first.of(events.StepDone), *second.of(events.StepDone))]
    assert steps == [1, 2, 3, 4] * 3  # 16 trajectories, 3 held out, in fours: no step twice

    alone = run_document(
        jobs.Train(
            base=str(tiny_base),
            data=str(sessions),
            out=str(tmp_path / "alone"),
            recipe=read_table(file).points[1].recipe,
        )
    )
    points = result["points"]
    assert [point["values"] for point in points] == [
        {"lr": 1e-3, "dropout": 0.05},
        {"lr": 3e-2, "dropout": 0.05},
        {"lr": 1e-3, "dropout": 0.3},
    ]
    assert points[1]["loss"] == alone["loss"]["last"]
    assert points[1]["heldout"] == alone["loss"]["heldout"]
    lowest = min(points, key=lambda point: point["best"]["heldout"])
    assert result["best"] == lowest["run"]
    assert all(point["seconds"] > 0 and point["eval"] is None for point in points)

    sweep = find_run(workspace.runs, result["sweep"])
    assert (sweep.kind, sweep.status) == ("sweep", "done")
    assert document(sweep.result) == result
    runs = [run for _, run in point_runs(sweep)]
    assert [run.id for run in runs if run] == [point["run"] for point in points]
    assert all(run and run.adapter for run in runs)
    third = Told(workspace)
    again = third.sweep(file, tiny_base, sessions)
    assert (again["trained_now"], again["points"]) == (0, points)
    assert not third.of(events.BaseLoaded)
    assert len(list_runs(workspace.runs)) == 4


def test_a_rate_that_diverges_is_a_finding_and_no_end(
    workspace: Workspace, tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    text = TABLE.replace("[1e-3, 3e-2]", "[1e30, 1e-3]").split("[[point]]")[0]
    told = Told(workspace)
    result = told.sweep(_table(tmp_path, text), tiny_base, sessions)
    assert [point["status"] for point in result["points"]] == ["failed", "done"]
    assert "not finite" in result["points"][0]["error"]
    assert result["best"] == result["points"][1]["run"]


def test_other_data_is_no_part_of_the_same_sweep(
    workspace: Workspace, tiny_base: Path, tmp_path: Path
) -> None:
    data = write_sessions(tmp_path / "data", 8)
    text = TABLE.replace("[1e-3, 3e-2]", "[1e-3]").split("[[point]]")[0]
    file, out = _table(tmp_path, text), str(tmp_path / "out")
    result = Told(workspace).sweep(file, tiny_base, data, out)
    assert Path(result["points"][0]["adapter"]).parent == tmp_path / "out" / "out-01"
    write_sessions(tmp_path / "data", 9)
    with pytest.raises(SekftError, match="not what out-01 was trained on any more"):
        Told(workspace).sweep(file, tiny_base, data, out)
    other = _table(tmp_path, text.replace("rank = 4", "rank = 2"))
    with pytest.raises(SekftError, match="another table, base or data"):
        Told(workspace).sweep(other, tiny_base, data, out)


def test_layers_that_the_base_has_not_are_refused_before_it_is_loaded_and_nothing_is_written(
    workspace: Workspace, tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    text = '[[point]]\nlr = 1e-3\n[[point]]\ntargets = "q_proj,nope"\n'
    told = Told(workspace)
    with pytest.raises(BadInput, match=r"no linear layer called nope.*all-linear.*o_proj, q_proj"):
        told.sweep(_table(tmp_path, text), tiny_base, sessions)
    assert not told.of(events.BaseLoaded)
    assert not list_runs(workspace.runs)
