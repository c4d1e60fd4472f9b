"""Keys that come faster than they are answered act in their order, each where it was meant."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from textual.events import Key, Paste
from textual.pilot import Pilot

from sekft_tui.app import Workbench
from sekft_tui.host import Host
from sekft_tui.panes.trajectories import TrajectoriesPane
from sekft_tui.screens.takeover import TakeOverScreen, opening
from tests.tui.screen import until, until_shown
from tests.tui.scripted import ScriptedEngine, evaluation

Make = Callable[[], Workbench]


def trajectories(pilot: Pilot[int]) -> TrajectoriesPane:
    return next(iter(pilot.app.query(TrajectoriesPane)))


async def test_keys_in_a_burst_arrive_in_their_order(make_app: Make) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "certified")
        from textual import events as textual_events

        for key in ("2", "j", "j", "enter", "ctrl+u", "6", "enter", "j"):
            letter = key if len(key) == 1 else None
            app.post_message(textual_events.Key(key, letter))
        await until(pilot, lambda: app.recipe.rank == 6, "rank is 6")
        assert app.pane == "train"
        assert app.recipe.alpha == 32


async def test_keys_after_one_that_opens_another_pane_go_to_that_pane(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3", "s")
        engine.say(*evaluation({"base": ["good"]}, 1))
        await until_shown(pilot, "✓ exit")
        from textual import events as textual_events

        for key in ("enter", "f", "x", "y"):  # in Eval, f would show figures
            app.post_message(textual_events.Key(key, key if len(key) == 1 else None))
        await until_shown(pilot, " filter: xy")
        assert app.pane == "replay"


async def test_keys_after_one_that_opens_a_dialog_wait_for_the_dialog(
    make_app: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it opens, the worlds are read, which takes a while on a slow machine."""
    go_on, read = threading.Event(), opening._worlds

    def slowly(host: Host) -> Any:
        assert go_on.wait(60)
        return read(host)

    monkeypatch.setattr(opening, "_worlds", slowly)
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("W", "j", "enter", "h", "i")
        await until_shown(pilot, "12 trajectories")
        go_on.set()
        await until(pilot, lambda: isinstance(app.screen, TakeOverScreen), "in the second world")
        await until_shown(pilot, "held-001", "hi")


async def test_a_dialog_that_takes_long_to_open_does_not_keep_one_from_leaving(
    make_app: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def never(_host: Host) -> Any:
        go_on.wait(60)
        return (), ()

    monkeypatch.setattr(opening, "_worlds", never)
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("W", "j", "ctrl+c")
        await until(pilot, lambda: not app.is_running, "left")
        go_on.set()


async def test_a_burst_of_keys_finds_the_dialog_that_its_first_key_opens(make_app: Make) -> None:
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await until_shown(pilot, "12 trajectories")
        for key in ("W", "j", "enter"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: isinstance(app.screen, TakeOverScreen), "it is chosen")
        await until_shown(pilot, "held-001")
        assert app.pane == "trajectories"


async def test_keys_after_the_one_that_leaves_do_nothing(make_app: Make) -> None:
    """They are on the way when the panes go."""
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await until_shown(pilot, "12 trajectories")
        app.exit()
        for key in ("4", "5", "slash", "x", "ctrl+p"):
            app.post_message(Key(key, key if len(key) == 1 else None))
    assert app.pane == "trajectories"
    await app.on_event(Key("2", "2"))
    await app.on_event(Paste("2"))
    assert app.pane == "trajectories"
