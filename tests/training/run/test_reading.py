"""One bad line stops no run, unless it is to; what was dropped and noted stands in every report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sekft_engine.records.events import Log, RowsReady
from sekft_engine.records.runs import read_events, read_run
from tests.training.conftest import Sekft
from tests.training.sessions import session

TOOL_CALL = {
    "id": "calls",
    "messages": [
        {"role": "user", "content": "$"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
    ],
}


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Six good sessions in a folder with two bad ones, half a line and a file of notes."""
    folder = tmp_path / "data"
    folder.mkdir()
    good = [session(number) for number in range(6)]
    good[0]["source"] = "web"
    turns = good[1]["turns"]
    assert isinstance(turns, list)
    turns[1]["weight"] = 0
    rows = [*map(json.dumps, good[:3]), json.dumps(TOOL_CALL), "{}", *map(json.dumps, good[3:])]
    (folder / "d.jsonl").write_text("\n".join([*rows, '{"id": "ha']))
    (folder / "notes.txt").write_text("")
    return folder


DROPPED = {"half_line": 1, "not_a_session": 1, "tool_calls": 1}
NOTES = {"unused:source": 1}
PASSED_OVER = {".txt": 1}


def test_a_run_goes_on_and_its_record_says_what_was_dropped(
    mixed: Path, tiny_base: Path, tmp_path: Path, typed: Sekft
) -> None:
    out = tmp_path / "run"
    words = ("train", "--base", str(tiny_base), "--data", str(mixed), "--out", str(out))
    status, _, err = typed(*words, "--rank", "4", "--max-steps", "1", "--json")
    assert status == 0, err
    facts = read_run(out).facts.data
    assert (facts.kept + facts.heldout, facts.dropped) == (6, DROPPED)
    assert (facts.notes, facts.passed_over, facts.untrained_commands) == (NOTES, PASSED_OVER, 1)
    told = list(read_events(out / "events.jsonl"))
    (ready,) = (event for event in told if isinstance(event, RowsReady))
    assert (ready.dropped, ready.notes, ready.passed_over) == (DROPPED, NOTES, PASSED_OVER)
    lines = " ".join(event.text for event in told if isinstance(event, Log))
    assert f"calls: {mixed / 'd.jsonl'}:4: turn 2: the command is in tool_calls" in lines
    assert "passed over in the folder: 1 .txt" in lines
    assert "1 trajectory: a field that is not used: source" in lines
    assert "1 dropped as tool_calls" in err


@pytest.mark.parametrize("command", ["train --inspect", "mask --stats"])
def test_reports_count_it_and_name_file_and_line(
    command: str, mixed: Path, smollm2: Path, typed: Sekft
) -> None:
    words = (*command.split(), "--base", str(smollm2), "--data", str(mixed))
    status, out, err = typed(*words, "--json")
    assert status == 0, err
    report = json.loads(out)
    assert (report["kept"], report["dropped"], report["notes"]) == (6, DROPPED, NOTES)
    assert report["passed_over"] == PASSED_OVER
    assert report["untrained_commands"] == 1
    assert f"{mixed / 'd.jsonl'}:4: turn 2" in report["examples"]["tool_calls"]
    status, out, err = typed(*words)
    assert status == 0, err
    for said in ("tool_calls, the first: calls:", "a field that is not used: source", "1 .txt"):
        assert said in " ".join(out.split())
    assert ":4: turn 2: the command is in tool_calls" in " ".join(out.split())


def test_mask_lists_what_could_not_be_read(mixed: Path, smollm2: Path, typed: Sekft) -> None:
    words = ("mask", "--base", str(smollm2), "--data", str(mixed))
    status, out, err = typed(*words, "--json")
    assert status == 0, err
    document = json.loads(out)
    assert len(document["trajectories"]) == 6
    assert {each["id"]: each["reason"] for each in document["dropped"]} == {
        "calls": "tool_calls", "d:5": "not_a_session", "d:9": "half_line"
    }  # fmt: skip
    assert (document["notes"], document["passed_over"]) == (NOTES, PASSED_OVER)
    status, out, _ = typed(*words, "--id", "calls")
    assert (status, "tool_calls: " in out) == (0, True)
    status, out, _ = typed(*words, "--filter", "dropped:yes", "--json")
    assert len(json.loads(out)["dropped"]) == 3


COMMANDS = {
    "train": "--max-steps 1 --out run",
    "inspect": "--inspect",
    "find-lr": "--find-lr --max-steps 4",
    "sweep": "--sweep table.toml --out sweep",
    "mask": "",
    "contract": "--endpoint http://127.0.0.1:9",
}


def run(command: str, data: Path, base: Path, typed: Sekft, *more: str) -> tuple[int, str]:
    first = {"mask": ["mask"], "contract": ["contract", "check"]}.get(command, ["train"])
    words = [*first, "--base", str(base), "--data", str(data), *COMMANDS[command].split(), *more]
    status, _, err = typed(*words)
    return status, err.strip().splitlines()[-1]


@pytest.mark.parametrize("empty", ["folder", "file", "blank lines"])
def test_nothing_to_read_is_the_same_error_from_every_command(
    empty: str, tmp_path: Path, tiny_base: Path, typed: Sekft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.toml").write_text("[grid]\nlr = [1e-3]\n")
    data = tmp_path / "data"
    if empty == "folder":
        data.mkdir()
    else:
        data = tmp_path / "d.jsonl"
        data.write_text("" if empty == "file" else "\n \n")
    told = {run(command, data, tiny_base, typed) for command in COMMANDS}
    assert len(told) == 1
    ((status, line),) = told
    assert status == 2
    assert f"{data}: no trajectories here" in line


def test_strict_stops_every_command_at_the_first_bad_line(
    mixed: Path, tiny_base: Path, tmp_path: Path, typed: Sekft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.toml").write_text("[grid]\nlr = [1e-3]\n")
    for command in COMMANDS:
        status, line = run(command, mixed, tiny_base, typed, "--strict")
        assert status == 2, command
        assert f"{mixed / 'd.jsonl'}:4: turn 2: the command is in tool_calls" in line, command
