"""Models that type on the base of a living engine, in worlds of other processes."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sekft_engine.data.scenario import Scenario
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.remote import RemoteEngine
from sekft_engine.engine.attached.where import Where
from sekft_engine.engine.engine import JOURNAL, Engine
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.records.journal import read_events
from sekft_engine.takeover.keep import Keeper
from sekft_engine.takeover.origin import Origin, origin_of_scenario
from sekft_engine.takeover.takeover import TakeOver
from sekft_engine.takeover.view import TakeOverView
from sekft_engine.work.board import Writing
from tests.engine.socket.conftest import PATIENCE, REAL, Start, runtime, start

__all__ = ["runtime", "start"]

SHORT = ("--turn-tokens", "6", "--step-cap", "3")
#: Runs a command of sekft, and says at its end whether torch was imported, and how much memory the
#: process had at most.
_WATCHED = """
import re, sys
from pathlib import Path
from sekft_engine.cli.main import run
status = run(sys.argv[1:])
most = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print("torch" in sys.modules, most, file=sys.stderr)
sys.exit(status)
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace").create()


@pytest.fixture
def place(
    workspace: Workspace, tiny_base: Path, make_scenario: Callable[..., Scenario]
) -> Workspace:
    (workspace.bases / "tiny").symlink_to(tiny_base)
    text = json.dumps(make_scenario().to_json())
    (workspace.holdout_scenarios / "copy-1.json").write_text(text)
    return workspace


