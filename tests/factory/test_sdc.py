"""The sister package's scenarios and trajectories, by stand-ins that follow what is known."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.cli.main import run as run_command
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.factory import admit
from sekft_engine.factory.sdc import ConvertReport, convert, from_objects, to_objects
from sekft_engine.sources import load_scenarios, load_trajectories

SCENARIO: dict[str, Any] = {
    "id": "copy-1",
    "task_archetype": "copy",
    "difficulty": 2,
    "doc-depth": "--help",
    "provider": {"name": "quil", "path": "/usr/local/bin/quil", "script": "#!/bin/sh\necho copy\n"},
    "announcement": {"channel": "Environment Variable", "text": "Orders: quil", "variable": "DESK"},
    "directives": ["copy word.txt to copy.txt", "then leave"],
    "fixtures": {"word.txt": "plover\n"},
    "checker": 'test "$(cat ~/copy.txt)" = plover',
    "reference_solution": ["cp word.txt copy.txt", "exit"],
    "generator": {"model": "teacher", "seed": 7},
}
TRAJECTORY: dict[str, Any] = {
    "id": "copy-1-a",
    "scenario_id": "copy-1",
    "messages": [
        {"role": "system", "content": "orientation"},
        {"role": "user", "content": "$"},
        {"role": "assistant", "content": "cp word.txt copy.txt"},
        {"role": "user", "content": "$"},
        {"role": "assistant", "content": "exit"},
    ],
    "verified": True,
    "meta": {"clean": True},
    "operator": "teacher-7b",
}
#: The one view of the published data that is known: two columns.
TABLE_ROW = {"id": "row-1", "reference_solution": ["ls", "exit"]}


def by_field(report: ConvertReport, kind: str) -> dict[str, tuple[int, int, int]]:
    return {
        each.field: (each.present, each.derived, each.absent)
        for each in report.fields
        if each.kind == kind
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "sdc"
    for kind, record in (("scenarios", SCENARIO), ("trajectories", TRAJECTORY)):
        (folder / kind).mkdir(parents=True)
        (folder / kind / "one.json").write_text(json.dumps(record))
    return folder


def test_folders_become_what_sekft_reads_and_the_report_says_how(
    source: Path, tmp_path: Path
) -> None:
    report = convert(str(source), tmp_path / "out")
    assert (report.scenarios, report.trajectories) == (1, 1)
    scenarios = by_field(report, "scenarios")
    assert scenarios["checker"] == (1, 0, 0)
    assert scenarios["directives"] == (0, 1, 0)  # several lines became one text
    assert scenarios["terminal"] == (0, 1, 0)  # the last command of the solution
    trajectories = by_field(report, "trajectories")
    assert trajectories["turns"] == (1, 0, 0)
    assert trajectories["outcome"] == trajectories["steps"] == trajectories["keep"] == (0, 1, 0)
    assert trajectories["provider"] == (0, 0, 1)
    (scenario,) = load_scenarios(tmp_path / "out" / "scenarios")
    assert (scenario.archetype, scenario.doc_depth, scenario.terminal) == ("copy", "help", "exit")
    assert scenario.announcement.channel == "env"
    (trajectory,) = load_trajectories(tmp_path / "out" / "trajectories").trajectories
    assert (trajectory.scenario, trajectory.outcome, trajectory.keep) == ("copy-1", "exit", True)


def test_fields_that_nobody_knows_are_kept_and_counted(source: Path, tmp_path: Path) -> None:
    report = convert(str(source), tmp_path / "out")
    assert report.unknown == {"scenarios": {"generator": 1}, "trajectories": {"operator": 1}}
    (scenario,) = load_scenarios(tmp_path / "out" / "scenarios")
    assert scenario.extra["generator"] == SCENARIO["generator"]
    (trajectory,) = load_trajectories(tmp_path / "out" / "trajectories").trajectories
    assert trajectory.extra["operator"] == "teacher-7b"


def test_a_converted_scenario_passes_the_gate_of_our_factory(source: Path, tmp_path: Path) -> None:
    convert(str(source), tmp_path / "out")
    (admission,) = admit(load_scenarios(tmp_path / "out" / "scenarios"))
    assert admission.admitted, admission.reason


def test_what_was_converted_is_converted_to_the_same_again(source: Path, tmp_path: Path) -> None:
    convert(str(source), tmp_path / "once")
    convert(str(tmp_path / "once"), tmp_path / "twice")
    for kind in ("scenarios", "trajectories"):
        first, second = (
            [path.read_bytes() for path in sorted((tmp_path / each / kind).iterdir())]
            for each in ("once", "twice")
        )
        assert first == second


def test_a_table_that_has_little_says_what_its_scenarios_lack(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(TABLE_ROW | {"id": f"row-{n}"}) + "\n" for n in range(3)))
    report = convert(str(rows), tmp_path / "out")
    assert report.scenarios == 3
    assert report.lacking == {"provider": 3, "directives": 3, "checker": 3}


def test_the_command_says_what_is_lacking_and_what_was_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(TABLE_ROW | {"id": "row"}) + "\n" + '{"id": 5}\n')
    assert run_command(["factory", "convert", str(rows), "--out", str(tmp_path / "out")]) == 1
    out = capfd.readouterr().out
    assert "1 scenarios lack provider: no world can be made of them and judged" in out
    assert " refused: " in out


def test_a_data_set_with_configs_is_read_whole(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "scenarios.jsonl").write_text(json.dumps(TABLE_ROW) + "\n")
    rows = {name: TRAJECTORY[name] for name in ("id", "scenario_id", "messages", "verified")}
    (folder / "trajectories.jsonl").write_text(json.dumps(rows) + "\n")
    configs = "".join(
        f"- config_name: {name}\n  data_files: {name}.jsonl\n"
        for name in ("scenarios", "trajectories")
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    report = convert(str(folder), tmp_path / "out", hub=True)
    assert (report.scenarios, report.trajectories) == (1, 1)
    (trajectory,) = load_trajectories(
        tmp_path / "out" / "trajectories", keep_only=False
    ).trajectories
    assert trajectory.commands == ("cp word.txt copy.txt", "exit")
    # Nobody says whether it is clean, so nobody can say that it is worth keeping.
    assert by_field(report, "trajectories")["keep"] == (0, 0, 1)


@dataclass
class TheirScenario:
    """A stand-in for the package's class."""

    id: str
    archetype: str = ""
    reference_solution: list[str] = field(default_factory=list)
    checker: str = ""
    curator: str = ""


