"""Runs on disk as rows: a run is read again only if its files have changed."""

from __future__ import annotations

import os
from pathlib import Path

from sekft_engine.core.errors import BadInput
from sekft_engine.records.adapters import read_meta
from sekft_engine.records.journal import is_being_written
from sekft_engine.records.runs import (
    EVENTS,
    MANIFEST,
    RunInfo,
    Unreadable,
    read_folder,
    run_folders,
)
from sekft_engine.records.upkeep.run_notes import NOTES, read_notes
from sekft_tui.model.runs.stored import last_step
from sekft_tui.model.runs.summary import loss_text
from sekft_tui.panes.runs.rows import Row

#: What changes when something happens to a run: its folder, and files in it.
_TELLING = ("", f"/{MANIFEST}", f"/{NOTES}", f"/{EVENTS}")
#: What is known of a file without reading it; None = there is none.
_Stamp = tuple[int, int, int] | None


class RunShelf:
    """Reads runs. One thread may call it at a time; the rows may be used by any."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[_Stamp, ...], Row | None]] = {}

    def read(self, runs: Path) -> tuple[Row, ...]:
        """A row for each run, oldest first, and then for each folder that cannot be read as one.
        The row of what has not changed is the same object as before."""
        before, found = self._known, {}
        for folder in run_folders(runs):
            stamps = tuple(_stamp(f"{folder}{name}") for name in _TELLING)
            known = before.get(folder)
            if known is None or known[0] != stamps or _has_another_writer(known[1]):
                known = stamps, _read(folder)
            found[folder] = known
        self._known = found
        rows = [row for _, row in found.values() if row is not None]
        rows.sort(key=lambda row: row.run is None)
        return tuple(rows)


def _stamp(path: str) -> _Stamp:
    try:
        status = os.stat(path)  # noqa: PTH116 - there are thousands, and a Path takes longer
    except OSError:
        return None
    return status.st_ctime_ns, status.st_size, status.st_ino


def _has_another_writer(row: Row | None) -> bool:
    """Whether a run without an ending has lost or found a process that writes it: no file tells."""
    run = row.run if row is not None else None
    if run is None or run.status not in ("running", "died"):
        return False
    return is_being_written(run.events_path) != (run.status == "running")


def _read(folder: Path) -> Row | None:
    match read_folder(folder):
        case Unreadable(why=why):
            return Row(folder, None, why=why)
        case RunInfo() as run:
            return Row(folder, run, read_notes(folder), step=_step(run))
    return None


def _step(run: RunInfo) -> str:
    """How far a training run without a result came, and its adapter where that differs."""
    if run.kind != "train" or run.error or run.result:
        return ""
    last = last_step(run)
    if last is None:
        return ""
    far = f"step {last.step} of {last.steps}  loss {loss_text(last.loss)}"
    saved = _saved_step(run)
    return f"{far}  adapter of step {saved}" if saved not in (0, last.step) else far


def _saved_step(run: RunInfo) -> int:
    """The step of the adapter on disk; 0 = there is none, or it does not say."""
    try:
        meta = read_meta(Path(run.adapter)) if run.adapter else None
    except (OSError, BadInput):
        return 0
    return meta.step if meta is not None else 0