def shell(place: Workspace, *more: str) -> tuple[list[str], str]:
    """What each command of the session was, and what was said on stderr."""
    done = subprocess.run(
        [
            *(sys.executable, "-c", _WATCHED, "shell", "--plain", "--scenario", "copy-1"),
            *("--workspace", str(place.root), *SHORT, *more),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    return [line[3] for line in lines if line[1] == "base"], done.stderr


def test_the_model_types_on_the_living_base_and_no_other_one_is_loaded(
    start: Start, place: Workspace
) -> None:
    one = start("--base", "tiny", module=REAL)
    there, said = shell(place)
    here, _ = shell(place, "--no-resident")
    assert there, "it typed"
    assert there == here, "what it types on a base of its own"
    assert f"on the engine of this workspace (pid {one.process.pid})" in said
    torch, kilobytes = said.split()[-2:]
    assert torch == "False", "the client computes nothing"
    engine = psutil.Process(one.process.pid).memory_info().rss
    assert int(kilobytes) * 1024 < engine / 2
    loaded = [
        event for event in read_events(place.root / JOURNAL) if isinstance(event, events.BaseLoaded)
    ]
    assert len(loaded) == 1


class Heard:
    """Waits for what becomes of a session."""

    def __init__(self) -> None:
        self.session: TakeOver | None = None
        self.views: list[TakeOverView] = []
        self._changed = threading.Condition()

    def changed(self) -> None:
        with self._changed:
            if self.session is not None:
                self.views.append(self.session.view)
            self._changed.notify_all()

    def wait(self, true: Callable[[TakeOverView], object]) -> TakeOverView:
        assert self.session is not None
        session = self.session
        with self._changed:
            assert self._changed.wait_for(lambda: true(session.view), PATIENCE), session.view
            return session.view


@pytest.fixture
def take(place: Workspace) -> Iterator[Callable[..., tuple[TakeOver, Heard]]]:
    """Begin a session in the world ``copy-1``, on the engine of the workspace or on a given one."""
    sessions: list[TakeOver] = []
    remotes: list[RemoteEngine] = []

    def find() -> Origin:
        return origin_of_scenario("copy-1", place)

    def begin(engine: Engine | None = None, step_cap: int = 40) -> tuple[TakeOver, Heard]:
        heard = Heard()
        if engine is None:
            remotes.append(RemoteEngine(Where(place)).start())
        session = TakeOver(
            find,
            keeper=Keeper(place.base, place),
            engine=engine or remotes[-1],
            base=place.base,
            changed=heard.changed,
            step_cap=step_cap,
        )
        heard.session = session
        sessions.append(session.start())
        heard.wait(lambda view: view.state == "ready")
        return session, heard

    yield begin
    for session in sessions:
        session.close()
    assert all(session.join(PATIENCE) for session in sessions)
    for remote in remotes:
        remote.close()


def commands(view: TakeOverView) -> list[tuple[str, str]]:
    return [(str(turn.extra["by"]), turn.content) for turn in view.turns if turn.is_command]


def paused_after(turns: int, view: TakeOverView) -> bool:
    return view.paused and len(commands(view)) == turns


def test_person_and_model_take_turns_and_the_ids_are_those_of_an_own_engine(
    start: Start, place: Workspace, take: Callable[..., tuple[TakeOver, Heard]]
) -> None:
    start("--base", "tiny", module=REAL)
    own = Engine(place, nice=0).start()
    ends: list[TakeOverView] = []
    try:
        for engine in (None, own):
            session, heard = take(engine, step_cap=4)
            assert session.type("ls")
            heard.wait(lambda view: view.state == "ready" and len(view.turns) == 3)
            assert session.hand_back("", turns=1)
            view = heard.wait(lambda view: view.state == "ready" and not view.running)
            assert [by for by, _ in commands(view)] == ["hand", "base"]
            assert session.type("echo two")
            heard.wait(lambda view: view.state == "ready" and len(view.turns) == 7)
            assert session.hand_back("")
            view = heard.wait(lambda view: view.finished is not None)
            assert view.problem == ""
            assert [by for by, _ in commands(view)] == ["hand", "base", "hand", "base"]
            ends.append(view)
            assert any(each.phase == "types" and each.writing for each in heard.views), "live"
    finally:
        own.close()
    there, here = ends
    assert commands(there) == commands(here)
    assert [turn.ids for turn in there.turns] == [turn.ids for turn in here.turns]
    assert there.finished is not None
    ((model),) = there.finished.trajectory.meta["takeover"]["models"]
    assert (model["subject"], model["turns"]) == ("base", [3, 7])
    assert len(model["base"]) == 64


def test_a_model_is_paused_takes_one_turn_and_loses_the_keyboard_and_gets_it_back(
    start: Start, take: Callable[..., tuple[TakeOver, Heard]]
) -> None:
    start("--base", "tiny", module=REAL)
    session, heard = take()
    assert session.hand_back("")
    session.pace.pause()
    heard.wait(lambda view: view.paused and view.phase not in ("", "loads"))
    for turns in (1, 2):
        session.pace.step()
        view = heard.wait(functools.partial(paused_after, turns))
        assert view.state == "model", "it waits, with the keyboard"
    assert session.take_back()
    view = heard.wait(lambda view: view.state == "ready")
    assert len(commands(view)) == 2, "what it had not finished is not typed"
    assert session.type("pwd")
    view = heard.wait(lambda view: view.state == "ready" and len(commands(view)) == 3)
    assert session.hand_back("")
    heard.wait(lambda view: len(commands(view)) > 3)
    session.take_back()
    heard.wait(lambda view: view.state == "ready")
    assert session.finish()
    assert heard.wait(lambda view: view.finished is not None).finished is not None


def test_what_the_models_of_an_eval_write_is_seen_in_another_process(
    start: Start, place: Workspace
) -> None:
    start("--base", "tiny", module=REAL)
    remote = RemoteEngine(Where(place)).start()
    written: list[Writing] = []
    arrived = threading.Condition()
    ended = threading.Event()

    def take(writing: Writing) -> None:
        with arrived:
            written.append(writing)
            arrived.notify_all()

    remote.subscribe(lambda event: ended.set() if isinstance(event, events.ENDINGS) else None)
    stop = remote.watch_writing(take)
    job = remote.submit(
        jobs.Evaluate(
            base="tiny",
            scenarios=str(place.holdout_scenarios),
            n=1,
            step_cap=20,
            turn_tokens=48,
        )
    )
    with arrived:
        assert arrived.wait_for(
            lambda: any(each.phase == "types" and each.text for each in written), PATIENCE
        )
    stop()
    shown = written[-1]
    assert (shown.job, shown.subject, shown.scenario) == (job, "base", "copy-1")
    remote.cancel(job)
    assert ended.wait(PATIENCE)
    remote.close()


def test_a_session_whose_process_is_killed_does_not_hold_up_the_engine(
    start: Start, place: Workspace
) -> None:
    start("--base", "tiny", module=REAL)
    remote = RemoteEngine(Where(place)).start()
    seen: list[Event] = []
    arrived = threading.Condition()

    def take(event: Event) -> None:
        with arrived:
            seen.append(event)
            arrived.notify_all()

    remote.subscribe(take)
    words = ["shell", "--plain", "--scenario", "copy-1", "--workspace", str(place.root)]
    client = subprocess.Popen(
        [sys.executable, "-m", "sekft_engine", *words], stdout=subprocess.PIPE, text=True
    )

    def typing(*kinds: type[Event]) -> list[Event]:
        return [e for e in seen if e.job.startswith("hand_back-") and isinstance(e, kinds)]

    with arrived:
        assert arrived.wait_for(lambda: typing(events.JobStarted), PATIENCE)
    client.kill()
    client.wait()
    with arrived:
        assert arrived.wait_for(lambda: typing(*events.ENDINGS), PATIENCE)
    (failed,) = typing(*events.ENDINGS)
    assert isinstance(failed, events.JobFailed)
    assert "the process of this session is gone" in failed.error
    remote.close()
