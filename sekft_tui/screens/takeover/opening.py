"""Starting a take-over: from a turn of a session, or in a new world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sekft_engine.core.errors import SekftError
from sekft_engine.data.scenario import Scenario
from sekft_engine.episodes.store import holds_bundles, read_episode
from sekft_engine.sources import survey_scenarios
from sekft_engine.takeover.draft_files import drafts, drafts_folder
from sekft_engine.takeover.keep import Keeper
from sekft_engine.takeover.origin import (
    Origin,
    last_turn,
    origin_of_scenario,
    origin_of_session,
    typed_elsewhere,
)
from sekft_engine.takeover.takeover import TakeOver
from sekft_tui.host import Host
from sekft_tui.process.workers import run_on_thread
from sekft_tui.screens.choose import Choice
from sekft_tui.screens.takeover.log_in import (
    ChooseWorldScreen,
    WorldAnswer,
    choose_model,
    typists,
)
from sekft_tui.screens.takeover.screen import TakeOverScreen


def begin_at(host: Host, path: Path, turn: int) -> TakeOverScreen:
    """Take over the session in the file ``path`` at its turn ``turn``, counted from 1: before that
    turn if it is a command, after it if it is the world's output."""

    def find() -> Origin:
        last = last_turn(read_episode(path).trajectory)
        return origin_of_session(path, max(0, min(turn - 1, last)), host.workspace)

    return _screen(host, find)


async def choose_world(host: Host) -> None:
    """Ask for a scenario, and begin in its world."""
    worlds, broken = await run_on_thread(lambda: _worlds(host))
    if not worlds and not broken:
        host.note("no scenarios in this workspace")
        return

    def chosen(name: str | None) -> None:
        if name and Path(name).is_absolute():
            host.push_screen(
                _screen(host, lambda: origin_of_session(Path(name), None, host.workspace))
            )
        elif name:
            host.push_screen(_screen(host, lambda: origin_of_scenario(name, host.workspace)))

    def answered(answer: WorldAnswer | None) -> None:
        if answer is None or not answer.model:
            chosen(answer.world if answer is not None else None)
        elif Path(answer.world).is_absolute():
            host.note("a model begins in a new world; this one is a session of yours")
        else:
            choose_model(host, answer.world)

    host.push_screen(ChooseWorldScreen(worlds, broken), answered)


def _screen(host: Host, find: Callable[[], Origin]) -> TakeOverScreen:
    place = host.workspace

    def begin(changed: Callable[[], None]) -> TakeOver:
        return TakeOver(
            find,
            keeper=Keeper(host.base, place, max_length=host.recipe.max_length),
            engine=host.bridge.engine,
            base=host.base,
            changed=changed,
            drafts=drafts_folder(place),
        ).start()

    return TakeOverScreen(host, begin, lambda: typists(host))


def _worlds(host: Host) -> tuple[tuple[Choice, ...], tuple[SekftError, ...]]:
    """Unfinished sessions, then training worlds, then held-out ones; and what cannot be read."""
    found: list[Choice] = []
    broken: list[SekftError] = []
    for path in drafts(drafts_folder(host.workspace)):
        try:
            left = read_episode(path).trajectory
        except SekftError as error:
            broken.append(error)
            continue
        if not typed_elsewhere(left):
            typed = f"{left.steps} command{'s' * (left.steps != 1)}"
            found.append(Choice(str(path), f"{left.scenario}, unfinished", typed))
    for folder, about in (
        (host.workspace.train_scenarios, ""),
        (host.workspace.holdout_scenarios, ", held out"),
    ):
        if not holds_bundles(folder):
            continue
        try:
            there = survey_scenarios(folder)
        except SekftError as error:  # files, but none that could hold bundles
            broken.append(error)
            continue
        broken += there.broken
        found += [
            Choice(
                scenario.id,
                scenario.id,
                f"{_kind(scenario)}ends by {scenario.terminal}{about}",
            )
            for scenario in there.scenarios
        ]
    return tuple(found), tuple(broken)


def _kind(scenario: Scenario) -> str:
    """The kind of work, where the name does not end in it."""
    return "" if scenario.id.endswith(scenario.archetype) else f"{scenario.archetype}, "
