"""Runs laid over the one that is shown: chosen, kept between sessions, read on a thread."""

from __future__ import annotations

import asyncio
import string
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sekft_engine.errors import SekftError
from sekft_engine.runs import read_events, read_run
from sekft_tui.panes.train.plots import Other
from sekft_tui.reducer import replayed
from sekft_tui.text import visible
from sekft_tui.training import TrainView

if TYPE_CHECKING:
    from sekft_tui.app import Workbench

#: More curves than this tell nothing any more.
MOST = 6
#: Differences between recipes that a name tells.
TOLD = 2


class Others:
    """The runs that were pinned in this workspace, by id, each with a letter of its own."""

    def __init__(self, host: Workbench) -> None:
        self._host = host
        self._workspace = str(host.workspace.root)
        self._read: dict[str, TrainView] = {}
        names = host.state.pinned.get(self._workspace, ())
        #: Which number (and so which letter, colour and dash) belongs to which run.
        self.numbers: dict[str, int] = {name: at for at, name in enumerate(names[:MOST])}

    def letter(self, run: str) -> str:
        """The run's letter; '' = it is not pinned."""
        return string.ascii_uppercase[self.numbers[run]] if run in self.numbers else ""

    def toggle(self, run: str) -> str:
        """Pin the run, or let it go; says what came of it."""
        if run in self.numbers:
            del self.numbers[run]
            self._remember()
            return f"{run} is not pinned any more"
        free = [number for number in range(MOST) if number not in self.numbers.values()]
        if not free:
            return f"{MOST} runs are pinned already; let one go first"
        self.numbers[run] = free[0]
        self._remember()
        self.read()
        return f"{run} is pinned: {self.letter(run)} in the chart, beside every other run"

    def replace(self, runs: list[str]) -> None:
        """Pin these and no others."""
        self.numbers = {run: number for number, run in enumerate(runs[:MOST])}
        self._remember()
        self.read()

    def _remember(self) -> None:
        names = tuple(sorted(self.numbers, key=lambda run: self.numbers[run]))
        pinned = {**self._host.state.pinned, self._workspace: names}
        self._host.state = msgspec.structs.replace(self._host.state, pinned=pinned)

    def read(self) -> None:
        """Read the journals again, on a thread; then draw."""
        if self.numbers:
            self._host.run_worker(self._all(), group="others", exclusive=True)

    async def _all(self) -> None:
        root = self._host.workspace.runs
        found = await asyncio.to_thread(_views, root, tuple(self.numbers))
        self._read.update(found)
        self._host.redraw_pane()

    def shown(self, train: TrainView, earlier: list[TrainView]) -> list[Other]:
        """What is to be laid over ``train``: the pinned runs, then those of the same sweep."""
        found = [
            Other(self.letter(run), number, _name(self._read[run], train), self._read[run])
            for run, number in self.numbers.items()
            if run in self._read and run != train.run
        ]
        taken = {other.number for other in found} | {
            number for run, number in self.numbers.items() if run == train.run
        }
        free = [number for number in range(MOST) if number not in taken]
        here = {other.train.run for other in found} | {train.run}
        new = [one for one in earlier if one.run not in here][-len(free) :] if free else []
        for number, one in zip(free, new, strict=False):
            found.append(Other(string.ascii_uppercase[number], number, _name(one, train), one))
        return sorted(found, key=lambda other: other.number)


def _name(other: TrainView, train: TrainView) -> str:
    """What a run is called beside another: its id, and how its recipe differs."""
    here, there = train.about.get("recipe", {}), other.about.get("recipe", {})
    if not isinstance(here, dict) or not isinstance(there, dict):
        return visible(other.run)
    differs = [name for name in there if here and here.get(name) != there[name]]
    told = [f"{name.replace('_', ' ')} {_value(there[name])}" for name in differs[:TOLD]]
    return visible(" ".join([other.run, ", ".join(told)]).rstrip())


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _views(root: Path, runs: tuple[str, ...]) -> dict[str, TrainView]:
    """What the journals of ``runs`` add up to; one that cannot be read is left out."""
    found = {}
    for run in runs:
        try:
            info = read_run(root / run)
            found[run] = replayed(read_events(info.events_path)).train
        except (OSError, SekftError):
            continue
    return found
