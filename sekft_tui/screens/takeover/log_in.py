"""Letting a model log in to a world of the workbench: which one, and then it is watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical

from sekft_engine.core.errors import SekftError
from sekft_engine.records.runs import list_runs
from sekft_engine.takeover.shell import Shell, Watched, prepare
from sekft_engine.takeover.takeover import TakeOver
from sekft_tui.host import Host
from sekft_tui.input.actions import bindings
from sekft_tui.input.footer import hints
from sekft_tui.process.workers import Later
from sekft_tui.screens.box import CANCEL, BoxScreen
from sekft_tui.screens.choose import Choice, ChooseScreen, choice_line, title_room
from sekft_tui.screens.takeover.watch import WatchScreen
from sekft_tui.text import Parts, clip, short_path, visible
from sekft_tui.widgets.form_help import FormHelp
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.lines import Lines

#: The answer that means a model of a server.
_SERVED = "\0served"


class WorldAnswer(NamedTuple):
    """A world, and whether a model is to log in there."""

    world: str
    model: bool


class ChooseWorldScreen(BoxScreen[WorldAnswer]):
    """Enter begins by hand in the world under the cursor, ``m`` lets a model log in.

    Args:
        worlds: what can be chosen.
        broken: what is there and cannot be used: listed last, with the reason below the list.
    """

    DEFAULT_CSS = """
    ChooseWorldScreen #choices { max-height: 100%; background: $surface; }
    ChooseWorldScreen #box { width: 60; }
    ChooseWorldScreen #reason { height: 6; margin-top: 1; }
    """
    PLACE = "worlds"
    BINDINGS = bindings("worlds")
    HINTS = (("motion.choose", "by hand"), ("worlds.model", "let a model log in"), CANCEL)

    def __init__(self, worlds: tuple[Choice, ...], broken: tuple[SekftError, ...]) -> None:
        super().__init__()
        self._worlds = worlds
        self._room = title_room(worlds)
        self._broken = broken

    def compose(self) -> ComposeResult:
        self.list = LineList(self._row, chosen=lambda: self._answer(model=False), id="choices")
        self.reason = FormHelp(id="reason")
        self.reason.display = bool(self._broken)
        box = Vertical(self.list, self.reason, self.make_foot(), id="box")
        box.border_title = "type by hand in which world?"
        yield box

    def on_mount(self) -> None:
        rows = len(self._worlds) + len(self._broken)
        room = self.app.size.height - (15 if self._broken else 8)
        self.list.styles.height = min(rows, max(3, room))
        self.list.set_rows(rows, 0)
        self.set_focus(self.list)

    def _row(self, y: int, width: int) -> Parts:
        error = self._broken_at(y)
        if error is None:
            return choice_line(self._worlds[y], width, self._room)
        place = clip(f" ✗ {visible(Path(error.where or '').name)}", width)
        return (
            (place, "bad"),
            (clip(f"  {visible(error.what)}", max(0, width - cell_len(place))), "quiet"),
        )

    def _broken_at(self, y: int) -> SekftError | None:
        """What is wrong in row ``y``; None = nothing."""
        at = y - len(self._worlds)
        return self._broken[at] if 0 <= at < len(self._broken) else None

    def make_foot(self) -> Lines:
        self.foot = Lines(lambda _: (self._keys(),), classes="foot")
        return self.foot

    def _keys(self) -> Parts:
        """What the keys do in this row."""
        if self._broken_at(self.list.cursor) is None:
            return hints(self.HINTS)
        return (("cannot be used   ", "warn"), *hints((CANCEL,)))

    @on(LineList.Moved, "#choices")
    def _moved(self) -> None:
        self.foot.update()
        error = self._broken_at(self.list.cursor)
        if error is not None:
            at = f"{short_path(error.where)}: " if error.where else ""
            way_out = f" ({error.mend})" if error.mend else ""
            self.reason.show_help(f"{at}{error.what}{way_out}", is_problem=True)
        else:
            text = f"{len(self._broken)} of these cannot be used: the end of the list says why"
            self.reason.show_help(text, is_problem=False)

    def _answer(self, *, model: bool) -> None:
        if self._broken_at(self.list.cursor) is None:
            self.dismiss(WorldAnswer(self._worlds[self.list.cursor].answer, model))

    def action_model(self) -> None:
        self._answer(model=True)


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
        host.run_worker(Later(partial(_ended, watched)))

    host.push_screen(WatchScreen(host, begin, watched.adapter, watched.subject), left)


async def _ended(watched: Watched) -> None:
    """Close the run once the session has ended."""
    await asyncio.to_thread(watched.session.join, 30.0)
    watched.record.close()
