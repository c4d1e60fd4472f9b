"""An engine that is stopped or hangs is noticed, said plainly, and goes on where it was."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sekft_engine.cli.main import run
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.socket.lines import request_line
from sekft_engine.records.events import JobDone
from sekft_tui.app import Workbench
from sekft_tui.process.attachment import choose_engine
from tests.engine.attached.conftest import Attach, training
from tests.engine.attached.test_commands import Command, words
from tests.engine.attached.test_remote_engine import serving, steps_are_whole
from tests.engine.socket.conftest import (
    PATIENCE,
    Resident,
    Start,
    command,
    document,
    prepare,
    running,
)
from tests.tui.screen import until_gone, until_shown

Freeze = Callable[[int], None]


@pytest.fixture
def freeze() -> Iterator[Freeze]:
    """Stop processes, which go on at the end of the test, so that they can be ended."""
    stopped: list[int] = []

    def stop(pid: int) -> None:
        stopped.append(pid)
        os.kill(pid, signal.SIGSTOP)

    yield stop
    for pid in stopped:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            continue


def go_on(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)


def test_status_list_and_stop_say_that_an_engine_is_stopped_and_the_way_out(
    start: Start, freeze: Freeze
) -> None:
    one = start()
    pid, where = one.process.pid, ("--workspace", str(one.place.root))
    freeze(pid)
    told = command("resident", "status", *where, environment=one.environment)
    assert told.returncode == 1
    assert f"pid {pid}: the engine's process is stopped" in told.stderr
    assert f"kill -CONT {pid} lets it go on" in told.stderr
    found = document(command("resident", "status", "--json", *where, environment=one.environment))
    assert (found["alive"], found["stopped"]) == (True, True)
    listed = command("resident", "list", environment=one.environment).stdout
    assert [line.split()[1] for line in listed.splitlines() if str(pid) in line] == ["stopped"]
    refused = command("resident", "stop", *where, environment=one.environment)
    assert refused.returncode == 2
    assert "kill -CONT" in refused.stderr
    go_on(pid)
    assert command("resident", "status", *where, environment=one.environment).returncode == 0


def test_status_says_that_an_engine_hangs(start: Start) -> None:
    one = start()
    where = ("--workspace", str(one.place.root))
    with one.client() as client:
        # The answer comes when the engine does not hang any more.
        client.send(request_line(0, "submit", {"job": prepare("hang:25")}))
        until = time.monotonic() + PATIENCE
        while not client.call("status")["silent"]:
            assert time.monotonic() < until
            time.sleep(0.1)
        told = command("resident", "status", *where, environment=one.environment)
        assert told.returncode == 1
        assert "no sign of life for " in told.stderr
        assert f"kill -9 {one.process.pid}" in told.stderr
        while client.call("status")["silent"]:
            assert time.monotonic() < until
            time.sleep(0.1)


def test_a_command_says_that_the_engine_of_its_job_is_stopped_and_that_it_goes_on(
    start: Start, place: Workspace, freeze: Freeze, tmp_path: Path
) -> None:
    one = start()
    attached = Command(*words(place, "--out", "mine", "-v", steps=0), cwd=tmp_path)
    attached.says("step 2/")
    freeze(one.process.pid)
    assert "kill -CONT" in attached.says("is stopped")
    go_on(one.process.pid)
    attached.says("the engine goes on")
    attached.says("step ")
    attached.process.send_signal(signal.SIGINT)
    assert attached.ended()[0] == 130


def test_a_command_does_not_give_its_job_to_an_engine_that_is_stopped(
    start: Start, place: Workspace, freeze: Freeze, capfd: pytest.CaptureFixture[str]
) -> None:
    one = start()
    freeze(one.process.pid)
    assert run(words(place, "--base", "/no/base")) == 2
    err = capfd.readouterr().err
    assert "is not used" in err
    assert "is stopped" in err
    assert "/no/base" in err, "it works by itself"


def test_nothing_is_missing_after_an_engine_or_its_server_was_stopped_for_a_while(
    start: Start, attach: Attach, freeze: Freeze
) -> None:
    one = start()
    heard = attach()
    job = heard.engine.submit(training())
    heard.wait(lambda: len(heard.steps(job)) > 5)
    for pid, state in ((one.process.pid, "silent"), (serving(one).pid, "lost")):
        freeze(pid)
        heard.wait(lambda: heard.engine.state == state)  # noqa: B023
        so_far = len(heard.steps(job))
        go_on(pid)
        heard.wait(lambda: heard.engine.state == "live")
        heard.wait(lambda: len(heard.steps(job)) > so_far + 5)  # noqa: B023
    heard.engine.cancel(job, after_step=True)
    heard.ending(job)
    assert steps_are_whole(heard, job)


async def test_the_workbench_shows_that_its_engine_is_stopped_and_the_way_out(
    start: Start, workspace: Workspace, freeze: Freeze
) -> None:
    one: Resident = start()
    pid = one.process.pid
    chosen = choose_engine(workspace)
    app = Workbench(chosen.engine, workspace, base=chosen.base)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "⇄")
        with one.client() as client:
            job = str(client.call("submit", job=prepare("wait"))["job"])
            running(client, job)
        freeze(pid)
        await until_shown(pilot, "engine silent")
        await pilot.press("I")
        await until_shown(pilot, "without a sign of life", f"kill -CONT {pid}")
        await pilot.press("escape")
        go_on(pid)
        await until_gone(pilot, "engine silent")
        await until_shown(pilot, "▸ prepare")
        app.engine.cancel(job)
        await until_shown(pilot, f"⇄ {pid} idle")
    app.engine.close()


def test_a_job_that_was_given_to_a_stopped_engine_is_done_when_it_goes_on(
    start: Start, attach: Attach, freeze: Freeze
) -> None:
    one = start()
    heard = attach()
    heard.wait(lambda: heard.engine.state == "live")
    freeze(one.process.pid)
    job = heard.engine.submit(training(2))
    heard.wait(lambda: heard.engine.state == "silent")
    go_on(one.process.pid)
    assert isinstance(heard.ending(job), JobDone)
