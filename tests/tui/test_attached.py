"""The workbench on the living engine of its workspace."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from sekft_engine.core.errors import Unavailable
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.remote import RemoteEngine
from sekft_engine.engine.attached.where import Where
from sekft_engine.engine.engine import Engine
from sekft_engine.engine.socket.client import connect, live_engine, wait_until_gone
from sekft_engine.records import events, jobs
from sekft_tui.app import Workbench
from sekft_tui.process.attachment import Chosen, choose_engine
from sekft_tui.process.attention import Attention
from sekft_tui.process.preferences import Preferences, save_preferences
from sekft_tui.screens.quit import QuitScreen
from tests.engine.attached.conftest import Heard, training
from tests.engine.socket.conftest import PATIENCE, Start, command, running, runtime, start
from tests.engine.socket.scripted import train as scripted_train
from tests.tui.screen import until, until_gone, until_shown

__all__ = ["runtime", "start"]
SIZE = (120, 40)


def attached(place: Workspace) -> Workbench:
    chosen = choose_engine(place)
    assert isinstance(chosen.engine, RemoteEngine)
    return Workbench(chosen.engine, place, base=chosen.base, remark=chosen.remark)


@pytest.fixture
def other(workspace: Workspace) -> Iterator[list[Heard]]:
    """Someone else on the same engine, once it is there."""
    made: list[Heard] = []
    yield made
    for one in made:
        one.engine.close()


def someone(place: Workspace, other: list[Heard]) -> Heard:
    other.append(Heard(Where(place), history=True))
    return other[0]


async def test_what_happened_before_is_there_at_once_and_what_happens_follows(
    start: Start, workspace: Workspace, other: list[Heard]
) -> None:
    one = start()
    before = someone(workspace, other)
    first = before.engine.submit(training(5))
    before.ending(first)
    app = attached(workspace)
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, f"process {one.process.pid}", "⇄ idle")
        await pilot.press("2")
        await until_shown(pilot, "step 5/5", "✓ done")
        second = before.engine.submit(training())
        await until_shown(pilot, "⇄ ▸ train")
        await until(pilot, lambda: len(before.steps(second)) > 9)
        before.engine.cancel(second, after_step=True)
        before.ending(second)
        last = before.steps(second)[-1]
        await until_shown(pilot, f"step {last}/1,000", "■ stopped")
    assert one.process.poll() is None


async def test_two_workbenches_agree_to_the_last_figure(
    start: Start, workspace: Workspace, other: list[Heard]
) -> None:
    start()
    seen = someone(workspace, other)
    early = attached(workspace)
    async with early.run_test(size=SIZE) as pilot:
        job = seen.engine.submit(training())
        await until(pilot, lambda: len(seen.steps(job)) > 20)
        late = attached(workspace)
        async with late.run_test(size=SIZE) as second:
            seen.engine.cancel(job, after_step=True)
            seen.ending(job)
            losses = [event.loss for event in seen.events_of(job)]
            for each, app in ((pilot, early), (second, late)):
                await until(each, partial(ended, app, job), "its end")
                with app.bridge.shared() as shared:
                    assert shared.train.path == str(workspace.runs / "001-train")
                    assert shared.train.column("loss").tolist() == losses


def ended(app: Workbench, job: str) -> bool:
    with app.bridge.shared() as shared:
        return job in shared.jobs and shared.jobs[job].status == "cancelled"


async def test_a_workbench_that_is_left_leaves_the_engine_at_work(
    start: Start, workspace: Workspace, other: list[Heard]
) -> None:
    start()
    seen = someone(workspace, other)
    app = attached(workspace)
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "⇄ idle")
        job = seen.engine.submit(training())
        await until_shown(pilot, "⇄ ▸ train")
        await pilot.press("q")
        await until_shown(pilot, "detach: leave, and the engine keeps running")
        await pilot.press("d")
        await until(pilot, lambda: not app.is_running, "left")
    app.engine.close()
    steps = len(seen.steps(job))
    seen.wait(lambda: len(seen.steps(job)) > steps + 2, "it goes on")
    seen.engine.cancel(job)


@pytest.fixture
def background(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, runtime: Path
) -> Iterator[None]:
    """Engines may be started in the background; what is left of them is ended."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    yield
    left = live_engine(workspace)
    if left is not None:
        psutil.Process(left.pid).kill()


