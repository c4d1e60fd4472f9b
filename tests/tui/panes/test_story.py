"""The main story in a real terminal with the real engine: browse, train, watch, eval, replay."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events
from sekft_engine.records.runs import list_runs, read_events
from tests.tui.terminal import SEKFT, terminal
from tests.tui.trains import train_for_ever


@pytest.mark.slow
def test_a_person_does_the_whole_loop_by_keyboard_in_80_by_24(
    workspace: Workspace, tmp_path: Path
) -> None:
    with terminal("tui", "--workspace", str(workspace.root), cwd=tmp_path) as screen:
        # Browse what is masked.
        screen.until_shown("12 trajectories · 11 kept", "✓ certified", "▌ warden --help<|im_end|>")
        screen.press("j", "enter", "l", "l", "l")
        screen.until_shown("turn 4/6", "▌ cat notes-1")
        screen.press("m")
        screen.until_shown("trained only")

        # Train two steps and watch.
        screen.press("2")
        screen.until_shown("max steps", "start")
        screen.press(*"j" * 10, "enter", "ctrl+u", "2", "enter")
        screen.until(lambda text: re.search(r"max steps +2\b", text), "two steps")
        screen.press("s")
        screen.until_shown("train ")
        screen.until_shown("step 2/2", "✓ done", "saved at step 2")
        screen.until(lambda text: re.search("[\u2800-\u28ff]", text), "a curve")

        # Evaluate base and adapter in sandboxed worlds.
        screen.press("3")
        screen.until_shown("[x] base", "[x] 001-train", "2 held out")
        screen.press(*"j" * 5, "enter", "ctrl+u", "2", "enter")
        screen.until(lambda text: re.search(r"step cap +2\n", text), "two commands at most")
        screen.press("s")
        screen.until_shown("The step cap of 2 is below the reference solution")
        screen.press("y")
        screen.until_shown("4 of 4 episodes", "✓ done", "n=2")

        # Replay an episode.
        screen.press("enter")
        screen.until_shown("held-000", "base", "v verdict")
        screen.press("g")
        screen.until_shown("turn 1/")
        screen.press(">", ">", ">", " ")
        screen.until_shown("8×", "── verdict", "was cut off")
        screen.press("i")
        screen.until_shown("final world against the reference's", "- ~/done  not there")
        screen.press("w")
        screen.until_shown("base", "001-train", "turn")
        screen.press("w")

        # The run is in the list, and shows the same curve.
        screen.press("5")
        screen.until_shown("002-eval", "001-train", "2 steps")
        screen.press("j", "enter")
        screen.until_shown("001-train", "step 2/2")
        screen.press("q")
        screen.until_shown("is loaded; loading it took")
        screen.press("q")
        assert screen.ended() == 0

    runs = list_runs(workspace.runs)
    assert [(run.kind, run.status) for run in runs] == [("train", "done"), ("eval", "done")]
    assert (Path(runs[0].adapter) / "adapter_model.safetensors").is_file()
    assert len(list((workspace.runs / "002-eval" / "episodes").glob("*.json"))) == 4


@pytest.mark.slow
def test_a_run_with_an_adapter_name_is_resumed_in_the_workbench_that_stopped_it(
    workspace: Workspace, tmp_path: Path
) -> None:
    with terminal("tui", "--workspace", str(workspace.root), cwd=tmp_path) as screen:
        screen.until_shown("12 trajectories")
        screen.press("2")
        screen.until_shown("epochs")
        screen.press(*"j" * 9, "enter", "ctrl+u", *"40", "enter")
        screen.press("G", *"kkkk", "enter", *"cat", "enter")
        screen.until_shown("adapter name   cat")
        screen.press("s")
        screen.until(lambda text: re.search(r"step [1-9][\d,]*/[\d,]+ ", text), "steps")
        screen.press("x")
        screen.until_shown("u in Runs resumes")
        assert list_runs(workspace.runs)[0].status == "stopped"
        screen.press("5")
        screen.until(lambda text: re.search("■ +001-train-cat", text), "it is listed as stopped")
        screen.press("u")
        screen.until_shown("✓ done")
        screen.press("5")
        screen.until(lambda text: re.search("✓ +001-train-cat", text), "done")
        screen.press("q")
        screen.until_shown("is loaded; loading it took")
        screen.press("q")
        assert screen.ended() == 0
    (run,) = list_runs(workspace.runs)
    assert (run.id, run.status) == ("001-train-cat", "done")


@pytest.mark.slow
def test_a_lost_connection_saves_the_run(workspace: Workspace, tmp_path: Path) -> None:
    with terminal("tui", "--workspace", str(workspace.root), cwd=tmp_path) as screen:
        train_for_ever(screen)
        screen.hang_up()
        assert screen.ended() == 128 + signal.SIGHUP
    run = list_runs(workspace.runs)[0]
    journal = read_events(run.events_path)
    assert any(isinstance(event, events.StepDone) for event in journal)
    assert isinstance(journal[-1], events.JobCancelled)
    assert (Path(run.adapter) / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_leaves_a_living_terminal_as_it_was_found(
    workspace: Workspace, tmp_path: Path, number: signal.Signals
) -> None:
    with terminal("tui", "--workspace", str(workspace.root), cwd=tmp_path) as screen:
        screen.until_shown("12 trajectories", "certified")
        assert screen.faults_at_rest, "the workbench has asked the terminal for something"
        screen.program.send_signal(number)
        assert screen.ended() == 128 + number
        screen.read_all()
        assert screen.faults_at_rest == []


@pytest.mark.slow
def test_a_signal_while_a_run_is_trained_saves_it_and_leaves_the_terminal_as_it_was_found(
    workspace: Workspace, tmp_path: Path
) -> None:
    with terminal("tui", "--workspace", str(workspace.root), cwd=tmp_path) as screen:
        train_for_ever(screen)
        screen.program.send_signal(signal.SIGHUP)
        assert screen.ended() == 128 + signal.SIGHUP
        screen.read_all()
        assert screen.faults_at_rest == []
        left = screen.text
    run = list_runs(workspace.runs)[0]
    journal = read_events(run.events_path)
    done = [event.step for event in journal if isinstance(event, events.StepDone)]
    assert re.search(rf"001-train: step {done[-1]} of \d+, loss [\d.]+; 1 unfinished: ", left)
    assert "offers to resume" in left
    assert re.search("leaving: .* saved …", left)
    assert isinstance(journal[-1], events.JobCancelled)
    assert (Path(run.adapter) / "adapter_model.safetensors").is_file()


#: Runs sekft as make does: it leads the session, and the hang-up reaches it alone.
LEADER = """
import signal, subprocess, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
sys.exit(subprocess.run([sys.executable, "-c", *sys.argv[1:]]).returncode)
"""


def test_a_terminal_that_goes_takes_the_workbench_along_even_if_nobody_tells_it(
    workspace: Workspace, tmp_path: Path
) -> None:
    words = ("tui", "--workspace", str(workspace.root))
    with terminal(SEKFT, *words, cwd=tmp_path, code=LEADER) as screen:
        screen.until_shown("12 trajectories")
        screen.hang_up()
        assert screen.ended() == 128 + signal.SIGHUP


@pytest.mark.slow
def test_leaving_now_leaves_now_and_what_is_on_disk_is_whole(
    workspace: Workspace, tmp_path: Path
) -> None:
    with terminal("tui", "--workspace", str(workspace.root), cwd=tmp_path) as screen:
        train_for_ever(screen)
        screen.press("q")
        screen.until_shown("still running")
        screen.press("q")
        assert screen.ended() == 0
    journal = read_events(list_runs(workspace.runs)[0].events_path)
    assert any(isinstance(event, events.StepDone) for event in journal)


NOISY = """
import os, sys, threading, time
import sekft_tui.app as app
mounted = app.Workbench.on_mount
def on_mount(self):
    mounted(self)
    os.write(2, b"NATIVE NOISE ON STDERR")
    os.write(1, b"NATIVE NOISE ON STDOUT")
