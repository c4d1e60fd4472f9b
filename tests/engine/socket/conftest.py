"""Resident engines as real processes, with sockets in a folder of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.socket.address import read_pointer
from sekft_engine.engine.socket.client import Client, Message, connect, live_engine

#: How long anything may take before a test gives up, in seconds.
PATIENCE = 120.0
SCRIPTED = ("-m", "tests.engine.socket.scripted")
REAL = ("-m", "sekft_engine", "resident")


class Resident:
    """A resident engine's process in a workspace."""

    def __init__(self, place: Workspace, runtime: Path, *arguments: str, module: Any) -> None:
        self.place = place
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
        self.log = place.root / "stderr"
        self.process = subprocess.Popen(
            [sys.executable, *module, "--workspace", str(place.root), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("wb"),
            env=self.environment,
        )

    def wait_until_bound(self) -> None:
        until = time.monotonic() + PATIENCE
        while live_engine(self.place) is None:
            assert self.process.poll() is None, self.errors()
            assert time.monotonic() < until
            time.sleep(0.05)

    def client(self, *, viewer: bool = False) -> Client:
        if not viewer:
            return connect(self.place, PATIENCE)
        address = read_pointer(self.place)
        assert address is not None
        return Client(address.viewer_socket, PATIENCE)

    def errors(self) -> str:
        return self.log.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def clean_up(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


Start = Callable[..., Resident]


@pytest.fixture(scope="session")
def runtime() -> Iterator[Path]:
    """A folder with a short path, as XDG_RUNTIME_DIR."""
    folder = Path(tempfile.mkdtemp(prefix="sekft-rt-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def start(runtime: Path, workspace: Workspace) -> Iterator[Start]:
    """Start engines; the first argument is the module, ``SCRIPTED`` without one."""
    started: list[Resident] = []

    def begin(*arguments: str, module: Any = SCRIPTED, socket_only: bool = True) -> Resident:
        only = ("--socket-only",) if socket_only else ()
        one = Resident(workspace, runtime, *only, *arguments, module=module)
        started.append(one)
        one.wait_until_bound()
        return one

    yield begin
    for one in started:
        one.clean_up()


@pytest.fixture(scope="module")
def shared(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Resident]:
    """One scripted engine for all tests of a module."""
    place = Workspace(tmp_path_factory.mktemp("shared") / "workspace").create()
    one = Resident(place, runtime, "--socket-only", module=SCRIPTED)
    one.wait_until_bound()
    yield one
    one.clean_up()


def prepare(what: str) -> dict[str, Any]:
    return {"job": "prepare", "base": what}


def submit(client: Client, what: str, key: str = "") -> str:
    return str(client.call("submit", job=prepare(what), key=key)["job"])


def event_of(message: Message, kind: str, job: str = "") -> bool:
    event = message.params.get("event", {})
    return message.method == "event" and event["event"] == kind and job in ("", event["job"])


def hear(client: Client, wanted: Callable[[Message], bool]) -> list[Message]:
    """What is said up to the first message that is wanted."""
    heard = []
    for message in client.notifications():
        heard.append(message)
        if wanted(message):
            return heard
    raise AssertionError(f"it left before that: {heard[-3:]}")


def ended(client: Client, job: str) -> dict[str, Any]:
    """The event that ends the job, as another client of the same socket hears it."""
    with Client(client.path, PATIENCE) as listener:
        listener.call("subscribe", after=0, kinds=["JobDone", "JobFailed", "JobCancelled"])
        heard = hear(listener, lambda one: one.params.get("event", {}).get("job") == job)
    event: dict[str, Any] = heard[-1].params["event"]
    return event


def running(client: Client, job: str) -> None:
    """Return when the job runs and has said so."""
    until = time.monotonic() + PATIENCE
    while True:
        now = client.call("status")["running"]
        if now is not None and now["id"] == job and now["doing"]:
            return
        assert time.monotonic() < until
        time.sleep(0.01)


def command(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sekft_engine", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found
