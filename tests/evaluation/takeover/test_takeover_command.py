"""``sekft takeover``: lines in, answers out, in a plain terminal or a script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from sekft_engine.cli.takeover import HELP, command
from sekft_engine.core.errors import BadInput, Interrupted, JobFailed
from sekft_engine.data.scenario import Fixture, Scenario
from sekft_engine.data.workspace import Workspace
from sekft_engine.sources import load_trajectories
from tests.evaluation.takeover.test_takeover import record
from tests.tui.terminal import terminal
from tests.worlds.conftest import processes_with, unique_seconds, wait_until

Make = Callable[..., Scenario]


@pytest.fixture
def place(tmp_path: Path, tiny_base: Path, make_scenario: Make) -> Workspace:
    made = Workspace(tmp_path / "place").create()
    (made.bases / "tiny").symlink_to(tiny_base)
    text = json.dumps(make_scenario().to_json())
    (made.holdout_scenarios / "copy-1.json").write_text(text)
    return made


def takeover(place: Workspace, typed: str, *arguments: str) -> Result:
    return CliRunner().invoke(
        command, ["--workspace", str(place.root), *arguments], input=typed, standalone_mode=False
    )


def test_lines_are_typed_and_the_result_is_kept_and_told_as_json(
    place: Workspace, make_scenario: Make, tmp_path: Path
) -> None:
    record(place, make_scenario(), ["quil", "touch copy.txt", "exit"])
    kept = tmp_path / "kept"
    done = takeover(
        place, "cp word.txt copy.txt\nexit\n", "001", "copy-1", "--turn", "4",
        "--keep", str(kept), "--json",
    )  # fmt: skip
    assert done.return_value == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    assert (told["scenario"], told["run"], told["turn"]) == ("copy-1", "001-eval", 3)
    assert told["verdict"]["verified"]
    assert [turn["by"] for turn in told["turns"] if turn["role"] == "assistant"] == [
        "script", "hand", "hand",
    ]  # fmt: skip
    assert told["differences"] == []
    (one,) = load_trajectories(kept).trajectories
    assert one.id == told["kept"]["id"]
    assert "Copy word.txt to copy.txt" in done.stderr


def test_the_other_keys_are_lines_that_begin_with_a_tilde(place: Workspace, tmp_path: Path) -> None:
    keep = f"~keep {tmp_path / 'kept'}"
    lines = (
        "touch copy.txt", "~undo", "~lines", "cat <<E", "over two", "lines", "E", "~", "~~nobody",
        "~bogus", "~finish", "~undo 4", "cp word.txt copy.txt", "exit", keep,
    )  # fmt: skip
    done = takeover(place, "\n".join(lines), "--scenario", "copy-1")
    assert done.return_value == 0, done.output
    assert "over two\nlines\nuser@box" in done.stdout.replace("> ", "")
    assert "~nobody" in done.stdout
    assert "~back [N]" in done.stdout
    assert "cap after 2 commands: not verified" in done.stdout
    (kept,) = load_trajectories(tmp_path / "kept").trajectories
    assert kept.commands == ("cat <<E\nover two\nlines\nE", "cp word.txt copy.txt", "exit")


def test_the_folder_that_was_named_is_where_a_session_is_kept(
    place: Workspace, tmp_path: Path
) -> None:
    typed = "cp word.txt copy.txt\nexit\n~keep\n"
    done = takeover(place, typed, "--scenario", "copy-1", "--keep", str(tmp_path / "mine"))
    assert done.return_value == 0, done.output
    assert len(load_trajectories(tmp_path / "mine").trajectories) == 1


def test_what_is_refused_ends_in_an_error_and_is_told(place: Workspace, tmp_path: Path) -> None:
    done = takeover(place, "", "001", "copy-1")
    assert "no such run" in str(done.exception)
    done = takeover(place, "", "001")
    assert "which episode" in str(done.exception)
    done = takeover(place, "")
    assert "--scenario" in str(done.exception)
    done = takeover(place, "", "--scenario", "no-such")
    assert "--scenarios" in str(done.exception)
    assert isinstance(done.exception, BadInput)  # which ends in 2


@pytest.mark.slow
def test_killed_at_the_prompt_it_leaves_what_was_typed_and_no_world(place: Workspace) -> None:
    mark = unique_seconds()
    person = _typing(place, f"cp word.txt copy.txt\nsleep {mark} &\n")
    assert wait_until(lambda: _drafted(place) >= 2, 120.0)
    assert processes_with(mark)
    (draft,) = (place.root / "takeovers").iterdir()
    done = takeover(place, "exit\n", str(draft))
    assert "another process is typing it" in str(done.exception)
    os.killpg(person.pid, signal.SIGKILL)
    person.wait()
    assert wait_until(lambda: not processes_with(mark), 60.0)
    done = takeover(place, "exit\n", str(draft), "--json")
    told = json.loads(done.stdout)
    assert told["verdict"]["verified"]


@pytest.mark.slow
def test_killed_while_a_command_runs_it_names_that_command_and_does_not_run_it_again(
    place: Workspace,
) -> None:
    mark = unique_seconds()
    person = _typing(place, f"cp word.txt copy.txt\nsleep {mark}\n")
    assert wait_until(lambda: bool(processes_with(mark)), 120.0)
    os.killpg(person.pid, signal.SIGKILL)
    person.wait()
    (draft,) = (place.root / "takeovers").iterdir()
    done = takeover(place, "exit\n", str(draft))
    assert f"sleep {mark}: it may have run in part" in done.stdout
    assert f"$ sleep {mark}" not in done.stdout
    assert "exit after 2 commands: verified" in done.stdout


def _typing(place: Workspace, typed: str) -> subprocess.Popen[str]:
    """A session in a process of its own that stays at the prompt after ``typed``."""
    person = subprocess.Popen(
        [
            sys.executable, "-c", "from sekft_engine.cli.main import main; main()", "takeover",
            "--scenario", "copy-1", "--workspace", str(place.root),
        ],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert person.stdin is not None
    person.stdin.write(typed)
    person.stdin.flush()
    return person


def _drafted(place: Workspace) -> int:
    """How many commands lie on disk."""
    for path in (place.root / "takeovers").glob(".takeover-*.json"):
        return sum(turn["role"] == "assistant" for turn in json.loads(path.read_text())["turns"])
    time.sleep(0.05)
    return 0


def test_what_happens_otherwise_than_it_was_recorded_is_shown_with_both(
    place: Workspace, make_scenario: Make
) -> None:
    record(place, make_scenario(), ["quil", "cat word.txt", "ls"])
    bundle = make_scenario()
    other = msgspec.structs.replace(bundle, fixtures=(Fixture(path="word.txt", content="curlew"),))
    (place.holdout_scenarios / "copy-1.json").write_text(json.dumps(other.to_json()))
    done = takeover(place, "panic no plover\n", "001", "copy-1", "--turn", "6")
    assert done.return_value == 0, done.output
    lines = done.stdout.splitlines()
    [at] = [number for number, line in enumerate(lines) if line.startswith("turn 5: ")]
    assert lines[at + 1].startswith("  recorded: ")
    assert "plover" in lines[at + 1]
    assert lines[at + 2].startswith("  now:      ")
    assert "curlew" in lines[at + 2]


def test_leaving_saves_nothing(place: Workspace) -> None:
    done = takeover(place, "cp word.txt copy.txt\n~leave\n", "--scenario", "copy-1")
    assert isinstance(done.exception, Interrupted)
    assert not list((place.root / "takeovers").glob("*"))


def test_what_is_asked_at_the_wrong_time_is_told_and_does_nothing(
    place: Workspace, tmp_path: Path
) -> None:
    keep = f"~keep {tmp_path / 'kept'}"
    lines = (keep, "~undo 99", "cp word.txt copy.txt", "exit", "ls", "~back", keep)
    done = takeover(place, "\n".join(lines), "--scenario", "copy-1")
    assert done.return_value == 0, done.output
    assert "the session is not over: end it with exit or panic, or ~finish" in done.stdout
    assert "the session is over: ~keep, ~undo or ~leave" in done.stdout
    (kept,) = load_trajectories(tmp_path / "kept").trajectories
    assert kept.commands == ("cp word.txt copy.txt", "exit")


def test_a_session_that_training_would_pass_over_is_kept_with_the_reason(
    place: Workspace, tmp_path: Path
) -> None:
    done = takeover(place, f"exit\n~keep {tmp_path / 'kept'}\n", "--scenario", "copy-1")
    assert done.return_value == 0, done.output
    assert "exit after 1 command: not verified" in done.stdout
    assert "it will not be trained on: " in done.stdout


def test_a_folder_that_cannot_be_written_is_refused_and_the_session_lives(
    place: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    lines = (
        "cp word.txt copy.txt",
        "exit",
        f"~keep {tmp_path / 'file'}",
        f"~keep {tmp_path / 'b'}",
    )
    done = takeover(place, "\n".join(lines), "--scenario", "copy-1")
    assert done.return_value == 0, done.output
    assert str(tmp_path / "file") in done.stdout.split("kept: ")[0]
    assert len(load_trajectories(tmp_path / "b").trajectories) == 1


def test_a_world_that_cannot_be_made_ends_in_an_error(place: Workspace) -> None:
    done = takeover(place, "ls\n", "--scenario", "copy-1", "--userland", "nowhere")
    assert isinstance(done.exception, JobFailed)
    assert "no userland 'nowhere'" in str(done.exception)


def test_at_a_terminal_ctrl_c_interrupts_the_command_and_what_is_right_is_kept_at_once(
    place: Workspace, tmp_path: Path
) -> None:
    mark = unique_seconds()
    words = ("--scenario", "copy-1", "--keep", str(tmp_path / "kept"))
    place_of = ("--workspace", str(place.root))
    with terminal("takeover", *words, *place_of, cwd=tmp_path) as screen:
        screen.until_shown("~help lists what else you can do", "user@box")
        screen.press("ctrl+c")
        screen.until_shown("~leave leaves")
        screen.press(f"sleep {mark}", "enter")
        assert wait_until(lambda: bool(processes_with(mark)), 60.0)
        screen.press("ctrl+c")
        assert wait_until(lambda: not processes_with(mark), 60.0)
        screen.press("cp word.txt copy.txt", "enter", "exit", "enter")
        screen.until_shown("exit after 3 commands: verified", "kept: ")
        assert screen.ended() == 0
    (kept,) = load_trajectories(tmp_path / "kept").trajectories
    assert kept.commands[1:] == ("cp word.txt copy.txt", "exit")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo told; exit 3", "exit status 3, recorded 0"),
        ("kill -9 $PPID", "the session had ended by then"),
    ],
)
def test_another_exit_status_or_an_end_that_was_not_recorded_is_shown_too(
    place: Workspace, make_scenario: Make, script: str, said: str
) -> None:
    bundle = make_scenario()
    provider = msgspec.structs.replace(bundle.provider, script="#!/bin/sh\necho told\n")
    record(place, msgspec.structs.replace(bundle, provider=provider), ["quil", "ls", "ls"])
    now = msgspec.structs.replace(bundle.provider, script=f"#!/bin/sh\n{script}\n")
    bundle = msgspec.structs.replace(bundle, provider=now)
    (place.holdout_scenarios / "copy-1.json").write_text(json.dumps(bundle.to_json()))
    done = takeover(place, "", "001", "copy-1", "--turn", "6")
    assert said in done.output


def test_its_help_fits_a_terminal_of_80_columns() -> None:
    assert max(map(len, HELP.splitlines())) < 80
