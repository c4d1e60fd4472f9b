"""Runs of the workspace as their journals tell them: for a pane that shows one at its start."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from sekft_engine.core.errors import SekftError
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.journal import decode_line, is_being_written, read_from
from sekft_engine.records.runs import EVENTS, RunInfo, list_runs, read_events
from sekft_tui.model.evaluation import EvalView
from sekft_tui.model.reducer import Shared, reduce, replayed
from sekft_tui.model.training import TrainView

#: Bytes at the end of a journal in which its last step is looked for.
_END_BYTES = 64 * 1024


def stored_view(run: RunInfo) -> TrainView | EvalView:
    """What the journal of a training run or an eval says. Reads the disk: for a thread.

    Raises:
        OSError: the journal cannot be read.
    """
    shared = replayed(_placed(read_events(run.events_path), Path(run.path)))
    return shared.train if run.kind == "train" else shared.eval


def _placed(written: Iterable[Event], folder: Path) -> list[Event]:
    """The events, with ``folder`` as the run's: its journal has what it was called when it was
    written, which is another after a move, and anything at all in a run from elsewhere."""
    return [
        msgspec.structs.replace(event, path=str(folder))
        if isinstance(event, events.RunCreated)
        else event
        for event in written
    ]


class FollowedRun:
    """A run that another process writes, as far as its journal has been read.

    Args:
        folder: the run's.
        kind: train or eval.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self._kind = kind
        self._shared = Shared()
        self._offset = 0

    @property
    def view(self) -> TrainView | EvalView:
        """What has been read so far."""
        return self._shared.train if self._kind == "train" else self._shared.eval

    @property
    def alive(self) -> bool:
        """Whether somebody writes it."""
        return is_being_written(self.folder / EVENTS)

    def advance(self) -> bool:
        """Read what was written since the last time; whether there was anything."""
        try:
            found, self._offset = read_from(self.folder / EVENTS, self._offset)
        except OSError:
            return False
        for event in _placed(found, self.folder):
            reduce(self._shared, event)
        return bool(found)


def last_events(run: RunInfo) -> Iterator[Event]:
    """The events at the end of a run's journal, the last one first. Reads that end alone."""
    try:
        with run.events_path.open("rb") as journal:
            journal.seek(0, os.SEEK_END)
            journal.seek(max(0, journal.tell() - _END_BYTES))
            lines = journal.read(_END_BYTES).splitlines()
    except OSError:
        return
    for line in reversed(lines):
        event = decode_line(line)
        if event is not None:
            yield event


def last_step(run: RunInfo) -> events.StepDone | None:
    """The last step that the journal of a training run has; None = none. Reads its end."""
    for event in last_events(run):
        if isinstance(event, events.StepDone):
            return event
    return None


def last_view(runs: Path, kind: str, wanted: str = "") -> TrainView | EvalView | None:
    """The run called ``wanted``, else the newest of its kind that has something to show; None =
    there is none. Reads the disk: for a thread."""
    try:
        found = [run for run in list_runs(runs) if run.kind == kind]
    except (OSError, SekftError):
        return None
    found.sort(key=lambda run: run.id == wanted)
    for run in reversed(found[-8:]):
        try:
            view = stored_view(run)
        except OSError:
            continue
        if len(view.steps) if isinstance(view, TrainView) else view.cells:
            return view
    return None
