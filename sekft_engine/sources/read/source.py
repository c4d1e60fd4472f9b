"""A source of trajectories or bundles: a path, or a data set on the Hub; its files and values."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sekft_engine.core.errors import BadInput
from sekft_engine.sources.read.data_files import (
    LINES,
    RAW,
    TABLE,
    DataFile,
    check_path,
    kind,
    list_files,
)
from sekft_engine.sources.read.parse import parse, unreadable
from sekft_engine.sources.read.tables import TableFile


class DataSource:
    """A folder or a file.

    Raises:
        BadInput: there is nothing at ``path``, or nothing that holds trajectories.
        Unavailable: no permission.
    """

    #: Whether files may come, grow, change and go.
    watched = True
    #: Whether raw recordings count only with ``keep``.
    raw = True

    def __init__(self, path: Path) -> None:
        check_path(path)
        self.root = path

    def __str__(self) -> str:
        return str(self.root)

    def list(self) -> list[DataFile]:
        """The files there are now, in the order of their rows."""
        return list_files(self.root)

    def path(self, name: str) -> Path:
        return self.root / name


class HubSource(DataSource):
    """The files of a split of a data set on the Hub, fetched or found in its cache when they are
    listed first. A published data set is curated."""

    watched = False
    raw = False

    def __init__(self, name: str, split: str = "train") -> None:
        self.name = name
        self.split = split
        self.root = Path("/")

    def __str__(self) -> str:
        return self.name

    def list(self) -> list[DataFile]:
        from sekft_engine.sources.read.hub import hub_files

        files = hub_files(self.name, self.split)
        return [DataFile(str(path.absolute().relative_to(self.root)), 0) for path in files]


def record_name(path: Path, number: int) -> str:
    """The id of a trajectory that has none; ``number`` is its line or row."""
    return path.stem if kind(path.name) in (RAW, "") else f"{path.stem}:{number}"


def record_where(path: Path | str, number: int) -> str:
    """A trajectory's place as a person is told it: the first line is 1, the first row 0."""
    path = str(path)
    if path.endswith(RAW):
        return path
    format_ = kind(path)
    if format_ == LINES:
        return f"{path}:{number}"
    return f"{path}:row {number}" if format_ == TABLE else path


def files_of(source: DataSource, *, what: str, kinds: Collection[str] = ()) -> list[Path]:
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
        with closing(TableFile(path)) as table:
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
