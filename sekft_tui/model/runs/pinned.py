"""Training runs drawn beside the one that is shown: chosen by the user, kept between sessions."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sekft_engine.core.errors import SekftError
from sekft_engine.records.runs import read_events, read_run
from sekft_tui.model.reducer import replayed
from sekft_tui.model.training import TrainView
from sekft_tui.text import visible

#: With more curves than this a chart cannot be read.
MOST = 6
#: How many differences between two recipes are shown beside a run's name.
NAMED_DIFFERENCES = 2


class BesideRun(NamedTuple):
    """A run drawn beside the one that is shown. ``number`` decides its letter, colour and dash."""

    letter: str
    number: int
    name: str
    train: TrainView


class PinnedRuns:
    """The runs that are pinned in a workspace, by id, each with a letter of its own.

    Args:
        runs: the folder of the workspace's runs.
        pinned: ids of the runs pinned in an earlier session.
        remember: called with the ids whenever they change.
        in_background: runs a function on a thread, and draws again when it has returned.
    """

    def __init__(
        self,
        runs: Path,
        pinned: Sequence[str],
        *,
        remember: Callable[[tuple[str, ...]], None],
        in_background: Callable[[Callable[[], None]], None],
    ) -> None:
        self._runs = runs
        self._remember = remember
        self._in_background = in_background
        self._views: dict[str, TrainView] = {}
        self._numbers: dict[str, int] = {run: number for number, run in enumerate(pinned[:MOST])}

    def letter(self, run: str) -> str:
        """The run's letter; "" = it is not pinned."""
        return string.ascii_uppercase[self._numbers[run]] if run in self._numbers else ""

    def toggle(self, run: str) -> str:
        """Pin the run or unpin it; returns what was done, for the user to read."""
        if run in self._numbers:
            del self._numbers[run]
            self._remember_them()
            return f"{run} is no longer pinned"
        free = [number for number in range(MOST) if number not in self._numbers.values()]
        if not free:
            return f"{MOST} runs are pinned already; unpin one first"
        self._numbers[run] = free[0]
        self._changed()
        return f"{run} is pinned: {self.letter(run)} in the chart, beside every other run"

    def replace(self, runs: Sequence[str]) -> None:
        """Pin these runs and no others."""
        self._numbers = {run: number for number, run in enumerate(runs[:MOST])}
        self._changed()

    def _changed(self) -> None:
        self._remember_them()
        self.refresh()

    def _remember_them(self) -> None:
        self._remember(tuple(sorted(self._numbers, key=lambda run: self._numbers[run])))

    def refresh(self) -> None:
        """Read the journals of the pinned runs again, on a thread."""
        if self._numbers:
            self._in_background(self._read)

    def _read(self) -> None:
        """A run whose journal cannot be read is left out."""
        for run in tuple(self._numbers):
            try:
                info = read_run(self._runs / run)
                self._views[run] = replayed(read_events(info.events_path)).train
            except (OSError, SekftError):
                continue

    def beside(self, train: TrainView, earlier: Sequence[TrainView]) -> list[BesideRun]:
        """The runs to draw beside ``train``: the pinned ones, then those of the same sweep."""
        found = [
            BesideRun(self.letter(run), number, _name(self._views[run], train), self._views[run])
            for run, number in self._numbers.items()
            if run in self._views and run != train.run
        ]
        taken = {other.number for other in found} | {
            number for run, number in self._numbers.items() if run == train.run
        }
        free = [number for number in range(MOST) if number not in taken]
        here = {other.train.run for other in found} | {train.run}
        new = [view for view in earlier if view.run not in here][-len(free) :] if free else []
        for number, view in zip(free, new, strict=False):
            found.append(
                BesideRun(string.ascii_uppercase[number], number, _name(view, train), view)
            )
        return sorted(found, key=lambda other: other.number)


def _name(other: TrainView, train: TrainView) -> str:
    """A run's id, and how its recipe differs from that of ``train``."""
    here, there = train.about.get("recipe", {}), other.about.get("recipe", {})
    if not isinstance(here, dict) or not isinstance(there, dict):
        return visible(other.run)
    differing = [name for name in there if here and here.get(name) != there[name]]
    values = [
        f"{name.replace('_', ' ')} {_value(there[name])}" for name in differing[:NAMED_DIFFERENCES]
    ]
    return visible(" ".join([other.run, ", ".join(values)]).rstrip())


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
