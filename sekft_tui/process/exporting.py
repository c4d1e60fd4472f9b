"""What ``E`` does: write what a pane shows to a file, in the form that its name's ending says."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from textual.message import Message

from sekft_engine.core.errors import BadInput, SekftError, in_words
from sekft_engine.core.files import write_whole

#: Makes the content of a file; called on a thread, so it must not touch widgets.
Writer = Callable[[], bytes]


class Exported(Message):
    """The file is written, or ``error`` says why not."""

    def __init__(self, path: Path, error: str = "") -> None:
        super().__init__()
        self.path = path
        self.error = error


def file_name(text: str) -> str:
    """``text`` as the beginning of a file's name."""
    return re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII).strip("._-")[:80] or "sekft"


def target(text: str, endings: Iterable[str]) -> Path:
    """The file that was typed.

    Raises:
        BadInput: it has another ending, is there already, its folder is not, or no file can
            have that name.
    """
    path = Path(text.strip()).expanduser().absolute()
    if path.suffix.lower() not in endings:
        raise BadInput(f"the ending says what is written: {' '.join(endings)}")
    if not path.parent.is_dir():
        raise BadInput("no such folder", where=str(path.parent))
    try:
        path.lstat()
    except FileNotFoundError:
        return path
    except OSError as error:  # a name that no file can have
        raise BadInput(str(error.strerror), where=text) from error
    raise BadInput(f"already there; choose another name, such as {unused(path).name}")


def unused(path: Path) -> Path:
    """``path``, or one with a number beside it where that is there already."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def write(path: Path, writer: Writer, post: Callable[[Message], object]) -> None:
    """Write the file on a thread; ``post`` gets an :class:`Exported`."""

    def work() -> None:
        try:
            write_whole(path, writer())
        except (SekftError, OSError, ValueError) as error:
            post(Exported(path, in_words(error)))
        else:
            post(Exported(path))

    threading.Thread(target=work, name="sekft-export", daemon=True).start()


def as_csv(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """A table with a line of names; what is not finite is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow([_cell(value) for value in row])
    return out.getvalue().encode("utf-8", "replace")


def as_json(columns: Mapping[str, Sequence[Any]], **more: Any) -> bytes:
    """One document: ``more``, and the rows as a list of objects; what is not finite is null."""
    names = tuple(columns)
    rows = [
        dict(zip(names, map(_finite, row), strict=True))
        for row in zip(*columns.values(), strict=True)
    ]
    return json.dumps(more | {"rows": rows}, indent=1).encode() + b"\n"


def _cell(value: Any) -> Any:
    """A spreadsheet takes a text that begins like this for a formula."""
    value = _finite(value)
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return "" if value is None else value


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
