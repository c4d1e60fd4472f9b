"""What leaves the workbench: exported files, a pager, an editor, a shell, and ctrl+z."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from sekft_engine.data.workspace import Workspace
from sekft_tui.app import Workbench
from sekft_tui.process.exporting import as_csv, as_json
from tests.tui.screen import until, until_shown
from tests.tui.scripted import ScriptedEngine, evaluation, watched
from tests.tui.stored import stored_episode, stored_run
from tests.tui.terminal import terminal

Make = Callable[[], Workbench]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_a_curve_is_exported_as_csv_and_json(
    make_app: Make, engine: ScriptedEngine, here: Path
) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("2", "s")
        engine.say(*watched(60, nan=7))
        await until_shown(pilot, "step 60/60")
        await pilot.press("E")
        await until_shown(pilot, "export to", "0001-train.csv")
        await pilot.press("enter")
        await until_shown(pilot, "written to")
        await pilot.press("E", "ctrl+u", *"curve.json", "enter")
        await until(pilot, (here / "curve.json").exists, "the file")
    (written,) = here.glob("sekft-0001-train.csv")
    rows = list(csv.DictReader(written.open()))
    assert [float(row["step"]) for row in rows] == list(range(1, 61))
    assert rows[6]["norm"] == "", "what is not finite is empty"
    assert float(rows[9]["heldout"]) > 0
    document = json.loads((here / "curve.json").read_text())
    assert document["rows"][6]["norm"] is None
    assert document["run"] == "0001-train"


async def test_verdicts_runs_and_episodes_are_exported_too(
    make_app: Make, workspace: Workspace, here: Path
) -> None:
    script = evaluation({"base": ["good", "cap"], "tuned": ["good", "good"]}, 2)
    run = stored_run(workspace, "001-eval", script, kind="eval")
    stored_episode(run, "base", "held-000", ("warden", "ok \x1b[31mred"), ("exit", ""))
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "1 run", "001-eval")
        await pilot.press("E", "ctrl+u", *"runs.csv", "enter", "enter")
        await until(pilot, (here / "runs.csv").exists, "runs")
        await until_shown(pilot, "from its journal")
        await pilot.press("E", "ctrl+u", *"verdicts.csv", "enter", "4")
        await until(pilot, (here / "verdicts.csv").exists, "verdicts")
        await until_shown(pilot, "1 episode")
        await pilot.press("E", "ctrl+u", *"episode.cast", "enter")
        await until(pilot, (here / "episode.cast").exists, "the cast")
        await pilot.press("E", "ctrl+u", *"picture.svg", "enter")
        await until(pilot, (here / "picture.svg").exists, "the picture")
    assert [row["run"] for row in csv.DictReader((here / "runs.csv").open())] == ["001-eval"]
    verdicts = list(csv.DictReader((here / "verdicts.csv").open()))
    assert [row["subject"] for row in verdicts] == ["base", "base", "tuned", "tuned"]
    assert verdicts[1]["outcome"] == "cap"
    head, *lines = (here / "episode.cast").read_text().splitlines()
    assert json.loads(head)["version"] == 2, "which every player plays"
    assert all("\x1b[31m" not in json.loads(line)[2] for line in lines), "nothing acts when played"
    ET.parse(here / "picture.svg")


async def test_an_export_never_overwrites_and_says_what_the_ending_may_be(
    make_app: Make, here: Path
) -> None:
    (here / "mine.txt").write_text("mine")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("6", "E", "ctrl+u", *"mine.txt", "enter")
        await until_shown(pilot, "already there")
        await pilot.press("ctrl+u", *"log.pdf", "enter")
        await until_shown(pilot, "the ending says what is written: .txt .svg")
        await pilot.press("escape")
    assert (here / "mine.txt").read_text() == "mine"


def test_a_cell_is_no_formula_and_numbers_that_are_not_finite_are_empty() -> None:
    columns: dict[str, list[Any]] = {"a": ["=1+1", "x"], "b": [float("nan"), 2.5]}
    assert as_csv(columns) == b"a,b\n'=1+1,\nx,2.5\n"
    assert json.loads(as_json(columns, run="r"))["rows"][0] == {"a": "=1+1", "b": None}


@pytest.mark.slow
def test_the_pager_and_the_editor_have_the_terminal_until_they_end(
    workspace: Workspace, tmp_path: Path
) -> None:
    """The pager gets a text in which nothing acts; the editor gets the file itself."""
    tool = program(tmp_path, 'cat "$1" > "$0.seen"\necho "$1" > "$0.name"\nread key\n')
    environ = {"PAGER": str(tool), "VISUAL": str(tool), "XDG_STATE_HOME": str(tmp_path / "state")}
    with terminal(
        "tui", "--workspace", str(workspace.root), cwd=tmp_path, environ=environ
    ) as shown:
        shown.until_shown("12 trajectories", "certified")
        modes = shown.modes
        assert shown.faults_at_rest, "the workbench has asked the terminal for something"
        shown.press("|")
        shown.until(lambda _: (tmp_path / "tool.name").exists(), "the pager")
        assert shown.faults_at_rest == []
        seen = (tmp_path / "tool.seen").read_text()
        assert "\x1b" not in seen
        assert "␛[31mred" in seen
        shown.press("enter")
        shown.until_shown("12 trajectories")
        shown.until(lambda _: shown.modes == modes, "what the workbench asked for, again")
        (tmp_path / "tool.name").unlink()
        shown.press("\x05")
        shown.until(lambda _: (tmp_path / "tool.name").exists(), "the editor")
        assert (tmp_path / "tool.name").read_text().strip().endswith("trajectories/000.json")
        assert shown.faults_at_rest == []
        shown.press("enter")
        shown.until_shown("12 trajectories")
        shown.until(lambda _: shown.modes == modes, "what the workbench asked for, again")
        shown.press("q")
        assert shown.ended() == 0
        shown.read_all()
        assert shown.faults_at_rest == []


@pytest.mark.slow
def test_a_shell_is_opened_in_the_folder_of_a_run_and_exit_comes_back(
    workspace: Workspace, tmp_path: Path
) -> None:
    run = stored_run(workspace, "001-train", watched(3))
    shell = program(tmp_path, 'pwd > "$0.where"\necho "a shell"\nread line\n')
    environ = {"SHELL": str(shell), "XDG_STATE_HOME": str(tmp_path / "state")}
    words = ("tui", "--workspace", str(workspace.root))
    with terminal(*words, cwd=tmp_path, environ=environ) as shown:
        shown.until_shown("12 trajectories")
        shown.press("5")
        shown.until_shown("1 run", "001-train")
        shown.press("O")
        shown.until_shown("a shell")
        assert Path((tmp_path / "tool.where").read_text().strip()) == run
        assert shown.faults_at_rest == []
        shown.press("exit", "enter")
        shown.until_shown("1 run", "001-train")
        shown.press("q")
        assert shown.ended() == 0


def program(folder: Path, script: str) -> Path:
    """A program that stands for a pager, an editor or a shell."""
    path = folder / "tool"
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)
    return path


#: Leads the session as a shell does: runs the workbench, takes the terminal when that has stopped,
#: and wakes it when it is told to.
SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
pid = os.fork()
if not pid:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    from sekft_engine.cli.main import main
    main()
os.setpgid(pid, pid) if os.getpgid(pid) != pid else None
_, status = os.waitpid(pid, os.WUNTRACED)
os.tcsetpgrp(0, os.getpid())
print("the shell" if os.WIFSTOPPED(status) else "it has ended")
sys.stdin.readline()
os.tcsetpgrp(0, pid)
os.killpg(pid, signal.SIGCONT)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.slow
def test_ctrl_z_gives_the_shell_back_and_fg_the_workbench(
    workspace: Workspace, tmp_path: Path
) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    words = ("tui", "--workspace", str(workspace.root))
    with terminal(*words, cwd=tmp_path, environ=environ, code=SHELL) as shown:
        shown.until_shown("12 trajectories", "certified")
        modes = shown.modes
        assert shown.faults_at_rest
        shown.press("\x1a")
        shown.until_shown("the shell")
        assert shown.faults_at_rest == []
        shown.press("fg", "enter")
        shown.until_shown("12 trajectories")
        shown.until(lambda _: shown.modes == modes, "what the workbench asked for, again")
        shown.press("6")
        shown.until_shown("entries")
        shown.press("q")
        assert shown.ended() == 0


@pytest.mark.slow
def test_ctrl_z_in_the_pager_does_not_stop_the_workbench_and_its_job(
    workspace: Workspace, tmp_path: Path
) -> None:
    """Nor does a program that stops its whole group, as some editors do."""
    tool = program(tmp_path, "echo reading\nread key\nkill -STOP 0\necho went on\nread key\n")
    environ = {"PAGER": str(tool), "XDG_STATE_HOME": str(tmp_path / "state")}
    words = ("tui", "--workspace", str(workspace.root))
    with terminal(*words, cwd=tmp_path, environ=environ, code=SHELL) as shown:
        shown.until_shown("12 trajectories", "certified")
        shown.press("|")
        shown.until_shown("reading")
        shown.press("\x1a", "enter")
        shown.until_shown("went on")
        shown.press("\x1a", "enter")
        shown.until_shown("12 trajectories")
        shown.press("6")
        shown.until_shown("entries")
        shown.press("q")
        shown.until_shown("it has ended")
        assert b"the shell" not in shown.sent


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_a_shell_of_the_workbench_has_its_own_job_control(
    workspace: Workspace, tmp_path: Path
) -> None:
    stored_run(workspace, "001-train", watched(3))
    shell = program(tmp_path, "PS1='a shell: ' exec bash --norc -i\n")
    environ = {"SHELL": str(shell), "XDG_STATE_HOME": str(tmp_path / "state")}
    words = ("tui", "--workspace", str(workspace.root))
    with terminal(*words, cwd=tmp_path, environ=environ, code=SHELL) as shown:
        shown.until_shown("12 trajectories")
        shown.press("5")
        shown.until_shown("1 run", "001-train")
        shown.press("O")
        shown.until_shown("a shell:")
        shown.press("echo rea''dy; cat", "enter")
        shown.until_shown("ready")
        shown.press("\x1a")
        shown.until_shown("Stopped")
        shown.press("fg", "enter")
        shown.until(lambda text: "\ncat\n" in text, "cat goes on")
        shown.press("\x03")
        shown.until(lambda text: text.count("a shell:") == 3, "the shell again")
        shown.press("exit", "enter")
        shown.until_shown("1 run", "001-train")
        shown.press("q")
        shown.until_shown("it has ended")
        assert b"the shell" not in shown.sent


async def test_ctrl_z_says_why_it_does_not_stop_a_run(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("2", "s")
        engine.say(*watched(60, upto=5))
        await until_shown(pilot, "step 5/60")
        await pilot.press("ctrl+z")
        await until_shown(
            pilot, "training runs in this process and would stop, too; & moves it out"
        )
    assert psutil.Process(os.getpid()).status() != psutil.STATUS_STOPPED
    assert signal.getsignal(signal.SIGTSTP) is not None
