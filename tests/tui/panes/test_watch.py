"""Watching a model by keyboard: real worlds and a real engine behind the screen."""

from __future__ import annotations

import importlib
import json
import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from textual.events import Key
from textual.keys import _character_to_key
from textual.pilot import Pilot

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.records.results import ShellResult
from sekft_engine.records.runs import create_run, list_runs
from sekft_engine.sources import load_trajectories
from sekft_engine.takeover.cast import LiveCast
from sekft_engine.takeover.shell import Shell, Watched, prepare
from sekft_tui.app import Workbench
from sekft_tui.watch_app import WatchApp, Watcher
from tests.contract.servers import ModelServer, models
from tests.evaluation.episodes.test_asciicast import unlike_v2
from tests.tui.screen import screen_text, until, until_gone, until_shown
from tests.tui.terminal import terminal

Open = Callable[..., tuple[WatchApp, Watched]]
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])


@pytest.fixture
def open_shell(workspace: Workspace) -> Iterator[Open]:
    """The app on a session, which is left after the test, whatever happened in it."""
    begun: list[tuple[Engine, Watched, Watcher]] = []

    def make(cast: Path | None = None, **asked: Any) -> tuple[WatchApp, Watched]:
        engine, watcher = Engine(workspace, nice=0), Watcher()
        watched = prepare(Shell(**asked), workspace, engine, watcher.changed)
        if cast is not None:
            watcher.cast = LiveCast(cast, "a test")
        begun.append((engine, watched, watcher))
        return WatchApp(engine, watched, watcher, workspace), watched

    yield make
    for engine, watched, watcher in begun:
        watched.session.close()
        assert watched.session.join(60.0)
        watched.record.close()
        engine.close()
        if watcher.cast is not None:
            watcher.cast.close()


class Served:
    """A server whose model types these commands, each when it is let."""

    def __init__(self, *commands: str) -> None:
        self._commands = iter(commands)
        self._let = threading.Semaphore(0)

    def let(self, turns: int = 1) -> None:
        self._let.release(turns)

    def _chat(self, body: Mapping[str, Any]) -> dict[str, Any]:
        assert self._let.acquire(timeout=60.0)
        message = {"role": "assistant", "content": next(self._commands, "exit")}
        fed = sum(len(each["content"]) for each in body["messages"])
        return {
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 50 + fed, "completion_tokens": 3, "total_tokens": 53 + fed},
        }

    def server(self) -> ModelServer:
        return ModelServer(models("served") | {"POST /v1/chat/completions": self._chat})


async def typed(pilot: Pilot[int], text: str) -> None:
    for letter in text:
        pilot.app.post_message(Key(_character_to_key(letter), letter))
    await pilot.press("enter")


@SIZES
async def test_one_watches_takes_the_keyboard_hands_it_back_and_keeps_the_session(
    open_shell: Open, workspace: Workspace, tmp_path: Path, size: tuple[int, int]
) -> None:
    served = Served("bin/warden", "exit")
    cast = tmp_path / "session.cast"
    with served.server() as server:
        app, _ = open_shell(
            cast, endpoint=server.url, unchecked=True, scenario="held-000", base="tiny"
        )
        async with app.run_test(size=size) as pilot:
            await until_shown(pilot, "held-000", "keyboard: served", "asks served 0:0")
            served.let()
            await until_shown(pilot, "make the file done, then exit", "served")
            await pilot.press("z")  # a key that means nothing
            await until_shown(pilot, "take the keyboard?")
            await pilot.press("t")
            await until_shown(pilot, "keyboard: you", "your turn 0:0", "1 command so far")
            await typed(pilot, "touch done")
            await until_shown(pilot, "2 commands so far", "touched")
            await pilot.press("escape", "b")
            await until_shown(pilot, "keyboard: served")
            served.let(2)  # the question that was pending when the keyboard was taken, and the next
            await until_shown(pilot, "exit after 3", "verified", "the checker passed")
            if size[0] < 110:
                await pilot.press("o")
            await until_shown(pilot, "directives", "certificate", "whole:")
            if size[0] < 110:
                await pilot.press("escape")
            await until_shown(pilot, "not counted in rates")
            await pilot.press("c")
            await until_shown(pilot, "kept, certified")
            await pilot.press("q")
            await until(pilot, lambda: app.return_value is not None or not app.is_running, "left")
    (info,) = list_runs(workspace.runs)
    assert isinstance(info.result, ShellResult)
    assert (info.kind, info.result.touched, info.result.verified) == ("shell", True, True)
    folder = workspace.root / "takeovers"  # its world is held out
    (kept,) = load_trajectories(folder).trajectories
    assert kept.commands == ("bin/warden", "touch done", "exit")
    assert [turn.extra["by"] for turn in kept.turns if turn.is_command] == [
        "served", "hand", "served",
    ]  # fmt: skip
    assert unlike_v2(cast.read_text()) == []


