"""Read JSON from files, so that whatever is wrong with one is said with its name and line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.errors import BadInput, SekftError, Unavailable

_BOM = b"\xef\xbb\xbf"


def json_files(path: Path, *, what: str) -> list[Path]:
    """The ``.json`` and ``.jsonl`` files that ``path`` (a file or a folder) stands for, sorted.

    Files whose name begins with a dot are someone's work in progress and are left out.
    """
    try:
        if path.is_dir():
            found = sorted(
                entry
                for entry in path.iterdir()
                if entry.suffix in (".json", ".jsonl")
                and not entry.name.startswith(".")
                and entry.is_file()
            )
            if not found:
                raise BadInput(
                    f"no {what} here",
                    where=str(path),
                    mend="give a folder of .json files, or a .jsonl file",
                )
            return found
        if not path.exists():
            raise BadInput("no such file or folder", where=str(path), mend="check the path")
        if path.suffix not in (".json", ".jsonl") or not path.is_file():
            raise BadInput(
                f"cannot tell what kind of {what} this is",
                where=str(path),
                mend="give a folder of .json files, a .json or a .jsonl file",
            )
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:  # a NUL in the path
        raise BadInput(str(error), where=repr(str(path)), mend="check the path") from error
    return [path]


def records(path: Path) -> Iterator[tuple[Any, str, str]]:
    """The JSON values of one file, each with where it stands and a name for want of an id.

    Raises:
        BadInput: broken JSON or not UTF-8, with file and line.
        Unavailable: no permission to read.
    """
    if path.suffix == ".jsonl":
        for number, line in _lines(path):
            where = f"{path}:{number}"
            yield parse(line, where), where, f"{path.stem}:{number}"
        return
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    yield parse(data, str(path)), str(path), path.stem


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise unreadable(path, error) from error


def parse(data: bytes, where: str) -> Any:
    """One JSON value, or :class:`BadInput` naming ``where`` and the line within."""
    data = data.removeprefix(_BOM)
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        # The tolerant reader decides: it takes lone surrogates, and tells line and column.
        pass
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start)
        raise BadInput(
            f"not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}",
            where=_deeper(where, line),
            mend="convert the file, as with iconv -t UTF-8",
        ) from error
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(
            f"broken JSON: {error.msg} at column {error.colno}",
            where=_deeper(where, error.lineno - 1),
            mend="mend or remove it",
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"broken JSON: {error}", where=where, mend="mend or remove it") from error


def _deeper(where: str, lines: int) -> str:
    """``where`` with a line: a ``.jsonl`` place has one already and its values are one line."""
    head, _, tail = where.rpartition(":")
    return where if head and tail.isdigit() else f"{where}:{lines + 1}"


def unreadable(path: Path, error: OSError) -> SekftError:
    """What to tell of a file that the operating system does not let us read."""
    return Unavailable(
        f"cannot read: {error.strerror or error}",
        where=str(error.filename or path),
        mend="check its permissions",
    )
