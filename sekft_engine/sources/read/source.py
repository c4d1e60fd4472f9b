"""A source of trajectories or bundles: a path, or a data set on the Hub; its files and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from sekft_engine.core.documents import NOT_JSON
from sekft_engine.core.errors import BadInput
from sekft_engine.data.read_report import Rejected
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.sources.read.data_files import (
    LINES,
    RAW,
    TABLE,
    DataFile,
    check_path,
    kind,
    list_files,
    stem,
)
from sekft_engine.sources.read.packed import damage, ended_early, opened
from sekft_engine.sources.read.parse import (
    duplicate_keys,
    is_bracketed,
    parse,
    refuse_deep,
    unreadable,
)
from sekft_engine.sources.read.pieces import is_blank, pieces, shape
from sekft_engine.sources.read.plain import plain_trajectory
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
        #: Files that were there when the files were listed and are not read, by their endings.
        self.passed_over: dict[str, int] = {}

    def __str__(self) -> str:
        return str(self.root)

    def list(self) -> list[DataFile]:
        """The files there are now, in the order of their rows."""
        counts: Counter[str] = Counter()
        found = list_files(self.root, counts)
        self.passed_over = dict(sorted(counts.items()))
        return found

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
        self.passed_over = {}

    def __str__(self) -> str:
        return self.name

    def list(self) -> list[DataFile]:
        from sekft_engine.sources.read.hub import hub_files

        files = hub_files(self.name, self.split)
        return [DataFile(str(path.absolute().relative_to(self.root)), 0) for path in files]


def record_name(path: Path, line: int, item: int = 0) -> str:
    """The id of a trajectory that has none; ``line`` is its line or row, 0 = the whole file."""
    return RecordFile(path).name(line, item)


def record_where(path: Path, line: int, item: int = 0) -> str:
    """A trajectory's place as a person is told it: the first line is 1, the first row 0, the first
    of several on a line or in a list item 1."""
    return RecordFile(path).where(line, item)


def files_of(source: DataSource, *, what: str, kinds: Collection[str] = ()) -> list[Path]:
    """The files of a source, or those of some formats.

    Raises:
        BadInput: there are none.
    """
    files = [source.path(each.name) for each in source.list()]
    found = [file for file in files if not kinds or kind(file.name) in kinds]
    if not found:
        raise nothing_here(what, str(source), source.passed_over)
    return found


def nothing_here(what: str, where: str, passed_over: Mapping[str, int]) -> BadInput:
    """The error that there is nothing to read.

    Args:
        what: is sought, in the plural.
        where: the source.
        passed_over: what is there instead, by its ending.
    """
    there = ", ".join(f"{number:,} {ending}" for ending, number in passed_over.items())
    return BadInput(
        f"no {what} here" + (f", only {there}" if there else ""),
        where=where,
        mend="give a folder of .json files, or a .jsonl file",
    )


class Record(NamedTuple):
    """What stands at one place of a file.

    Attributes:
        file: its file.
        line: the line or row; 0 = the whole file is one value.
        item: the number of the value among several on the line, from 1; 0 = it is alone.
        value: the JSON value; None if there is an ``error``.
        duplicates: keys that stood twice in an object of the text.
        error: why there is no value.
        trajectory: what it is, in place of the value, if that is known already.
    """

    file: RecordFile
    line: int
    item: int = 0
    value: Any = None
    duplicates: Sequence[str] = ()
    error: Rejected | None = None
    trajectory: Trajectory | None = None

    @property
    def where(self) -> str:
        """The place, as a person is told it."""
        return self.file.where(self.line, self.item)

    @property
    def name(self) -> str:
        """The id of a trajectory that has none."""
        return self.file.name(self.line, self.item)

    @property
    def raw(self) -> bool:
        """Whether it is a recording, which counts only with ``keep``."""
        return not self.line and self.file.kind == RAW


class RecordFile:
    """A file of values.

    Args:
        path: the file.
        trajectories: whether lines may be read as trajectories at once.
    """

    def __init__(self, path: Path, *, trajectories: bool = False) -> None:
        self.path = path
        self._trajectories = trajectories
        self.kind = kind(path.name)
        self._text = str(path)
        self._stem = stem(path.name)

    def where(self, line: int, item: int = 0) -> str:
        if self.kind == TABLE:
            return f"{self._text}:row {line}"
        if item:
            return f"{self._text}:{line} item {item}"
        return f"{self._text}:{line}" if line else self._text

    def name(self, line: int, item: int = 0) -> str:
        if item:
            return f"{self._stem}:{line}.{item}"
        return f"{self._stem}:{line}" if line or self.kind == TABLE else self._stem

    def records(self) -> Iterator[Record]:
        """What stands in it, in order. What cannot be read is a record too.

        Raises:
            Unavailable: no permission to read, or the extra that reads it is not installed.
        """
        line = 0
        try:
            for record in self._rows() if self.kind == TABLE else self._texts():
                line = record.line + 1
                yield record
        except Rejected as error:
            yield Record(self, line, error=error)
        except OSError as error:
            raise unreadable(self.path, error) from error

    def _texts(self) -> Iterator[Record]:
        last: Record | None = None
        with opened(self.path) as file:
            for record in self._lines(file) if self.kind == LINES else self._whole(file):
                if last is not None:
                    yield last
                last = record
            damaged = ended_early(file)
        cut = damaged and last and last.error and last.error.reason in ("broken_json", "half_line")
        if last is not None and not cut:
            yield last
        if damaged:
            yield Record(self, last.line if last else 1, error=damage(self.path))

    def _rows(self) -> Iterator[Record]:
        with closing(TableFile(self.path)) as table:
            for number, row in table.rows():
                if isinstance(row, Rejected):
                    yield Record(self, number, error=row)
                else:
                    yield Record(self, number, value=row)

    def _lines(self, file: BinaryIO) -> Iterator[Record]:
        """A value on each line, but for lists and the like; or the whole file as one text."""
        with opened(self.path) as head:
            whole = shape(head) == "whole"
        if whole:
            yield from self._whole(file, lines=True)
            return
        for number, line in enumerate(file, 1):
            if line.startswith(b"{") or not is_blank(line):
                unfinished = not line.endswith(b"\n")
                for record in self._of_line(line.removesuffix(b"\n"), number):
                    if unfinished and record.error and record.error.reason == "broken_json":
                        record.error.reason = "half_line"
                    yield record

    def _of_line(self, line: bytes, number: int) -> Iterator[Record]:
        if self._trajectories and (trajectory := plain_trajectory(line)) is not None:
            yield Record(self, number, trajectory=trajectory)
            return
        try:
            value = msgspec.json.decode(line)
        except NOT_JSON:
            value = None
        if isinstance(value, dict):
            yield self._record(line, number, value=value)
            return
        for piece in pieces(line):
            yield self._record(piece.of(line), number, piece.item)

    def _whole(self, file: BinaryIO, *, lines: bool = False) -> Iterator[Record]:
        """The one value of a ``.json``, or the many of a list."""
        text = file.read()
        for piece in pieces(text):
            alone = not piece.item and not lines
            yield self._record(piece.of(text), 0 if alone else piece.line + 1, piece.item)

    def _record(self, text: bytes, line: int, item: int = 0, *, value: Any = None) -> Record:
        """The record of a JSON text; ``value`` is what it was parsed to, if it was."""
        try:
            if value is None:
                value = parse(text, self.where(line, item))
            elif is_bracketed(text):
                refuse_deep(value, self.where(line, item))
        except Rejected as error:
            return Record(self, line, item, error=error)
        return Record(self, line, item, value, duplicate_keys(text, value))
