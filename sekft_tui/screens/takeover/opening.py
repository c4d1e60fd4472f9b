"""Ways into a take-over: a session at one of its turns, or a world where nobody has typed yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sekft_engine.errors import SekftError
from sekft_engine.evaluate.store import read_episode
from sekft_engine.evaluate.takeover import TakeOver
from sekft_engine.evaluate.takeover_keep import Keeper, drafts, drafts_folder
from sekft_engine.evaluate.takeover_origin import (
    Origin,
    last_turn,
    origin_of_scenario,
    origin_of_session,
)
from sekft_engine.evaluate.takeover_typist import typed_elsewhere
from sekft_engine.runs import list_runs
from sekft_engine.sources import load_scenarios
from sekft_tui.screens.choose import Choice, ChooseScreen
from sekft_tui.screens.takeover.screen import TakeOverScreen

if TYPE_CHECKING:
    from sekft_tui.app import Workbench


def begin_at(host: Workbench, path: Path, turn: int) -> TakeOverScreen:
    """The session in the file ``path`` at its turn ``turn``, counted from 1: where a command was
    typed, before that; where the world answered, after it; or where it ended."""

    def find() -> Origin:
        last = last_turn(read_episode(path).trajectory)
        return origin_of_session(path, max(0, min(turn - 1, last)), host.workspace)

    return _screen(host, find)


async def choose_world(host: Workbench) -> None:
    """Ask which scenario's world to begin in, and begin."""
    try:
        worlds = await asyncio.to_thread(_worlds, host)
    except SekftError as error:
        host.error(str(error))
        return
    if not worlds:
        host.note("no scenarios in this workspace")
        return

    def chosen(name: str | None) -> None:
        if name and Path(name).is_absolute():
            host.push_screen(
                _screen(host, lambda: origin_of_session(Path(name), None, host.workspace))
            )
        elif name:
            host.push_screen(_screen(host, lambda: origin_of_scenario(name, host.workspace)))

    host.push_screen(ChooseScreen("type by hand in which world?", worlds), chosen)


def _screen(host: Workbench, find: Callable[[], Origin]) -> TakeOverScreen:
    place = host.workspace

    def begin(changed: Callable[[], None]) -> TakeOver:
        return TakeOver(
            find,
            keeper=Keeper(host.base, place, max_length=host.recipe.max_length),
            engine=host.engine,
            base=host.base,
            changed=changed,
            drafts=drafts_folder(place),
        ).start()

    return TakeOverScreen(begin, lambda: _typists(host))


def _worlds(host: Workbench) -> tuple[Choice, ...]:
    """What was left unfinished, then training worlds: what is typed there may be trained on."""
    found: list[Choice] = []
    for path in drafts(drafts_folder(host.workspace)):
        left = read_episode(path).trajectory
        if not typed_elsewhere(left):
            typed = f"{left.steps} command{'s' * (left.steps != 1)}"
            found.append(Choice(str(path), f"{left.scenario}, unfinished", typed))
    for folder, about in (
        (host.workspace.train_scenarios, ""),
        (host.workspace.holdout_scenarios, ", held out"),
    ):
        if any(folder.glob("*.json*")):
            found += [
                Choice(one.id, one.id, f"{one.archetype}, ends by {one.terminal}{about}")
                for one in load_scenarios(folder)
            ]
    return tuple(found)


def _typists(host: Workbench) -> tuple[Choice, ...]:
    """The bare base, and every adapter of the workspace, newest first."""
    adapters = [run for run in reversed(list_runs(host.workspace.runs)) if run.adapter]
    return (
        Choice("", "base", "without an adapter"),
        *(Choice(run.adapter, run.id, f"{run.status}, {run.created[:10]}") for run in adapters),
    )
