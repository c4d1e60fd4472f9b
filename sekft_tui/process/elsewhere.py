"""Runs of the workspace that another process is writing: another window's, or a command's."""

from __future__ import annotations

import stat
from collections.abc import Collection
from pathlib import Path

from sekft_engine.core.errors import BadInput
from sekft_engine.records.journal import is_being_written
from sekft_engine.records.runs import EVENTS, RunInfo, read_run


def running_elsewhere(runs: Path, own: Collection[str]) -> list[RunInfo]:
    """The runs that some process is writing, besides those in the folders ``own``, newest last.
    Quick enough for a key: of most runs only the lock is looked at."""
    found = []
    try:
        folders = sorted(path for path in runs.iterdir() if str(path) not in own)
    except OSError:
        return []
    for folder in folders:
        journal = folder / EVENTS
        if _is_file(journal) and is_being_written(journal):
            try:
                found.append(read_run(folder))
            except (BadInput, OSError):
                continue
    return found


def _is_file(path: Path) -> bool:
    """Whether it is a plain file: opening a pipe would wait for its other end."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False
