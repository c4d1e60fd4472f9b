"""Runs that were deleted: moved into ``trash/`` of their workspace, from where they come back."""

from __future__ import annotations

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
    if run.parent.name != "runs" or not run.is_dir() or run.is_symlink():
        raise BadInput("no folder among a workspace's runs", where=str(run), mend="rm -r it")
    if (run / EVENTS).is_file() and is_being_written(run / EVENTS):
        raise BadInput("the run is running", where=run.name, mend="stop it first")
    trash = run.parent.parent / TRASH
    return _move(run, trash)


def restore(name: str, runs: Path) -> Path:
    """Move what was deleted last under this name back among ``runs``; returns where it is now.

    Raises:
        BadInput: there is no such run in the trash, or another one has its name now.
        Unavailable: it cannot be moved.
    """
    trash = runs.parent / TRASH
    found = [folder for folder in (trash / name, *sorted(trash.glob("*"))) if _named(folder, name)]
    if not found or not name or "/" in name:
        raise BadInput("no such run in the trash", where=str(trash / name), mend=f"ls {trash}")
    if (runs / name).exists():
        raise BadInput("another run has this name now", where=str(runs / name))
    return _move(found[-1], runs, name)


def _named(folder: Path, name: str) -> bool:
    stem, _, number = folder.name.rpartition("~")
    return folder.is_dir() and (folder.name == name or (stem == name and number.isdecimal()))


def _move(folder: Path, into: Path, name: str = "") -> Path:
    target = into / (name or folder.name)
    number = 1
    while target.exists():
        number += 1
        target = into / f"{folder.name}~{number}"
    try:
        into.mkdir(exist_ok=True)
        folder.rename(target)
    except OSError as error:
        unknown = Unavailable(f"cannot be moved: {error.strerror}", where=str(folder))
        raise explain_os_error(error) or unknown from error
    return target
