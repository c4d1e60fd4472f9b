"""Letting a model log in to a world of the workbench: which one, and then it is watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import Vertical

from sekft_engine.core.errors import SekftError
from sekft_engine.records.runs import list_runs
from sekft_engine.takeover.shell import Shell, Watched, prepare
from sekft_engine.takeover.takeover import TakeOver
from sekft_tui.host import Host
from sekft_tui.input.actions import bindings
from sekft_tui.screens.box import CANCEL, BoxScreen
from sekft_tui.screens.choose import Choice, ChooseScreen, choice_line
from sekft_tui.screens.takeover.watch import WatchScreen
from sekft_tui.text import Parts
from sekft_tui.widgets.line_list import LineList

#: The answer that means a model of a server.
_SERVED = "\0served"


class WorldAnswer(NamedTuple):
    """A world, and whether a model is to log in there."""

    world: str
    model: bool


class ChooseWorldScreen(BoxScreen[WorldAnswer]):
    """Enter begins by hand in the world under the cursor, ``m`` lets a model log in."""

    DEFAULT_CSS = """
    ChooseWorldScreen #choices { max-height: 100%; background: $surface; }
    ChooseWorldScreen #box { width: 60; }
    """
    BINDINGS = bindings("worlds")
    HINTS = (("motion.choose", "by hand"), ("worlds.model", "let a model log in"), CANCEL)

    def __init__(self, worlds: tuple[Choice, ...]) -> None:
        super().__init__()
        self._worlds = worlds

    def compose(self) -> ComposeResult:
        self.list = LineList(self._row, chosen=self._chosen, id="choices")
        box = Vertical(self.list, self.make_foot(), id="box")
        box.border_title = "type by hand in which world?"
        yield box

    def on_mount(self) -> None:
        self.list.styles.height = min(len(self._worlds), max(3, self.app.size.height - 8))
        self.list.set_rows(len(self._worlds), 0)
        self.set_focus(self.list)

    def _row(self, y: int, width: int) -> Parts:
        return choice_line(self._worlds[y], width)

    def _chosen(self) -> None:
        self.dismiss(WorldAnswer(self._worlds[self.list.cursor].answer, model=False))

    def action_model(self) -> None:
        self.dismiss(WorldAnswer(self._worlds[self.list.cursor].answer, model=True))


def typists(host: Host) -> tuple[Choice, ...]:
    """The bare base, and every adapter of the workspace, newest first."""
    adapters = [run for run in reversed(list_runs(host.workspace.runs)) if run.adapter]
    return (
        Choice("", "base", "without an adapter"),
        *(Choice(run.adapter, run.id, f"{run.status}, {run.created[:10]}") for run in adapters),
    )


def choose_model(host: Host, scenario: str) -> None:
    """Ask which model logs in to the world ``scenario``, and watch it."""

    def chosen(answer: str | None) -> None:
        if answer == _SERVED:
            host.prompt.ask("address", served, hint="of a server, as http://127.0.0.1:8000")
        elif answer is not None:
            watch(host, Shell(adapter=answer, scenario=scenario, base=host.base))

    def served(address: str) -> None:
        if address.strip():
            watch(host, Shell(endpoint=address.strip(), scenario=scenario, base=host.base))

    choices = (*typists(host), Choice(_SERVED, "a served model", "its address is asked for"))
    host.push_screen(ChooseScreen("who logs in?", choices), chosen)


def watch(host: Host, asked: Shell) -> None:
    """Open the screen on which a model is watched; what is wrong is told."""
    draw: list[Callable[[], None]] = []

    def changed(_session: TakeOver) -> None:
        for each in draw:
            each()

    try:
        watched = prepare(asked, host.workspace, host.bridge.engine, changed)
    except SekftError as error:
        host.error(str(error))
        return

    def begin(redraw: Callable[[], None]) -> TakeOver:
        draw.append(redraw)
        return watched.session.start()

    def left(_answer: None) -> None:
        host.run_worker(_ended(watched))

    host.push_screen(WatchScreen(host, begin, watched.adapter, watched.subject), left)


async def _ended(watched: Watched) -> None:
    """Close the run once the session has ended."""
    await asyncio.to_thread(watched.session.join, 30.0)
    watched.record.close()