app.Workbench.on_mount = on_mount
from sekft_engine.cli.main import main
main()
"""


def test_what_native_code_writes_goes_to_the_log_and_not_on_the_screen(
    workspace: Workspace, tmp_path: Path
) -> None:
    arguments = ("tui", "--workspace", str(workspace.root))
    with terminal(*arguments, cwd=tmp_path, code=NOISY) as screen:
        shown = screen.until_shown("12 trajectories", "certified")
        assert "NATIVE" not in shown
        screen.press("q")
        assert screen.ended() == 0
        assert "NATIVE" not in screen.text
    log = (tmp_path / "state" / "sekft" / "tui.log").read_text()
    assert "NATIVE NOISE ON STDERR" in log
    assert "NATIVE NOISE ON STDOUT" in log


#: Counts in the file ``looks`` how often the workbench looked for something new to draw.
COUNTED = """
from sekft_tui.app import Workbench
original = Workbench.pull
def pull(self):
    original(self)
    with open("looks", "a") as file:
        file.write(".")
Workbench.pull = pull
from sekft_engine.cli.main import main
main()
"""
#: So often it looks in two seconds.
LOOKS = 12


def test_an_idle_workbench_sends_nothing(workspace: Workspace, tmp_path: Path) -> None:
    arguments = ("tui", "--workspace", str(workspace.root))
    with terminal(*arguments, cwd=tmp_path, code=COUNTED) as screen:
        screen.until_shown("12 trajectories", "certified")
        looks = tmp_path / "looks"
        before, since = -1, 0

        def is_quiet(_text: str) -> bool:
            """Nothing was sent while it looked so often; else begin to count again."""
            nonlocal before, since
            if screen.received != before:
                before, since = screen.received, looks.stat().st_size
            return looks.stat().st_size >= since + LOOKS

        screen.until(is_quiet, "quiet")
        screen.press("q")
        assert screen.ended() == 0


PAINTED = """
import sys, json, atexit
from pathlib import Path
from sekft_tui.app import Workbench
from sekft_tui.widgets.bars import TabBar
original = Workbench.pull
def pull(self):
    original(self)
    if self.query(TabBar) and self.screen.is_current and not Path("seen").exists():
        heavy = [n for n in ("torch", "transformers", "peft", "bitsandbytes", "tokenizers")
                 if n in sys.modules]
        Path("seen").write_text(json.dumps(heavy))
