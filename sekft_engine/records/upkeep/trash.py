"""Runs that were deleted: moved into ``trash/`` of their workspace, from where they come back."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from pathlib import Path

from sekft_engine.core.errors import BadInput, Unavailable, explain_os_error
from sekft_engine.records.journal import is_being_written
from sekft_engine.records.runs import EVENTS

TRASH = "trash"


def discard(run: Path) -> Path:
    """Move the run in the folder ``run`` into the trash of its workspace; returns where it is now.

    Raises:
        BadInput: it is being written, or is no folder among runs.
        Unavailable: it cannot be moved.
    """
    if run.parent.name == "runs" and not os.path.lexists(run):
        raise BadInput("there is no such run any more", where=str(run), mend="sekft runs list")
    if run.parent.name != "runs" or not run.is_dir() or run.is_symlink():
        raise BadInput("no folder among a workspace's runs", where=str(run), mend="rm -r it")
    if (run / EVENTS).is_file() and is_being_written(run / EVENTS):
        raise BadInput("the run is running", where=run.name, mend="stop it first")
    place = _move(run, run.parent.parent / TRASH)
    now = time.time_ns()
    with suppress(OSError):  # of a folder that is somebody else's the order is not known then
        os.utime(place, ns=(now, now))
    return place


def last_deleted(runs: Path) -> str:
    """The name of the run that was deleted last, as it was called among ``runs``; "" = none is in
    the trash."""
    found = _deleted(runs)
    return _name(found[-1]) if found else ""


def restore(name: str, runs: Path) -> Path:
    """Move what was deleted last under this name back among ``runs``; returns where it is now.

    Raises:
        BadInput: there is no such run in the trash, or another one has its name now.
        Unavailable: it cannot be moved.
    """
    trash = runs.parent / TRASH
    found = [folder for folder in _deleted(runs) if name in (folder.name, _name(folder))]
    if not found or not name or "/" in name:
        raise BadInput("no such run in the trash", where=str(trash / name), mend=f"ls {trash}")
    if os.path.lexists(runs / name):
        raise BadInput(
            "another run has this name now",
            where=str(runs / name),
            mend=f"move it from {found[-1]} to another name by hand",
        )
    return _move(found[-1], runs, name)


def _deleted(runs: Path) -> list[Path]:
    """The folders in the trash, the one that was deleted last at the end: :func:`discard` leaves
    the time in the folder's own."""
    try:
        there = list((runs.parent / TRASH).iterdir())
    except OSError:
        return []
    times = [(folder, _time(folder)) for folder in there]
    # Names settle it for folders of an earlier version, which may have the same time.
    found = sorted((when, _number(folder), folder) for folder, when in times if when is not None)
    return [folder for _, _, folder in found]


def _time(folder: Path) -> int | None:
    """When the folder was last changed; None = there is no folder here."""
    try:
        state = folder.lstat()
    except OSError:
        return None
    return state.st_mtime_ns if stat.S_ISDIR(state.st_mode) else None


def _number(folder: Path) -> int:
    """Which of the runs deleted under one name it is, as :func:`_move` counts them."""
    stem, _, number = folder.name.rpartition("~")
    return int(number) if stem and number.isascii() and number.isdecimal() else 1


def _name(folder: Path) -> str:
    """The name that a folder in the trash had before."""
    return folder.name.rpartition("~")[0] if _number(folder) > 1 else folder.name


def _move(folder: Path, into: Path, name: str = "") -> Path:
    target = into / (name or folder.name)
    number = 1
    while os.path.lexists(target):
        number += 1
        target = into / f"{folder.name}~{number}"
    try:
        into.mkdir(exist_ok=True)
        folder.rename(target)
    except OSError as error:
        unknown = Unavailable(f"cannot be moved: {error.strerror}", where=str(folder))
        raise explain_os_error(error) or unknown from error
    return target
