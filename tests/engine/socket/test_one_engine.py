"""One engine for a workspace: where it is found, who may connect, what is left of a dead one."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sekft_engine.core.errors import Unavailable
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.socket.address import (
    LONGEST_PATH,
    POINTER,
    is_locked,
    read_pointer,
    socket_folder,
)
from sekft_engine.engine.socket.client import connect, live_engine, wait_until_gone
from sekft_engine.records.adapters import adapter_digest
from sekft_engine.records.events import JobCancelled
from sekft_engine.records.runs import read_events, read_run
from tests.engine.socket.conftest import (
    PATIENCE,
    REAL,
    Start,
    command,
    document,
    ended,
    hear,
    running,
    submit,
)


def mode(path: str | Path) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_folder_and_sockets_are_this_users_alone(start: Start, runtime: Path) -> None:
    one = start()
    address = read_pointer(one.place)
    assert address is not None
    assert Path(address.socket).parent == runtime / "sekft"
    assert mode(runtime / "sekft") == 0o700
    for path in (address.socket, address.viewer_socket):
        assert mode(path) == 0o600
        assert stat.S_ISSOCK(Path(path).stat().st_mode)
    sockets = [each.laddr for each in psutil.Process(one.process.pid).net_connections("inet")]
    assert sockets == [], "never TCP"
    one.end()
    assert not Path(address.socket).exists()
    assert not (one.place.root / POINTER).exists()


def test_a_path_that_is_too_long_or_not_private_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 100)))
    folder = socket_folder()
    assert folder == Path(f"/tmp/sekft-{os.geteuid()}") or len(str(folder)) < LONGEST_PATH - 40
    assert mode(folder) == 0o700
    shared = tmp_path / "s" / "sekft"
    shared.mkdir(parents=True)
    shared.chmod(0o777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(shared.parent))
    assert socket_folder() != shared
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert socket_folder().is_absolute()


def test_a_second_engine_is_refused_in_one_line_that_names_the_first(start: Start) -> None:
    one = start()
    for flag in ("--socket-only", "--detach"):
        done = command(
            "resident", flag, "--workspace", str(one.place.root), environment=one.environment
        )
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert f"pid {one.process.pid}" in done.stderr
        assert "sekft resident status" in done.stderr


def test_what_a_killed_engine_left_is_replaced(start: Start) -> None:
    one = start()
    address = read_pointer(one.place)
    one.end(signal.SIGKILL)
    assert read_pointer(one.place) == address, "it had no time"
    assert live_engine(one.place) is None
    with pytest.raises(Unavailable, match="no engine is at work"):
        connect(one.place)
    two = start()
    found = live_engine(two.place)
    assert found is not None
    assert found.pid == two.process.pid


def test_status_stop_and_list_are_commands(start: Start) -> None:
    one = start()
    where, environment = ("--workspace", str(one.place.root)), one.environment
    with one.client() as client:
        job = submit(client, "wait")
        running(client, job)
    found = document(command("resident", "status", *where, "--json", environment=environment))
    assert found["alive"] is True
    assert found["running"]["id"] == job
    spoken = command("resident", *where, "status", environment=environment)
    assert job in spoken.stdout
    listed = document(command("resident", "list", "--json", environment=environment))
    assert one.process.pid in [engine["pid"] for engine in listed["engines"]]
    stopped = command("resident", "stop", *where, environment=environment)
    assert stopped.returncode == 0
    assert not is_locked(one.place)
    assert one.process.wait(PATIENCE) == 0
    gone = command("resident", "status", *where, "--json", environment=environment)
    assert (gone.returncode, document(gone)["alive"]) == (1, False)
    assert command("resident", "stop", *where, environment=environment).returncode == 2
    listed_now = command("resident", "list", environment=environment).stdout
    assert "no engine is at work" in listed_now or "/" in listed_now, "it is never silent"


def test_a_detached_engine_outlives_its_parent_and_the_terminal(
    runtime: Path, workspace: Workspace
) -> None:
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
    words = ["-m", "sekft_engine", "resident", "--detach", "--workspace", str(workspace.root)]
    # A shell in a session of its own, as a terminal's, whose processes are hung up when it ends.
    shell = subprocess.Popen(
        ["sh", "-c", '"$@"; kill -HUP 0', "sh", sys.executable, *words],
        env=environment,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    out, _ = shell.communicate(timeout=PATIENCE)
    assert shell.returncode == -signal.SIGHUP
    (line,) = out.splitlines()
    told = json.loads(line)
    engine = psutil.Process(told["pid"])
    try:
        found = live_engine(workspace)
        assert found is not None
        assert found.pid == told["pid"]
        assert told["log"] == str(workspace.root / "resident.log")
        assert mode(told["log"]) == 0o600
        engine.send_signal(signal.SIGHUP)
        with connect(workspace) as client:
            client.call("status")
            client.call("shutdown")
        assert wait_until_gone(workspace, PATIENCE)
    finally:
        if engine.is_running():
            engine.kill()


def test_a_detached_engine_that_cannot_start_says_why(runtime: Path) -> None:
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
    done = command(
        "resident", "--detach", "--workspace", "/nowhere/at/all", environment=environment
    )
    assert done.returncode == 2
    assert "/nowhere/at/all" in done.stderr


def test_the_unit_runs_this_engine_and_systemd_can_read_it(runtime: Path, tmp_path: Path) -> None:
    place = Workspace(tmp_path / 'a b"$x%').create()
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
    done = command(
        "resident", "--print-unit", "--base", "smollm2-135m", "--workspace", str(place.root),
        environment=environment,
    )  # fmt: skip
    assert done.returncode == 0
    assert '"--socket-only"' in done.stdout
    assert '"smollm2-135m"' in done.stdout
    assert 'a b\\"$$x%%' in done.stdout
    assert live_engine(place) is None


def test_jobs_on_stdin_go_on_working_beside_the_socket(start: Start) -> None:
    one = start(socket_only=False)
    assert one.process.stdin is not None
    assert one.process.stdout is not None
    one.process.stdin.write(b'{"job":"prepare","base":"from stdin","id":"mine"}\n')
    one.process.stdin.flush()
    with one.client() as client:
        assert ended(client, "mine")["result"]["base"] == "from stdin"
        job = submit(client, "from the socket")
        ended(client, job)
        client.call("subscribe")
        one.process.stdin.close()
        assert [message.method for message in client.notifications()][-1] == "bye"
    lines = [json.loads(line) for line in one.process.stdout]
    done = [line["job"] for line in lines if line["event"] == "JobDone"]
    assert done == ["mine", job]
    assert one.process.wait(PATIENCE) == 0


def test_sigterm_lets_a_training_step_end_and_saves_it(
    start: Start, tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    one = start("--base", str(tiny_base), module=REAL)
    recipe = {"rank": 4, "lr": 0.01, "batch": 4, "epochs": 5000, "heldout": 0.0}
    out = tmp_path / "run"
    job = {"job": "train", "data": str(sessions), "out": str(out), "recipe": recipe, "name": "one"}
    with one.client() as client:
        client.call("subscribe", after=0)
        identity = client.call("submit", job=job, key="long")["job"]
        hear(
            client,
            lambda one: (
                one.params.get("event", {}).get("event") == "StepDone"
                and one.params["event"]["step"] == 2
            ),
        )
        assert client.call("checkpoint") == {"asked": True}
        assert client.call("status")["running"]["id"] == identity
        one.process.send_signal(signal.SIGTERM)
        heard = [message.params.get("event", {}) for message in client.notifications()]
    assert one.process.wait(PATIENCE) == 130
    cancelled = [event for event in heard if event.get("event") == "JobCancelled"]
    assert cancelled[-1]["job"] == identity
    assert cancelled[-1]["result"]["adapter_sha256"] == adapter_digest(out / "adapter")
    assert read_run(out).status == "stopped"
    assert isinstance(read_events(out / "events.jsonl")[-1], JobCancelled)


def test_adapters_are_listed_attached_renamed_and_detached(
    start: Start, tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    one = start("--base", str(tiny_base), module=REAL)
    recipe = {"rank": 4, "lr": 0.01, "batch": 4, "max_steps": 1, "heldout": 0.0}
    out = tmp_path / "run"
    with one.client() as client:
        job = {"job": "train", "data": str(sessions), "out": str(out), "recipe": recipe}
        done = ended(client, client.call("submit", job=job | {"name": "first"})["job"])
        assert done["event"] == "JobDone", done
        digest = adapter_digest(out / "adapter")
        assert client.call("adapters.list")["adapters"] == {"first": digest}
        renamed = client.call("adapters.rename", name="first", to="second")
        assert ended(client, renamed["job"])["result"]["active"] == "second"
        assert client.call("adapters.list")["adapters"] == {"second": digest}
        again = client.call("adapters.attach", path=str(out), name="first")
        assert ended(client, again["job"])["result"]["digest"] == digest
        taken = client.call("adapters.rename", name="first", to="second")
        assert ended(client, taken["job"])["event"] == "JobFailed"
        gone = client.call("adapters.detach", name="second")
        ended(client, gone["job"])
        listed = client.call("adapters.list")
        assert listed["adapters"] == {"first": digest}
        assert listed["active"] == "first"
        client.call("shutdown")
    assert one.process.wait(PATIENCE) == 0


def test_an_engine_that_does_not_answer_is_listed_and_named_with_the_way_out(start: Start) -> None:
    one = start()
    where, environment = ("--workspace", str(one.place.root)), one.environment
    (front,) = psutil.Process(one.process.pid).children()
    front.suspend()
    try:
        asked = command("resident", "status", *where, environment=environment)
        listed = command("resident", "list", environment=environment)
    finally:
        front.resume()
    assert asked.returncode == 2
    assert "has not answered for 5 s" in asked.stderr
    assert "its process may be stopped" in asked.stderr
    (line,) = [line for line in listed.stdout.splitlines() if str(one.place.root) in line]
    assert line.split()[:2] == [str(one.process.pid), "silent"]