@pytest.mark.usefixtures("background")
async def test_an_engine_that_is_killed_is_told_and_can_be_started_again(
    start: Start, workspace: Workspace
) -> None:
    one = start()
    app = attached(workspace)
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "⇄ idle")
        job = app.bridge.submit(training())
        await until_shown(pilot, "⇄ ▸ train")
        one.end(signal.SIGKILL)
        await until_shown(pilot, "the engine has ended", "start one in the background again")
        with app.bridge.shared() as shared:
            assert shared.jobs[job].status == "failed"
        refused = app.bridge.submit(jobs.Prepare(base="x"))
        with app.bridge.shared() as shared:
            assert "the engine has ended" in shared.jobs[refused].error
        await pilot.press("r")
        await until_gone(pilot, "start one in the background again")
        await until(pilot, lambda: live_engine(workspace) is not None, "another engine")
        found = live_engine(workspace)
        assert found is not None
        await until_shown(pilot, f"process {found.pid}", "⇄ idle")
        await pilot.press("Q")
        await until_shown(pilot, "‖ held", "resumes")
    app.engine.close()
    with connect(workspace) as client:
        client.call("shutdown")
    assert wait_until_gone(workspace, PATIENCE)


async def test_what_a_killed_engine_had_not_saved_is_told_and_train_and_runs_say_that_it_died(
    start: Start, workspace: Workspace
) -> None:
    one = start()
    app = attached(workspace)
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "⇄ idle")
        app.bridge.submit(training())
        await pilot.press("2")
        await until_shown(pilot, "⇄ ▸ train", "step")
        one.end(signal.SIGKILL)
        shown = await until_shown(pilot, "the engine has ended", "What it had saved is on disk.")
        with app.bridge.shared() as shared:
            steps = shared.train.step
        assert f"Not on disk: {steps} steps of training" in shown
        await pilot.press("k")
        await until_shown(pilot, "† died")
        await pilot.press("5")
        await until_shown(pilot, "001-train", "died", "u resume")
    app.engine.close()


@pytest.mark.usefixtures("background")
async def test_jobs_that_waited_when_the_engine_was_killed_are_named_with_what_begins_them(
    start: Start, workspace: Workspace
) -> None:
    one = start()
    app = attached(workspace)
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "⇄ idle")
        app.bridge.submit(training())
        await until_shown(pilot, "⇄ ▸ train")
        app.bridge.submit(training())
        await until_shown(pilot, "⇄ ▸ train", "+1")
        one.end(signal.SIGKILL)
        await until_shown(
            pilot,
            "the engine has ended",
            "Never begun: training",
            "The next engine holds it",
            "Q, then p, releases it",
        )
        await pilot.press("k")
        await until_gone(pilot, "start one in the background again")
        with app.bridge.shared() as shared:
            (said,) = [text for _, _, text in shared.log if "never began" in text]
        assert "the next engine holds it (Q, then p, releases it)" in said
        await pilot.press("Q")
        shown = await until_shown(pilot, "the engine has ended", "Never begun: training")
        assert "queued" not in shown
    app.engine.close()


async def test_a_workbench_whose_engine_has_ended_can_do_its_own_work(
    start: Start, workspace: Workspace
) -> None:
    one = start()
    app = attached(workspace)
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "⇄ idle")
        one.end()
        await until_shown(pilot, "the engine has ended", "o", "engine of this workbench")
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.engine, Engine))
        await until_gone(pilot, "⇄")
        await until_shown(pilot, "idle")
    assert app.engine.close(PATIENCE)


def test_plain_tui_takes_the_living_engine_unless_told_otherwise(
    start: Start, workspace: Workspace
) -> None:
    assert isinstance(choose_engine(workspace).engine, Engine)
    with pytest.raises(Unavailable, match="no engine is at work here"):
        choose_engine(workspace, attach="")
    start()
    assert isinstance(choose_engine(workspace).engine, RemoteEngine)
    assert isinstance(choose_engine(workspace, attach="").engine, RemoteEngine)
    assert isinstance(choose_engine(workspace, resident=False).engine, Engine)


def test_a_model_cannot_type_in_a_session_that_its_engine_has_not_got(
    start: Start, workspace: Workspace, other: list[Heard]
) -> None:
    start()
    seen = someone(workspace, other)
    seen.engine.submit(jobs.HandBack(id="hand-back-1", takeover="t", base="b"))
    failed = seen.ending("hand-back-1")
    assert "has not got this session" in getattr(failed, "error", "")
    assert "--no-resident" in getattr(failed, "error", "")


def test_a_base_that_is_being_loaded_is_the_workbenchs(
    start: Start, workspace: Workspace, tmp_path: Path
) -> None:
    start("--base", str(tmp_path))
    with connect(workspace) as client:
        running(client, "load-0")
    assert choose_engine(workspace).base == str(tmp_path)


