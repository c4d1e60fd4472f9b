"""The values that stand in files of any format, one by one: the strict way of training."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sekft_engine.errors import BadInput
from sekft_engine.sources.listing import LINES, TABLE, kind
from sekft_engine.sources.read import parse, unreadable
from sekft_engine.sources.source import Source, record_name, record_where
from sekft_engine.sources.tables import Table


def files_of(source: Source, *, what: str, kinds: Collection[str] = ()) -> list[Path]:
    """The files of a source, or those of some formats.

    Raises:
        BadInput: there are none.
    """
    files = [source.path(each.name) for each in source.list()]
    found = [file for file in files if not kinds or kind(file.name) in kinds]
    if not found:
        raise BadInput(
            f"no {what} here",
            where=str(source),
            mend="give a folder of .json files, or a .jsonl file",
        )
    return found


def records(path: Path) -> Iterator[tuple[Any, str, str]]:
    """The values of one file, each with where it stands and a name for want of an id.

    Raises:
        BadInput: broken JSON or not UTF-8, with file and line; a broken table.
        Unavailable: no permission to read, or the extra for tables is not installed.
    """
    for number, value in _values(path):
        yield value, record_where(path, number), record_name(path, number)


def _values(path: Path) -> Iterator[tuple[int, Any]]:
    format_ = kind(path.name)
    if format_ == TABLE:
        with closing(Table(path)) as table:
            for number, row in table.rows():
                if isinstance(row, BadInput):
                    raise row
                yield number, row
        return
    try:
        if format_ == LINES:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield number, parse(line.removesuffix(b"\n"), record_where(path, number))
            return
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    yield 0, parse(data, str(path))