class TheirTrajectory:
    """A stand-in for the package's class: of its fields only these two are known."""

    def __init__(self, steps: int, meta: dict[str, Any], turns: list[dict[str, str]]) -> None:
        self.steps = steps
        self.meta = meta
        self.turns = turns
        self._cache = object()


def test_objects_are_read_by_the_fields_that_they_show() -> None:
    theirs = [
        TheirScenario("s", "copy", ["cp a b", "exit"], "test -e b", "tiara"),
        TheirTrajectory(1, {"clean": True}, TRAJECTORY["messages"][1:3]),
    ]
    (scenario,), (trajectory,), report = from_objects(theirs)
    assert scenario.reference_solution == ("cp a b", "exit")
    assert scenario.extra["curator"] == "tiara"
    assert (trajectory.steps, trajectory.clean) == (1, True)
    assert report.unknown == {"scenarios": {"curator": 1}}


def test_objects_of_theirs_are_made_of_ours_with_what_was_kept() -> None:
    (ours,), _, _ = from_objects([TheirScenario("s", "copy", ["exit"], "true", "tiara")])
    assert isinstance(ours, Scenario)
    (theirs,) = to_objects([ours], TheirScenario)
    assert theirs == TheirScenario("s", "copy", ["exit"], "true", "tiara")
    session = Trajectory.from_json(TRAJECTORY, "t")
    (made,) = to_objects([session], TheirTrajectory)
    assert made.steps == 2
    assert made.turns[0] == {"role": "system", "content": "orientation"}


def test_what_cannot_be_read_is_refused_by_name_and_the_rest_is_converted(
    source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (source / "scenarios" / "odd.json").write_text('{"hello": 1}')
    (source / "scenarios" / "broken.json").write_text("{")
    out = tmp_path / "out"
    assert run_command(["factory", "convert", str(source), "--out", str(out), "--json"]) == 1
    report = json.loads(capfd.readouterr().out)
    assert report["scenarios"] == 1
    assert report["refused"]["neither a scenario nor a trajectory"] == 1
    assert sum(report["refused"].values()) == 2


def test_a_folder_that_holds_files_is_not_written_over(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run_command(["factory", "convert", str(source), "--out", str(out)]) == 0
    assert run_command(["factory", "convert", str(source), "--out", str(out)]) == 2