def alone(place: Workspace, **handlers: Any) -> Workbench:
    """A workbench with an engine of its own, whose trainings are scripted."""
    known: Any = {jobs.Train: scripted_train} | handlers
    return Workbench(lambda: Chosen(Engine(place, handlers=known), own=False), place)


async def test_a_workbench_with_nothing_to_do_joins_an_engine_that_is_started_later(
    start: Start, workspace: Workspace
) -> None:
    app = alone(workspace)
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "idle")
        own = app.engine
        one = start()
        await until_shown(pilot, f"process {one.process.pid}", "⇄")
        assert isinstance(own, Engine)
        await until(pilot, lambda: own.ended, "its own engine has ended")
        job = app.bridge.submit(training(5))
        await pilot.press("2")
        await until_shown(pilot, "step 5/5", "✓ done")
        with one.client() as client:
            assert client.call("status")["running"] is None
        with app.bridge.shared() as shared:
            assert shared.jobs[job].status == "done"
    app.engine.close()


async def test_a_job_can_be_given_to_an_engine_that_is_started_later(
    start: Start, workspace: Workspace
) -> None:
    before = Engine(workspace, handlers={jobs.Train: scripted_train}).start()
    first = before.submit(training())
    before.submit(training())
    while before.status().running is None:
        time.sleep(0.01)
    assert before.close(PATIENCE)
    app = alone(workspace)
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "2 jobs are held")  # so that it does not leave its engine itself
        one = start()
        await pilot.press("2", "s")
        named = f"An engine in the background (process {one.process.pid}) can do it."
        await until_shown(pilot, named, "Here the base is loaded once more.")
        await pilot.press("n")
        await until_gone(pilot, "can do it")
        await pilot.press("s")  # at once: nothing was started
        await until_shown(pilot, "give it to the engine in the background")
        assert app.bridge.remote is None
        await pilot.press("e")
        await until_shown(pilot, "⇄ ▸ train")
        with one.client() as client:
            running = client.call("status")["running"]
            assert (running["kind"], running["id"] != first) == ("train", True)
            client.call("cancel", job=running["id"])
        await until_shown(pilot, "⇄ idle")
    app.engine.close()


async def test_the_key_that_moves_the_engine_out_joins_the_one_that_is_there(
    start: Start, workspace: Workspace
) -> None:
    app = alone(workspace)
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "idle")
        with app.bridge.shared() as shared:
            shared.base = events.BaseLoaded(
                job="", base="/bases/tiny", digest="0", parameters=1, dtype="float32",
                device="cpu", seconds=13.0,
            )  # fmt: skip
        one = start()
        await pilot.press("q")
        shown = await until_shown(pilot, "tiny is loaded", "in the background already")
        assert "keep the base in an engine" not in shown
        await pilot.press("k")
        assert app.bridge.remote is None, "its base would be lost"
        await pilot.press("ampersand")
        await until_shown(pilot, f"process {one.process.pid}", "⇄ idle")
    app.engine.close()


async def test_a_workbench_that_is_to_have_its_own_engine_keeps_it(
    start: Start, workspace: Workspace
) -> None:
    app = Workbench(lambda: choose_engine(workspace, resident=False), workspace)
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "idle")
        start()
        assert app.engine_beside == 0
        app.look_elsewhere()
        await until(pilot, lambda: not app._looking, "it has looked")
        assert app.bridge.remote is None
    assert app.engine.close(PATIENCE)


async def test_an_engine_with_another_base_is_not_joined_and_that_is_said(
    start: Start, workspace: Workspace, tmp_path: Path, tiny_base: Path
) -> None:
    other = shutil.copytree(tiny_base, tmp_path / "other")
    app = alone(workspace)
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "idle")
        start("--base", str(other))
        await until_shown(pilot, "the living one holds other, and not tiny")
        assert app.bridge.remote is None
    assert app.engine.close(PATIENCE)


async def test_while_another_engine_has_the_workspace_leaving_offers_no_handing_over(
    start: Start, workspace: Workspace
) -> None:
    app = alone(workspace)
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "idle")
        app.bridge.submit(training())
        await until_shown(pilot, "▸ train")
        one = start()
        await pilot.press("q")
        shown = await until_shown(
            pilot, "Training is still running", "cannot move to the background"
        )
        assert "hand it to an engine" not in shown
        asked = app.screen
        assert isinstance(asked, QuitScreen)
        words = " ".join(asked.sheet.plain().split())
        assert f"(process {one.process.pid})" in words
        assert "resume it there" in words
        assert "sekft resident stop" in words
        await pilot.press("d")
        await until_shown(pilot, "Training is still running")
        await pilot.press("k", "ampersand")
        await until_shown(pilot, "the engine stays in this workbench")
        await pilot.press("6")
        await until_shown(pilot, f"an engine in the background already (process {one.process.pid})")
        app.bridge.stop(after_step=True)
        await until_shown(pilot, f"process {one.process.pid}", "⇄")  # it can be joined now
    app.engine.close()


