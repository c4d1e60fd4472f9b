"""Tables: rows of parquet and Arrow files, as the Hub and the library ``datasets`` keep them.

pyarrow is imported with the first table; it comes with the extra ``hub``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.documents import NOT_JSON
from sekft_engine.core.errors import SekftError, Unavailable
from sekft_engine.data.read_report import Rejected
from sekft_engine.data.reading import TURN_KEYS
from sekft_engine.sources.read.parse import unreadable

#: Rows that are taken out of a file at once.
BATCH = 128
_MEND = "write it again, or remove it"


class TableFile:
    """The rows of one file; reads only the part and the columns that are asked for.

    Raises:
        Rejected: it is no such file, it is damaged, or it has no column with turns.
        Unavailable: pyarrow is not installed, or the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with explained(path):
            self._file: _Parquet | _Arrow = (
                _Parquet(path) if path.suffix.lower() == ".parquet" else _Arrow(path)
            )
        self.columns: tuple[str, ...] = tuple(self._file.schema.names)
        if not any(key in self.columns for key in TURN_KEYS):
            names = ", ".join(map(repr, self.columns[:8]))
            raise Rejected(
                "not_a_session",
                f"no column of turns among {names or 'no columns at all'}",
                where=str(path),
                mend="name it turns, messages or conversations",
            )

    def __len__(self) -> int:
        return self._file.rows

    def batches(
        self, columns: Sequence[str] | None = None, start: int = 0, size: int = BATCH
    ) -> Iterator[tuple[int, Any]]:
        """Arrow record batches with the number of their first row, from row ``start`` on."""
        batches = self._file.batches(columns, start, size)
        while True:
            with explained(self.path):
                found = next(batches, None)
                if found is not None:
                    # A damaged batch must not be looked into: its offsets may lead anywhere.
                    found[1].validate(full=True)
            if found is None:
                return
            yield found

    def rows(self, start: int = 0) -> Iterator[tuple[int, dict[str, Any] | Rejected]]:
        """Whole rows as a reader of JSON would give them, or what is wrong with one."""
        for first, batch in self.batches(None, start):
            for n in range(len(batch)):
                yield first + n, row_of(batch, n, f"{self.path}:row {first + n}")

    def close(self) -> None:
        self._file.close()


def row_of(batch: Any, n: int, where: str) -> dict[str, Any] | Rejected:
    """Row ``n`` of a record batch, without the nulls that a table has to put for what is absent,
    and with the columns parsed that hold JSON."""
    row = {
        name: column[n].as_py()
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    try:
        for name in ("meta", *TURN_KEYS):
            if name in row:
                row[name] = _parsed(row[name])
    except NOT_JSON as error:
        what = f"broken JSON in column {name}: {error}"
        return Rejected("broken_row", what, where=where, mend=_MEND)
    present: dict[str, Any] = _present(row)
    return present


def _parsed(value: Any) -> Any:
    """JSON that stands in a string, or in each string of a list; a struct of lists as a list."""
    if isinstance(value, str):
        return msgspec.json.decode(value)
    if isinstance(value, list):
        return [msgspec.json.decode(each) if isinstance(each, str) else each for each in value]
    if isinstance(value, dict) and {"role", "from"} & set(value):
        columns = {name: each for name, each in value.items() if isinstance(each, list)}
        count = max((len(each) for each in columns.values()), default=0)
        return [
            {name: each[n] for name, each in columns.items() if n < len(each)} for n in range(count)
        ]
    return value


def _present(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _present(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_present(each) for each in value]
    return value


class _Parquet:
    """Row groups are read one at a time."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet

        self._file = pyarrow.parquet.ParquetFile(path)
        self.schema = self._file.schema_arrow
        self.rows: int = self._file.metadata.num_rows

    def batches(
        self, columns: Sequence[str] | None, start: int, size: int
    ) -> Iterator[tuple[int, Any]]:
        first = 0
        for group in range(self._file.num_row_groups):
            count = self._file.metadata.row_group(group).num_rows
            if first + count > start:
                at = first
                for batch in self._file.iter_batches(
                    size, row_groups=[group], columns=columns, use_threads=False
                ):
                    if at + len(batch) > start:
                        skip = max(0, start - at)
                        yield at + skip, batch.slice(skip)
                    at += len(batch)
            first += count

    def close(self) -> None:
        self._file.close()


class _Arrow:
    """The file is mapped, not loaded: its batches are told without touching their contents."""

    def __init__(self, path: Path) -> None:
        import pyarrow

        self._source = pyarrow.memory_map(str(path))
        if self._source.read(6) == b"ARROW1":
            table = pyarrow.ipc.open_file(self._source).read_all()
        else:
            self._source.seek(0)
            table = pyarrow.ipc.open_stream(self._source).read_all()
        self._table = table
        self.schema = table.schema
        self.rows: int = table.num_rows

    def batches(
        self, columns: Sequence[str] | None, start: int, size: int
    ) -> Iterator[tuple[int, Any]]:
        table = self._table if columns is None else self._table.select(columns)
        for batch in table.slice(start).to_batches(max_chunksize=size):
            yield start, batch
            start += len(batch)

    def close(self) -> None:
        # Whoever still holds a batch keeps the mapping.
        self._table = self._table.slice(0, 0)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn errors of pyarrow into errors that name the file and the way out."""
    try:
        yield
    except ImportError as error:
        raise without_extra("reading this file", str(path)) from error
    except SekftError:
        raise
    except OSError as error:
        if error.errno is not None and error.strerror:
            raise unreadable(path, error) from error
        raise _damaged(path, error) from error
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:  # ArrowInvalid, too
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> Rejected:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return Rejected("damaged_file", f"broken table: {reason}", where=str(path), mend=_MEND)


def without_extra(doing: str, where: str) -> Unavailable:
    """The error that the extra is not installed."""
    return Unavailable(
        f"{doing} needs the extra hub",
        where=where,
        mend="pip install 'sekft-tui[hub]', or give .json or .jsonl files",
    )
