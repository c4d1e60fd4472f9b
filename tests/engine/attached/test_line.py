"""An engine of another machine, over a line that leads to its socket."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sekft_engine.core.errors import Unavailable
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.where import Where
from sekft_engine.engine.socket.address import is_locked, read_pointer
from sekft_engine.engine.socket.client import Client
from sekft_engine.records.events import JobDone
from sekft_engine.records.trainings import TrainResult
from tests.engine.attached.conftest import Heard, training
from tests.engine.attached.lines import Line, relay, ssh_server
from tests.engine.attached.test_remote_engine import steps_are_whole
from tests.engine.socket.conftest import PATIENCE, Resident, Start, command, document
from tests.tui.terminal import Terminal, terminal

LinesTo = Callable[[Resident], Line]


@pytest.fixture(params=["ssh", "tcp"])
def line_to(request: pytest.FixtureRequest, runtime: Path, tmp_path: Path) -> Iterator[LinesTo]:
    """Makes a line to an engine's socket: with OpenSSH, or with nothing but this interpreter."""
    made: list[Line] = []
    here = runtime / "there.sock"

    def make(one: Resident) -> Line:
        address = read_pointer(one.place)
        assert address is not None
        line = relay(here, address.socket) if server is None else server.line(here, address.socket)
        made.append(line)
        return line.up()

    if request.param == "ssh":
        with ssh_server(tmp_path) as server:
            yield make
    else:
        server = None
        yield make
    for line in made:
        line.lose()
        line.here.unlink(missing_ok=True)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Workspace:
    """A workspace of this machine, which is not the engine's."""
    return Workspace(tmp_path / "elsewhere").create()


def test_commands_say_what_the_engine_behind_a_line_does_and_end_it(
    start: Start, line_to: LinesTo
) -> None:
    one = start()
    line = line_to(one)
    where = ("--socket", str(line.here))
    spoken = command("resident", "status", *where, environment=one.environment)
    assert spoken.returncode == 0, spoken.stderr
    assert "idle: no base is loaded" in spoken.stdout
    assert f"pid {one.process.pid}, sekft " in spoken.stdout
    assert spoken.stdout.rstrip().endswith(f", in {one.place.root}")
    told = document(command("resident", "status", *where, "--json", environment=one.environment))
    assert (told["pid"], told["workspace"]) == (one.process.pid, str(one.place.root))
    line.lose()
    lost = command("resident", "status", *where, environment=one.environment)
    assert lost.returncode == 2
    assert f"{line.here}: no engine answers" in lost.stderr
    assert "is the line up (ssh -N -L)" in lost.stderr
    line.up()
    asked = command("resident", "stop", *where, environment=one.environment)
    assert asked.returncode == 0, asked.stderr
    assert one.process.wait(PATIENCE) == 0
    assert not is_locked(one.place)


def test_a_job_is_given_and_followed_over_a_line_that_is_lost_and_nothing_is_missing(
    start: Start, line_to: LinesTo, elsewhere: Workspace
) -> None:
    one = start()
    line = line_to(one)
    far = Heard(Where(elsewhere, line.here), history=True)
    try:
        job = far.engine.submit(training(out=elsewhere.runs / "mine"))
        far.wait(lambda: len(far.steps(job)) > 10)
        line.lose()
        far.wait(lambda: far.engine.state == "lost")
        assert "the line" in far.engine.why
        line.up()
        so_far = len(far.steps(job))
        far.wait(lambda: len(far.steps(job)) > so_far + 10, "the line is there again")
        assert far.engine.cancel(job, after_step=True)
        far.ending(job)
        assert steps_are_whole(far, job)
        assert (one.place.runs / "mine" / "run.json").exists(), "in the engine's workspace"
        assert not (elsewhere.runs / "mine").exists()
        again = far.engine.submit(training(2))
        ending = far.ending(again)
        assert isinstance(ending, JobDone)
        assert isinstance(ending.result, TrainResult)
        assert ending.result.path.startswith(str(one.place.runs))
    finally:
        far.engine.close()


def test_a_workbench_on_another_machine_watches_and_says_what_is_not_here(
    start: Start, line_to: LinesTo, elsewhere: Workspace, tmp_path: Path
) -> None:
    one = start()
    line = line_to(one)
    words = ("tui", "--attach", str(line.here), "--workspace", str(elsewhere.root))
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    with terminal(*words, cwd=tmp_path, environ=environ) as screen:
        screen.until_shown("idle", "its files are not here")
        screen.press("I")
        screen.until_shown("there.sock")
        screen.until(
            lambda text: "not on this machine" in " ".join(text.replace("│", " ").split()),
            "where its files are, in however many lines",
        )
        screen.press("I")
        with one.client() as client:
            spec = {"job": "train", "data": "d", "recipe": {"max_steps": 0}}
            job = client.call("submit", job=spec)["job"]
            screen.until_shown("▸ train")
            screen.press("2")
            step_after(screen, 3)
            line.lose()
            screen.until_shown("engine sought")
            screen.press("I")
            screen.until(lambda text: "is the line up" in unwrapped(text), "the way out")
            screen.press("I")
            line.up()
            step_after(screen, step_after(screen, 4))
            client.call("stop_after_step", job=job)
        screen.until_shown("■ stopped", "idle")
        screen.press("q")
        assert screen.ended() == 0
    assert one.process.poll() is None


def unwrapped(text: str) -> str:
    """The words on a screen, without the lines of boxes."""
    return " ".join(text.replace("│", " ").split())


def step_after(screen: Terminal, step: int) -> int:
    """Wait for a later step; returns it."""

    def shown(text: str) -> int:
        _, _, rest = text.partition(" step ")
        number = rest.partition("/")[0]
        return int(number) if number.isdigit() else 0

    return shown(screen.until(lambda text: shown(text) > step, f"after step {step}"))


def test_a_socket_that_is_not_there_or_no_engines_is_refused_with_the_way_out(
    runtime: Path, elsewhere: Workspace, tmp_path: Path
) -> None:
    environment = dict(os.environ)
    no = tmp_path / "no.sock"
    for name in (no, tmp_path / ("x" * 120)):
        words = ("resident", "status", "--socket", str(name))
        done = command(*words, environment=environment)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert str(name) in done.stderr
    opened = ("tui", "--attach", str(no), "--workspace", str(elsewhere.root))
    with terminal(*opened, cwd=tmp_path) as screen:
        assert screen.ended() == 2
        screen.let_go()
        assert "no such socket" in screen.text
        assert "is the line up?" in unwrapped(screen.text)


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"{}\n", b"x" * (1 << 20)]
)
def test_what_answers_and_is_no_engine_is_refused_whatever_it_says(
    runtime: Path, said: bytes
) -> None:
    path = runtime / "other.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            peer, _ = listener.accept()
            with peer, contextlib.suppress(OSError):
                for _ in range(100 if len(said) > 1000 else 1):
                    peer.sendall(said)

        server = threading.Thread(target=answer, daemon=True)
        server.start()
        with pytest.raises(Unavailable, match=r"no engine answers|the engine left"):
            Client(str(path))
        server.join(PATIENCE)
    path.unlink()