async def test_while_another_process_has_the_queue_its_process_is_named(
    workspace: Workspace,
) -> None:
    script = f"""
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
assert Engine(Workspace({str(workspace.root)!r})).open_journal()
print(flush=True)
input()
"""
    other = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline()
    app = alone(workspace)
    try:
        async with app.run_test(size=SIZE) as pilot:
            await until_shown(pilot, "idle")
            app.bridge.submit(training())
            await until_shown(pilot, "▸ train")
            await pilot.press("q")
            shown = await until_shown(pilot, "Training is still running", "cannot move")
            assert "hand it to an engine" not in shown
            assert f"process {other.pid} has the queue" in shown
            await pilot.press("k", "ampersand", "6")
            await until_shown(pilot, f"process {other.pid} has the queue")
            other.communicate(b"\n")
            await pilot.press("q")
            await until_shown(pilot, "hand it to an engine in the background")
            await pilot.press("k")
            app.bridge.stop(after_step=True)
            await until_shown(pilot, "idle")
    finally:
        other.kill()
        other.wait()
    assert app.engine.close(PATIENCE)


async def test_the_engine_is_described_from_every_pane(start: Start, workspace: Workspace) -> None:
    start()
    app = attached(workspace)
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "⇄ idle")
        await pilot.press("4", "I")
        await until_shown(pilot, "process ", "connected", "connections", "job        none")
        app.bridge.submit(training())
        await until_shown(pilot, "job        ▸ train", " GiB")
        app.bridge.stop(after_step=False)
        await pilot.press("escape")
        await until_shown(pilot, "⇄ idle")


@pytest.mark.usefixtures("background")
async def test_a_finished_run_stays_in_view_when_the_engine_is_handed_over(
    workspace: Workspace,
) -> None:
    handlers: Any = {jobs.Train: scripted_train}
    app = Workbench(Engine(workspace, handlers=handlers), workspace)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        app.bridge.submit(training(5))
        await until_shown(pilot, "step 5/5", "✓ done")
        await pilot.press("ampersand")
        await until_shown(pilot, "⇄ idle")
        await until_shown(pilot, "step 5/5", "✓ done")
    app.engine.close()
    with connect(workspace) as client:
        client.call("shutdown")
    assert wait_until_gone(workspace, PATIENCE)


async def test_the_header_names_the_process_also_in_a_small_terminal(
    start: Start, workspace: Workspace
) -> None:
    one = start()
    app = attached(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, f"⇄ {one.process.pid} idle")
        job = app.bridge.submit(training())
        await until_shown(pilot, "▸ train")
        app.engine.cancel(job)
        await until_shown(pilot, f"⇄ {one.process.pid} idle")


async def test_loading_shows_what_is_read_and_how_long_the_rest_takes_and_keys_answer(
    start: Start, workspace: Workspace, tmp_path: Path
) -> None:
    one = start("--base", str(tmp_path))
    app = attached(workspace)
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "⇄ ▸ load loading 25", "left")
        await pilot.press("I")
        await until_shown(pilot, "0.5 of 2.0 GB", "left")
        await pilot.press("I", "6")
        await until(pilot, lambda: app.pane == "log", "a key is answered")
    told = command(
        "resident", "status", "--workspace", str(workspace.root), environment=one.environment
    ).stdout
    assert "loading the base 500 of 2000 (0.5 of 2.0 GB, " in told
    assert " left, " in told


async def test_a_long_job_of_an_engine_elsewhere_rings_when_it_ends(
    start: Start, workspace: Workspace
) -> None:
    save_preferences(Preferences(bell_after=0))
    start()
    app = attached(workspace)
    written: list[str] = []
    app.attention = Attention(written.append, {"TERM": "xterm-256color"})
    async with app.run_test(size=SIZE) as pilot:
        await until_shown(pilot, "⇄ idle")
        app.bridge.submit(training(3))
        await until(pilot, lambda: any("]9;sekft: train done" in each for each in written))
        assert "\x07" in written
        await until(pilot, lambda: any("]2;sekft workspace: ⇄" in each for each in written))
