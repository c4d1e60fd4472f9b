"""``sekft runs``: what was done, from the disk alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sekft_engine.cli.main import run as sekft
from sekft_engine.cli.runs.command import command
from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events
from sekft_engine.records.runs import create_run
from sekft_engine.records.upkeep.trash import discard, last_deleted


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


def test_a_run_is_given_a_title_and_tags_that_the_list_shows(workspace: Path) -> None:
    here = ("--workspace", str(workspace))
    said = document("note", "001", "--title", "small rank", "--tags", "good, keep", *here)
    assert said == {"run": "001-train", "title": "small rank", "note": "", "tags": ["good", "keep"]}
    said = document("note", "001", "--note", "a first try", *here)
    assert (said["title"], said["note"]) == ("small rank", "a first try")
    listed = document("list", *here)["runs"][0]["notes"]
    assert listed == {"title": "small rank", "note": "a first try", "tags": ["good", "keep"]}
    shown = CliRunner().invoke(command, ["list", *here]).stdout
    assert '"small rank"  #good  #keep' in shown


def test_a_deleted_run_is_taken_back_from_the_trash(workspace: Path) -> None:
    here = ("--workspace", str(workspace))
    place = Path(document("delete", "001", *here)["path"])
    assert place == workspace / "trash" / "001-train"
    assert [run["id"] for run in document("list", *here)["runs"]] == ["002-train"]
    assert document("restore", "001-train", *here)["run"] == "001-train"
    assert len(document("list", *here)["runs"]) == 2
    assert sekft(["runs", "restore", "009-never", *here]) == 2
    assert sekft(["runs", "restore", "../runs", *here]) == 2


def test_of_two_deleted_under_one_name_the_last_is_taken_back(workspace: Path) -> None:
    here = ("--workspace", str(workspace))
    document("delete", "001", *here)
    (workspace / "runs" / "002-train").rename(workspace / "runs" / "001-train")
    assert document("delete", "001-train", *here)["path"].endswith("trash/001-train~2")
    document("restore", "001-train", *here)
    assert not (workspace / "trash" / "001-train~2").exists()
    assert sekft(["runs", "restore", "001-train", *here]) == 2, "the name is taken"


def test_of_a_dozen_deleted_under_one_name_the_last_is_taken_back(workspace: Path) -> None:
    here = ("--workspace", str(workspace))
    for number in range(1, 12):
        run = workspace / "runs" / "001-train"
        run.mkdir(exist_ok=True)
        (run / "number").write_text(str(number))
        discard(run)
    document("restore", "001-train", *here)
    assert (workspace / "runs" / "001-train" / "number").read_text() == "11"
    assert last_deleted(workspace / "runs") == "001-train"


def test_folders_that_are_no_runs_are_listed_with_the_reason(workspace: Path) -> None:
    (workspace / "runs" / "020-x").mkdir()
    os.mkfifo(workspace / "runs" / "020-x" / "run.json")
    found = document("list", "--workspace", str(workspace))["unreadable"]
    assert [Path(one["path"]).name for one in found] == ["020-x"]
    assert "not a regular file" in found[0]["why"]
    plain = said("list", "--workspace", str(workspace))
    assert "020-x: cannot be read as a run: " in plain


def said(*arguments: str) -> str:
    """What a command prints for a person."""
    done = CliRunner().invoke(command, [*arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_each_command_says_in_a_line_what_it_did(workspace: Path, tmp_path: Path) -> None:
    here = ("--workspace", str(workspace))
    assert said("note", "001", "--title", "small", *here).splitlines() == [
        "title  small",
        "note   -",
        "tags   -",
    ]
    trash = workspace / "trash" / "001-train"
    told = f"001-train is in {trash}; sekft runs restore 001-train takes it back\n"
    assert said("delete", "001", *here) == told
    place = workspace / "runs" / "001-train"
    assert said("restore", "001-train", *here) == f"001-train is among the runs again: {place}\n"
    target = tmp_path / "copy"
    assert said("export", "001", str(target), *here) == f"001-train -> {target}\n"


def add(workspace: Path, kind: str, result: Mapping[str, Any], **more: Any) -> Path:
    """Another run with a result, as the engine writes it."""
    run = create_run(workspace / "runs", kind, about={})
    run.write(status=more.get("status", "done"), result=result, error=more.get("error", ""))
    run.close()
    return run.folder


def test_the_list_has_the_gist_of_every_kind_of_run(workspace: Path) -> None:
    subject = {"name": "base", "n": 8, "clean_termination": 3}
    facts = {"kinds": {"solved": 2, "doable": 5}}
    row = {"split": "seen", "kind": "adapter", "name": "adapter", "facts": facts}
    stages = [{"name": "a", "kind": "eval", "status": "done"}, {"name": "b", "kind": "eval"}]
    point = {"run": "005-sweep-01"}
    add(workspace, "eval", {"subjects": [subject]})
    add(workspace, "shell", {"subject": "base", "outcome": "exit", "steps": 4, "touched": True})
    add(workspace, "sweep", {"points": [point, point], "finished": 1, "best": "005-sweep-01"})
    add(workspace, "experiment", {"rows": [row], "stages": stages})
    rounds = [{"round": 0}, {"round": 1, "sampled": 10, "solved": 4}]
    add(workspace, "improve", {"rounds": rounds})
    failed = add(workspace, "train", {}, status="failed", error="\x1b[31mno memory")
    shown = said("list", "--workspace", str(workspace))
    for gist in (
        "base 3/8",
        "base: exit after 4 commands, not verified, touched",
        "1 of 2 points, best 005-sweep-01",
        "1 of 2 stages  solved seen 2/5",
        "right 4/10",
        "␛[31mno memory",
    ):
        assert gist in shown
    assert "\nerror: ␛[31mno memory\n" in said("show", str(failed))


def episode(folder: Path, name: str) -> None:
    path = folder / "episodes" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    turns = [("user", "Orders: quil\nuser@box:~$"), ("assistant", "quil"), ("user", "bye")]
    stored = {
        "id": name,
        "turns": [{"role": role, "content": content} for role, content in turns],
        "outcome": "exit",
        "verified": True,
        "keep": True,
        "meta": {"subject": "base"},
    }
    path.write_text(json.dumps(stored))


def test_an_episode_is_written_as_a_recording_for_asciinema(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = add(workspace, "eval", {"subjects": []})
    episode(folder, "base-world-1")
    episode(folder, "base-world-2")
    target = tmp_path / "it.cast"
    here = ("--workspace", str(workspace))
    assert said("cast", "003", "world-1", str(target), *here) == f"base-world-1 -> {target}\n"
    head, *frames = map(json.loads, target.read_text().splitlines())
    assert head["version"] == 2
    assert "quil" in "".join(text for _, _, text in frames)
    assert sekft(["runs", "cast", "003", "world", str(target), *here]) == 2
    assert "2 episodes have that in their names: world" in capsys.readouterr().err
    assert sekft(["runs", "cast", "003", "moon", str(target), *here]) == 2
    assert "no such episode: moon" in capsys.readouterr().err
    assert sekft(["runs", "cast", "001", "world", str(target), *here]) == 2
    assert "(run the eval first)" in capsys.readouterr().err


def test_what_is_no_run_of_a_workspace_is_not_deleted(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = (workspace / "runs" / "001-train").rename(tmp_path / "mine")
    assert sekft(["runs", "delete", str(elsewhere)]) == 2
    assert "no folder among a workspace's runs (rm -r it)" in capsys.readouterr().err
    assert elsewhere.is_dir()


def test_notes_that_are_too_long_or_no_tags_are_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ("--workspace", str(workspace))
    assert sekft(["runs", "note", "001", "--title", "x" * 500, *here]) == 2
    assert "a title is one line" in capsys.readouterr().err
    assert sekft(["runs", "note", "001", "--tags", "y" * 500, *here]) == 2
    assert "a tag is one word" in capsys.readouterr().err
    assert document("list", *here)["runs"][0]["notes"] == {}, "nothing is written down"


def test_an_episode_of_somebody_who_did_not_act_is_refused_with_those_who_did(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = add(workspace, "eval", {"subjects": [{"name": "base", "n": 1}]})
    episode(folder, "base--world-1")
    asked = ["runs", "replay", "003", "world-1", "--beside", "tuned"]
    assert sekft([*asked, "--workspace", str(workspace)]) == 2
    said = capsys.readouterr().err
    assert "tuned has no episode in" in said
    assert "base" in said
