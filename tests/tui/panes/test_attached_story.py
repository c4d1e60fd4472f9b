"""Start on the box, train, lose the workbench, come back: real processes, terminals and kills."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.socket.client import Client, connect, live_engine, wait_until_gone
from sekft_engine.records import events
from sekft_engine.records.journal import effective_events
from sekft_engine.records.runs import list_runs, read_events
from tests.engine.socket.conftest import PATIENCE, runtime
from tests.tui.terminal import Terminal, terminal

__all__ = ["runtime"]


@pytest.fixture
def environment(runtime: Path, workspace: Workspace) -> Iterator[dict[str, str]]:
    """Where sockets go; an engine that a test has started is ended."""
    yield {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "OMP_NUM_THREADS": "1"}
    found = live_engine(workspace)
    if found is not None:
        psutil.Process(found.pid).kill()


def sekft(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sekft_engine", *words],
        env=environment, capture_output=True, text=True, check=True, timeout=PATIENCE,
    )  # fmt: skip


def train_for_ever(screen: Terminal) -> None:
    screen.until_shown("12 trajectories")
    screen.press("2")
    screen.until_shown("epochs")
    screen.press(*"j" * 9, "enter", "ctrl+u", *"9000", "enter", "s")
    trained(screen, 3)


def trained(screen: Terminal, more_than: int) -> int:
    """Wait for a step after this one; returns the step on the screen."""

    def step(text: str) -> int:
        found = re.search(r"step (\d+)/\d+ ", text)
        return int(found[1]) if found else 0

    return step(screen.until(lambda text: step(text) > more_than, f"after step {more_than}"))


def journals(place: Workspace) -> list[events.Event]:
    """All that the engine said, of which nothing was said twice."""
    paths = [place.root / "engine.jsonl", *(run.events_path for run in list_runs(place.runs))]
    return [event for path in paths for event in read_events(path)]


def steps(place: Workspace) -> list[int]:
    happened = effective_events(read_events(list_runs(place.runs)[0].events_path))
    return [event.step for event in happened if isinstance(event, events.StepDone)]


@pytest.mark.slow
def test_the_run_goes_on_when_the_workbench_is_killed_and_nothing_is_missing(
    workspace: Workspace, tmp_path: Path, environment: dict[str, str]
) -> None:
    where = ("--workspace", str(workspace.root))
    told = json.loads(sekft(environment, "resident", "--detach", "--base", "tiny", *where).stdout)
    with terminal("tui", *where, cwd=tmp_path, environ=environment) as screen:
        screen.until_shown("⇄ idle")
        train_for_ever(screen)
        seen = trained(screen, 4)
        os.kill(screen.program.pid, signal.SIGKILL)
        assert screen.ended() == -signal.SIGKILL
    with terminal("tui", "--attach", *where, cwd=tmp_path, environ=environment) as screen:
        screen.until_shown("⇄ ▸ train")
        screen.press("2")
        trained(screen, seen + 2)
        screen.press("x")
        last = screen.until_shown("■ stopped", "⇄ idle")
        screen.press("q")
        assert screen.ended() == 0
    done = steps(workspace)
    assert done == list(range(1, len(done) + 1)), "no step is missing, and none happened twice"
    assert f"step {done[-1]}/" in last
    assert isinstance(
        read_events(list_runs(workspace.runs)[0].events_path)[-1], events.JobCancelled
    )

    # A command uses the same engine.
    data = ("--data", str(workspace.trajectories), "--max-steps", "2", "--json")
    command = sekft(environment, "train", *where, *data)
    result: dict[str, Any] = json.loads(command.stdout)
    assert result["steps"] == 2
    assert f"on the engine of this workspace (pid {told['pid']})" in command.stderr
    loaded = [event for event in journals(workspace) if isinstance(event, events.BaseLoaded)]
    assert len(loaded) == 1, "for all of them"
    sekft(environment, "resident", "stop", *where)
    assert wait_until_gone(workspace, PATIENCE)


@pytest.mark.slow
def test_a_workbench_hands_its_run_over_and_it_goes_on_in_the_background(
    workspace: Workspace, tmp_path: Path, environment: dict[str, str]
) -> None:
    where = ("--workspace", str(workspace.root))
    with terminal("tui", *where, cwd=tmp_path, environ=environment) as screen:
        train_for_ever(screen)
        screen.press("&")
        screen.until_shown("⇄ ▸ train")
        resumed = trained(screen, 5)
        screen.hang_up()
        assert screen.ended() == 128 + signal.SIGHUP
    with connect(workspace) as client:
        client.call("subscribe", kinds=["StepDone"])
        said = steps_of(client)
        assert [next(said) for _ in range(3)][-1] > resumed
        client.call("shutdown")
    assert wait_until_gone(workspace, PATIENCE)
    assert len(list_runs(workspace.runs)) == 1, "the same run"
    done = steps(workspace)
    assert done == list(range(1, len(done) + 1))


def steps_of(client: Client) -> Iterator[int]:
    """The steps that the engine tells of."""
    for message in client.notifications():
        if message.method == "event":
            yield message.params["event"]["step"]