Workbench.pull = pull
from sekft_engine.cli.main import main
main()
"""


def test_the_first_paint_needs_neither_torch_nor_tokenizers(
    workspace: Workspace, tmp_path: Path
) -> None:
    for path in workspace.trajectories.glob("*.json"):
        path.unlink()
    arguments = ("tui", "--workspace", str(workspace.root))
    with terminal(*arguments, cwd=tmp_path, code=PAINTED) as screen:
        screen.until_shown("1 Trajectories", "no trajectories")
        screen.press("q")
        assert screen.ended() == 0
    assert json.loads((tmp_path / "seen").read_text()) == []


def test_keys_that_come_before_the_panes_are_there_do_what_they_say(
    workspace: Workspace, tmp_path: Path
) -> None:
    with terminal("tui", "--workspace", str(workspace.root), cwd=tmp_path) as screen:
        screen.until_shown("1 Trajectories")
        screen.press("6", "2", "j", "j")
        screen.until_shown("LoRA rank r")
        screen.press("q")
        assert screen.ended() == 0


def test_without_a_terminal_there_is_a_clear_refusal(workspace: Workspace) -> None:
    import subprocess
    import sys

    from tests.tui.terminal import ROOT, SEKFT

    done = subprocess.run(
        [sys.executable, "-c", SEKFT, "tui", "--workspace", str(workspace.root)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_base_that_there_is_not_is_refused_before_the_screen(workspace: Workspace) -> None:
    from tests.tui.terminal import terminal

    words = ("tui", "--workspace", str(workspace.root), "--base")
    with terminal(*words, "nope", cwd=workspace.root, size=(80, 24)) as shown:
        shown.until_shown("sekft: error: nope: no such base")
        assert shown.ended() == 2
        assert not shown.ever_on - shown.modes, "no screen was opened"
    with terminal(*words, "smollm2-1350m/", cwd=workspace.root, size=(80, 24)) as shown:
        shown.until_shown("no such base")
        assert shown.ended() == 2
