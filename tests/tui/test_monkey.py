"""Random keys with resizes, in every state: no crash, no stuck state, nothing left running.

For longer: SEKFT_MONKEY_S=600 pytest tests/tui/test_monkey.py (and SEKFT_MONKEY_SEED=7 for others).
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import psutil
import pytest
from textual.events import Key, Paste
from textual.pilot import Pilot

from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_tui.app import Workbench
from sekft_tui.input.actions import KEYS
from sekft_tui.screens.takeover.watch import WatchScreen
from tests.tui.hostile import TEXTS
from tests.tui.hostile_stage import hostile_workspace
from tests.tui.screen import screen_text, until
from tests.tui.scripted import ScriptedEngine, evaluation, watched
from tests.tui.stored import stored_episode, stored_run

SECONDS = float(os.environ.get("SEKFT_MONKEY_S", "0"))
SEED = int(os.environ.get("SEKFT_MONKEY_SEED", "1"))
#: Bursts of keys in a state where no time is set.
BURSTS = 60
SIZES = ((80, 24), (120, 40), (200, 60), (60, 20), (40, 10), (100, 30), (30, 8), (80, 12))
STATES = ("idle", "training", "paused", "evaluating", "failing", "empty", "hostile")
_LETTERS = "abcdefghijklmnopqrstuvwxyz ABCDXYZ0123456789/?:.,<>[](){}+-=&é日"
_NAMES = (
    *sorted({name for key in KEYS for name in key.keys}),
    "up", "down", "left", "right", "enter", "enter", "escape", "escape", "tab", "backspace",
    "delete", "home", "end", "pageup", "pagedown", "f1", "f5", "ctrl+l", "ctrl+r", "ctrl+z",
    "shift+tab", "ctrl+a", "ctrl+e", "ctrl+w", "ctrl+k",
)  # fmt: skip


def script_of(state: str) -> Iterable[Event]:
    """What the engine says while keys are pressed."""
    match state:
        case "training" | "paused":
            yield from watched(60, nan=20, spike=30)
        case "evaluating":
            outcomes = ["good", "unverified", "wrong", "cap", "prose", "invalid", "run"]
            yield from evaluation({"base": outcomes, "001-train": outcomes[::-1]}, 7)
        case "failing":
            yield events.JobStarted(job="train-1", kind="train", t=time.time())
            yield events.JobFailed(job="train-1", kind="train", error="memory ran out", trace="t")


def key_of(dice: random.Random) -> Key | Paste:
    if dice.random() < 0.02:
        return Paste(dice.choice(TEXTS) * dice.choice((1, 50)))
    if dice.random() < 0.4:
        letter = dice.choice(_LETTERS)
        return Key(letter, letter)
    name = dice.choice(_NAMES)
    return Key(name, name if len(name) == 1 else None)


async def play(
    app: Workbench, engine: ScriptedEngine, state: str, dice: random.Random, seconds: float
) -> list[str]:
    """Press keys until the time is up or the keys have left; the last of them."""
    pressed: list[str] = []
    ends = time.monotonic() + seconds
    script = iter(script_of(state))
    async with app.run_test(size=SIZES[0]) as pilot:
        for burst in range(1_000_000 if seconds else BURSTS):
            if app.return_code is not None or (seconds and time.monotonic() > ends):
                break
            if burst == 5 and state == "paused":
                engine.say(events.JobPaused(job="train-1", kind="train"))
            for event in [event for _ in range(4) if (event := next(script, None))]:
                engine.say(event)
            if dice.random() < 0.08:
                size = dice.choice(SIZES)
                pressed.append(f"size {size}")
                await pilot.resize_terminal(*size)
            for _ in range(dice.randint(1, 6)):
                key = key_of(dice)
                pressed.append(key.key if isinstance(key, Key) else "paste")
                app.post_message(key)
            await pilot.pause()
        if app.return_code is None:
            await recover(pilot, pressed)
    return pressed[-60:]


async def recover(pilot: Pilot[int], pressed: list[str]) -> None:
    """Whatever was pressed, escape and the answers of questions lead back to the panes."""
    app = pilot.app
    assert isinstance(app, Workbench)
    await pilot.resize_terminal(*SIZES[0])
    for _ in range(40):
        if len(app.screen_stack) == 1 and app.typing_target() is None:
            break
        app.post_message(Key("escape", None))
        await pilot.pause(0.05)
        if isinstance(app.screen, WatchScreen):  # escape only leaves its prompt, for q
            app.post_message(Key("q", "q"))
            await pilot.pause(0.05)
        if len(app.screen_stack) > 2:  # a question before a take-over is left
            app.post_message(Key("x", "x"))
            await pilot.pause(0.05)
    assert len(app.screen_stack) == 1, (app.screen_stack, pressed[-60:], screen_text(app))
    for number, place in enumerate(("trajectories", "train", "eval", "replay", "runs", "log"), 1):
        app.post_message(Key(str(number), str(number)))
        await until(pilot, partial(is_at, app, place), f"{place} after {pressed[-60:]}")


def is_at(app: Workbench, place: str) -> bool:
    return app.pane == place


#: Threads of the process, not of one workbench: pools, and those that guard templates and worlds.
_SHARED_THREADS = ("asyncio_", "ThreadPoolExecutor", "MainThread", "template limits", "world-")


def threads() -> set[threading.Thread]:
    """Threads that work for the workbench."""
    return {
        thread for thread in threading.enumerate() if not thread.name.startswith(_SHARED_THREADS)
    }


@pytest.fixture
def busy(workspace: Workspace) -> Workspace:
    """A workspace with runs of every kind."""
    stored_run(workspace, "001-train", watched(20))
    stored_run(workspace, "002-train", watched(20, upto=9), status="running")
    run = stored_run(workspace, "003-eval", evaluation({"base": ["good"] * 3}, 3), kind="eval")
    stored_episode(run, "base", "held-000", ("warden", "ok"), ("exit", ""))
    stored_episode(run, "001-train", "held-000", ("ls", "a\nb"), ("panic no", ""))
    return workspace


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
async def test_random_keys_neither_crash_nor_stick_nor_leave_anything_running(
    busy: Workspace, state: str, tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # what is exported goes there
    place = busy
    if state == "empty":
        place = Workspace(tmp_path / "empty").create()
    elif state == "hostile":
        place = hostile_workspace(tmp_path / "hostile", tiny_base)
    dice = random.Random(f"{SEED} {state}")
    before, children = threads(), set(psutil.Process().children(recursive=True))
    ends = time.monotonic() + SECONDS / len(STATES)
    while True:
        engine = ScriptedEngine()
        app = Workbench(engine, place)
        left = max(0.0, ends - time.monotonic())
        pressed = await play(app, engine, state, dice, left if SECONDS else 0.0)
        del app
        await gone(before, children, pressed)
        if not SECONDS or time.monotonic() >= ends:
            break


async def gone(
    before: set[threading.Thread], children: set[psutil.Process], pressed: list[str]
) -> None:
    """Nothing that the workbench began is left: no task, no thread, no process."""
    ends = time.monotonic() + 60
    while True:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        left = threads() - before
        running = {
            child
            for child in set(psutil.Process().children(recursive=True)) - children
            if child.is_running()
        }
        if not (tasks or left or running):
            return
        assert time.monotonic() < ends, (tasks, left, running, pressed)
        await asyncio.sleep(0.05)
