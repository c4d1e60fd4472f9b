"""Which files a path stands for: a folder, one file, or the files of a data set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from sekft_engine.errors import BadInput
from sekft_engine.sources.read import unreadable

#: Formats by the end of a file's name.
RAW, LINES, TABLE = ".json", ".jsonl", "table"
KINDS = {".json": RAW, ".jsonl": LINES, ".parquet": TABLE, ".arrow": TABLE}

_MEND = "give a folder of .json files, a .json, .jsonl, .parquet or .arrow file"


class Found(NamedTuple):
    """A file by its name below the path that was given ('' for the path itself)."""

    name: str
    inode: int


def kind(name: str) -> str:
    """:data:`RAW`, :data:`LINES`, :data:`TABLE`, or '' for what is not ours."""
    return KINDS.get(os.path.splitext(name)[1], "")  # noqa: PTH122 - names, by the 100,000


def check_path(path: Path) -> bool:
    """Whether ``path`` is a folder.

    Raises:
        BadInput: there is nothing, or nothing that this can read.
        Unavailable: no permission to look.
    """
    try:
        if path.is_dir():
            return True
        if not path.exists():
            raise BadInput("no such file or folder", where=str(path), mend="check the path")
        if not kind(path.name) or not path.is_file():
            raise BadInput(
                "cannot tell what kind of trajectories this is", where=str(path), mend=_MEND
            )
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:  # a NUL in the path
        raise BadInput(str(error), where=repr(str(path)), mend="check the path") from error
    return False


def list_files(path: Path) -> list[Found]:
    """The files that ``path`` stands for, sorted by name; a file stands for itself.

    Files whose name begins with a dot are someone's work in progress and are left out.
    """
    try:
        if not path.is_dir():
            return [Found("", path.stat().st_ino)]
        with os.scandir(path) as entries:
            found = [
                Found(entry.name, entry.inode())
                for entry in entries
                if kind(entry.name) and not entry.name.startswith(".") and entry.is_file()
            ]
    except OSError as error:
        raise unreadable(path, error) from error
    found.sort()
    return found
