"""Start on the box, train, lose the workbench, come back: real processes, terminals and kills."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.socket.client import Client, connect, live_engine, wait_until_gone
from sekft_engine.records import events
from sekft_engine.records.journal import effective_events
from sekft_engine.records.runs import list_runs, read_events
from tests.engine.attached.lines import HAS_SSH, ssh_server
from tests.engine.socket.conftest import PATIENCE, runtime
from tests.tui.terminal import ROOT, Terminal, terminal
from tests.tui.trains import train_for_ever, trained

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


@pytest.mark.slow
def test_what_is_said_on_leaving_works_from_the_folder_one_is_in(
    environment: dict[str, str], workspace: Workspace, tmp_path: Path
) -> None:
    """The workspace is a folder here, as after ``sekft tui --demo``: a command must name it."""
    sekft(environment, "resident", "--detach", "--workspace", str(workspace.root))
    named = ("tui", "--workspace", workspace.root.name)
    with terminal(*named, cwd=tmp_path, size=(160, 24), environ=environment) as shown:
        shown.until_shown("12 trajectories", "process")
        shown.press("q")
        assert shown.ended() == 0
        said = shown.until_shown("sekft resident stop")
    found = re.search(r"\): sekft (.*) shows it again, sekft (.*) ends it", said)
    assert found is not None, said
    again, stop = (shlex.split(words) for words in found.groups())
    with terminal(*again, cwd=tmp_path, size=(160, 24), environ=environment) as shown:
        shown.until_shown("12 trajectories", "process")
        shown.press("q")
        assert shown.ended() == 0
    subprocess.run(
        [sys.executable, "-m", "sekft_engine", *stop],
        cwd=tmp_path, env={**environment, "PYTHONPATH": str(ROOT)}, check=True, timeout=PATIENCE,
    )  # fmt: skip
    assert live_engine(workspace) is None


def journals(place: Workspace) -> list[events.Event]:
    """All that the engine said, of which nothing was said twice."""
    paths = [place.root / "engine.jsonl", *(run.events_path for run in list_runs(place.runs))]
    return [event for path in paths for event in read_events(path)]


def steps(place: Workspace) -> list[int]:
    happened = effective_events(read_events(list_runs(place.runs)[0].events_path))
    return [event.step for event in happened if isinstance(event, events.StepDone)]


Reach = Callable[..., AbstractContextManager[Terminal]]


@pytest.fixture
def reach(tmp_path: Path, environment: dict[str, str]) -> Iterator[Reach]:
    """A terminal on the box: over a real SSH connection to it, or without a server of SSH on this
    machine."""
    if not HAS_SSH:
        yield lambda *words: terminal(*words, cwd=tmp_path, environ=environment)
        return
    keys = tmp_path / "ssh"
    keys.mkdir()
    with ssh_server(keys) as server:

        def over_ssh(*words: str) -> AbstractContextManager[Terminal]:
            names = ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "OMP_NUM_THREADS", "PATH")
            given = ["LANG=C.UTF-8", *(f"{name}={environment[name]}" for name in names)]
            there = ["env", "-C", str(tmp_path), f"PYTHONPATH={ROOT}", *given, sys.executable]
            command = shlex.join([*there, "-m", "sekft_engine", *words])
            return terminal(*server.ssh("-tt"), command, cwd=tmp_path, code=_REPLACE)

        yield over_ssh


#: Be another program.
_REPLACE = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"


@pytest.mark.slow
def test_start_train_lose_the_line_come_back_watch_evaluate_and_talk_to_it(
    workspace: Workspace, environment: dict[str, str], reach: Reach
) -> None:
    where = ("--workspace", str(workspace.root))
    told = json.loads(sekft(environment, "resident", "--detach", "--base", "tiny", *where).stdout)

    # Start a run, and lose the terminal in the middle of it, without a word.
    with reach("tui", *where) as screen:
        screen.until_shown(f"⇄ {told['pid']} idle")
        train_for_ever(screen)
        seen = trained(screen, 4)
        os.kill(screen.program.pid, signal.SIGKILL)
        assert screen.ended() == -signal.SIGKILL

    # Come back: the run has gone on, and is watched to the end that it is told to have.
    with reach("tui", "--attach", *where) as screen:
        screen.until_shown("▸ train")
        screen.press("2")
        trained(screen, seen + 2)
        screen.press("x")
        screen.until_shown("■ stopped", f"⇄ {told['pid']} idle")
        done = steps(workspace)
        assert done == list(range(1, len(done) + 1)), "no step is missing, and none happened twice"
        screen.until_shown(f"step {done[-1]}/")
        assert isinstance(
            read_events(list_runs(workspace.runs)[0].events_path)[-1], events.JobCancelled
        )

        # Evaluate what came out of it, in real worlds.
        screen.press("3")
        screen.until_shown("[x] base", "[x] 001-train", "2 held out")
        screen.press(*"j" * 5, "enter", "ctrl+u", "2", "enter", "s")
        screen.until_shown("The step cap of 2 is below the reference solution")
        screen.press("y")
        screen.until_shown("4 of 4 episodes", "✓ done")
        screen.press("q")
        assert screen.ended() == 0

    # A command uses the same engine.
    data = ("--data", str(workspace.trajectories), "--max-steps", "2", "--json")
    command = sekft(environment, "train", *where, *data)
    result: dict[str, Any] = json.loads(command.stdout)
    assert result["steps"] == 2
    assert f"on the engine of this workspace (pid {told['pid']})" in command.stderr
    loaded = [event for event in journals(workspace) if isinstance(event, events.BaseLoaded)]
    assert len(loaded) == 1, "for all of them"

    # Talk to it: over HTTP, and in a world.
    happened = read_events(workspace.runs / "001-train" / "events.jsonl")
    adapter = [event.path for event in happened if isinstance(event, events.AdapterSaved)][-1]
    with served(environment, "--base", "tiny", "--adapter", adapter, *where) as (url, models):
        assert len(models) == 2
        for model in models:
            assert isinstance(chat(url, model, "who are you?"), str)
    world = ("--scenario", "held-000", "--adapter", adapter, "--turn-tokens", "6")
    typed = sekft(environment, "shell", "--plain", "--step-cap", "2", *world, *where).stdout
    who = [line.split("\t")[1] for line in typed.splitlines()]
    assert who[0] == "world"
    assert len(set(who) - {"world", "verdict", "checker", "certificate"}) == 1, "it typed"
    assert "verdict" in who
    sekft(environment, "resident", "stop", *where)
    assert wait_until_gone(workspace, PATIENCE)


@contextmanager
def served(environment: dict[str, str], *words: str) -> Iterator[tuple[str, list[str]]]:
    """A server's address and its models, until the end of the block."""
    server = subprocess.Popen(
        [sys.executable, "-m", "sekft_engine", "serve", "--port", "0", *words],
        env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+/v1", server.stdout.readline())
        assert found is not None
        with urllib.request.urlopen(f"{found[0]}/models", timeout=PATIENCE) as answer:
            models = [model["id"] for model in json.load(answer)["data"]]
        yield found[0], models
        server.terminate()
        server.wait(PATIENCE)
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


def chat(url: str, model: str, content: str) -> str:
    """What a model answers over HTTP."""
    asked = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 8}
    request = urllib.request.Request(
        f"{url}/chat/completions",
        json.dumps(asked).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        said = json.load(answer)
    assert said["model"] == model
    assert said["usage"]["completion_tokens"] > 0
    text: str = said["choices"][0]["message"]["content"]
    return text


@pytest.mark.slow
def test_a_workbench_hands_its_run_over_and_it_goes_on_in_the_background(
    workspace: Workspace, tmp_path: Path, environment: dict[str, str]
) -> None:
    where = ("--workspace", str(workspace.root))
    with terminal("tui", *where, cwd=tmp_path, environ=environment) as screen:
        train_for_ever(screen)
        screen.press("&")
        screen.until_shown("⇄", "▸ train")
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