async def test_a_model_writes_token_by_token_is_paused_steps_and_is_ended(
    open_shell: Open, workspace: Workspace
) -> None:
    app, watched = open_shell(turn_tokens=300, step_cap=30, scenario="held-001")
    session = watched.session
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "keyboard: base")
        await until(pilot, lambda: bool(session.view.writing.strip()), "writing")
        await pilot.press("space")
        await until_shown(pilot, "paused ·", "resume")
        stopped = session.view
        assert stopped.phase == "types"
        await pilot.press("full_stop")
        await until(pilot, lambda: len(session.view.turns) > len(stopped.turns), "a turn")
        await until_shown(pilot, "paused ·")
        before = sum(turn.is_command for turn in stopped.turns)
        commands = [turn for turn in session.view.turns if turn.is_command]
        assert len(commands) == before + 1, "one turn, and then it is paused again"
        assert commands[-1].content.startswith(stopped.writing.strip())
        await pilot.press("space")
        await until_gone(pilot, "paused ·")
        await pilot.press("x")
        await until_shown(pilot, "cap after", "verdict")
        assert "keyboard: nobody" in screen_text(app)
        await pilot.press("q")
    (info,) = list_runs(workspace.runs)
    assert isinstance(info.result, ShellResult)
    assert (info.result.touched, info.result.subject) == (False, "base")


async def test_who_scrolls_back_while_a_model_types_is_left_there(
    open_shell: Open,
) -> None:
    served = Served(*[f"seq {number}0 {number}9" for number in range(1, 9)])
    with served.server() as server:
        app, watched = open_shell(
            endpoint=server.url, unchecked=True, scenario="held-000", base="tiny", step_cap=30
        )
        async with app.run_test(size=(80, 24)) as pilot:
            served.let(4)
            await until_shown(pilot, "49")
            await pilot.press("g")
            await until_shown(pilot, "Ask warden.")
            served.let(2)
            await until(pilot, lambda: len(watched.session.view.turns) >= 13, "two more turns")
            await pilot.pause()
            assert "Ask warden." in screen_text(app)
            await pilot.press("G")
            await until_shown(pilot, "69")
            served.let(10)
            await pilot.press("x")
            await until_shown(pilot, "verdict")


async def test_a_model_that_cannot_type_leaves_the_keyboard_to_the_person(
    open_shell: Open,
) -> None:
    app, _ = open_shell(
        endpoint="http://127.0.0.1:1", unchecked=True, scenario="held-000", base="tiny"
    )
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "keyboard: you", "! ", "127.0.0.1:1")
        await pilot.press("q")


async def test_a_recorded_session_is_listed_with_its_end_and_replayed(
    make_app: Callable[[], Workbench], workspace: Workspace
) -> None:
    run = create_run(workspace.runs, "shell", about={"scenario": "held-000"})
    said = [("user", "Ask warden.\nuser@box:~$"), ("assistant", "touch done"), ("user", "$")]
    raw = {
        "id": "base--held-000", "scenario": "held-000", "outcome": "cap",
        "turns": [{"role": role, "content": content} for role, content in said],
        "meta": {"subject": "base", "clean": True, "expected": "exit"},
    }  # fmt: skip
    run.episodes.mkdir()
    (run.episodes / "base--held-000.json").write_text(json.dumps(raw))
    result = ShellResult(subject="base", outcome="cap", steps=1, verified=True, touched=True)
    run.write(status="done", result=result)
    run.close()
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "001-shell", "base: cap after 1 command, verified, touched")
        await pilot.press("enter")
        await until_shown(pilot, "base", "held-000", "touch done")


def test_the_command_opens_it_on_a_terminal_and_says_where_the_session_is_recorded(
    workspace: Workspace,
) -> None:
    served = Served("bin/warden")
    words = ("shell", "--unchecked", "--scenario", "held-000", "--workspace", ".", "--endpoint")
    with served.server() as server, terminal(*words, server.url, cwd=workspace.root) as shown:
        shown.until_shown("held-000", "keyboard: served", "asks served 0:0")
        served.let()
        shown.until_shown("make the file done, then exit")
        shown.press("x")
        shown.until_shown("was ended by hand", "keyboard: nobody")
        served.let()
        shown.press("q")
        assert shown.ended() == 0
        shown.let_go()
        assert "recorded: " in shown.text
        assert "001-shell/episodes/served--held-000" in shown.text.replace("\n", "")


def test_its_screen_is_where_the_package_says() -> None:
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    points = tomllib.loads(text)["project"]["entry-points"]["sekft.screens"]
    module, _, name = points["shell"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
