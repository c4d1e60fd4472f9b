"""The saved index of a data set against an sqlite3 table with the same columns, in one run.

Each operation is timed in a process of its own, the two ways in turns, the best of several:

- ``open``: from nothing to the number of rows, a look at the data file, and the facts of the first
  50 rows; the file has not changed.
- ``find``: the row of an id, the first one after opening.
- ``filter``: the row numbers with ``outcome:exit turns>9 -archetype:count`` and the facts of the
  first 50 of them, without opening.
- ``follow``: a line was appended: read it, add its row, and count. The table is on disk then; the
  product writes its index again after some seconds of reading.
- ``columns``: as ``open``, with all columns in memory as arrays, as lists and filters want them.
  The product's index has them after ``open``.

The table has one index, on the id, ``synchronous=OFF``, and one transaction for each batch of rows.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

COLUMNS = (
    ("file", "INTEGER"), ("line", "INTEGER"), ("offset", "INTEGER"), ("length", "INTEGER"),
    ("id", "TEXT UNIQUE"), ("scenario", "TEXT"), ("archetype", "TEXT"), ("provider", "TEXT"),
    ("announcement", "TEXT"), ("outcome", "TEXT"), ("steps", "INTEGER"), ("turns", "INTEGER"),
    ("characters", "INTEGER"), ("flags", "INTEGER"),
)  # fmt: skip
_INSERT = f"INSERT INTO sessions VALUES ({','.join('?' * len(COLUMNS))})"
_FILTER = "outcome:exit turns>9 -archetype:count"
_PAGE = 50
_NEW = {"id": "appended", "archetype": "grep", "outcome": "exit", "keep": True}
_NEW_TURNS = [{"role": "user", "content": "$"}, {"role": "assistant", "content": "exit"}] * 6


def _row(index: Any, n: int) -> tuple[Any, ...]:
    place, facts = index.places(n, n + 1)[0], index.facts(n)
    return (
        *(int(place[name]) for name in ("file", "line", "offset", "length")),
        *(facts.id, facts.scenario, facts.archetype, facts.provider, facts.announcement),
        *(facts.outcome, facts.steps, facts.turns, facts.characters),
        facts.verified + 2 * facts.keep + 4 * facts.clean,
    )


class SavedIndex:
    """The product's own saved index."""

    def __init__(self, file: Path) -> None:
        from sekft_engine.sources import open_index

        self._index = open_index(file)

    def open(self) -> int:
        while self._index.advance(1.0):
            pass
        for n in range(min(_PAGE, len(self._index))):
            self._index.facts(n)
        return len(self._index)

    def find(self, identity: str) -> int | None:
        return self._index.find(identity)

    def filter(self) -> int:
        from sekft_engine.data.filters import parse
        from sekft_engine.sources.index.index_filter import IndexFilter

        index = self._index
        found = IndexFilter(parse(_FILTER), index)
        rows = [n for numbers, _ in found.pieces(0, len(index)) for n in numbers.tolist()]
        for n in rows[:_PAGE]:
            index.facts(n)
        return len(rows)

    def follow(self) -> int:
        while self._index.refresh():
            self._index.advance(1.0)
        return len(self._index)

    def columns(self) -> int:
        return len(self._index.column("turns")) + len(self._index.codes("outcome")[0])


class SqliteTable:
    """An sqlite3 table, opened where the product's index would have been."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._base = sqlite3.connect(file.with_suffix(".sqlite"))
        self._base.execute("PRAGMA synchronous=OFF")

    def build(self, index: Any) -> None:
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS)
        self._base.execute(f"CREATE TABLE sessions ({columns})")
        self._base.execute("CREATE TABLE files (inode INTEGER, size INTEGER, changed INTEGER)")
        with self._base:
            self._base.executemany(_INSERT, (_row(index, n) for n in range(len(index))))
            status = self._file.stat()
            state = (status.st_ino, status.st_size, status.st_mtime_ns)
            self._base.execute("INSERT INTO files VALUES (?,?,?)", state)

    def open(self) -> int:
        status = self._file.stat()
        (known,) = self._base.execute("SELECT * FROM files")
        if known != (status.st_ino, status.st_size, status.st_mtime_ns):
            raise SystemExit("the data file changed")
        (count,) = self._base.execute("SELECT COUNT(*) FROM sessions").fetchone()
        self._base.execute("SELECT * FROM sessions WHERE rowid <= ?", (_PAGE,)).fetchall()
        return int(count)

    def find(self, identity: str) -> int | None:
        found = self._base.execute("SELECT rowid FROM sessions WHERE id = ?", (identity,))
        row = found.fetchone()
        return None if row is None else row[0] - 1

    def filter(self) -> int:
        wanted = "outcome = 'exit' AND turns > 9 AND archetype NOT LIKE '%count%'"
        rows = self._base.execute(f"SELECT rowid FROM sessions WHERE {wanted}").fetchall()
        for (row,) in rows[:_PAGE]:
            self._base.execute("SELECT * FROM sessions WHERE rowid = ?", (row,)).fetchone()
        return len(rows)

    def follow(self) -> int:
        from sekft_engine.data.trajectory import OUTCOMES
        from sekft_engine.sources.index.facts import skim

        (_, size, _) = self._base.execute("SELECT * FROM files").fetchone()
        with self._file.open("rb") as file:
            file.seek(size)
            line = file.read()
        facts = skim(line, "")
        if facts is None:
            raise SystemExit("no trajectory")
        status = self._file.stat()
        names = (facts.id, facts.scenario, facts.archetype, facts.provider, facts.announcement)
        numbers = (facts.steps, facts.turns, facts.characters, facts.flags)
        with self._base:
            row = (0, 0, size, len(line), *names, OUTCOMES[facts.outcome], *numbers)
            self._base.execute(_INSERT, row)
            state = (status.st_size, status.st_mtime_ns)
            self._base.execute("UPDATE files SET size = ?, changed = ?", state)
        (count,) = self._base.execute("SELECT COUNT(*) FROM sessions").fetchone()
        return int(count)

    def columns(self) -> int:
        import numpy as np

        rows = self._base.execute("SELECT * FROM sessions").fetchall()
        columns = list(zip(*rows, strict=True))
        arrays = [
            np.array(column)
            for column, (_, kind) in zip(columns, COLUMNS, strict=True)
            if kind == "INTEGER"
        ]
        codes = [np.unique(column, return_inverse=True) for column in columns[5:10]]
        return len(arrays[5]) + len(codes[-1][1])


WAYS: dict[str, Callable[[Path], SavedIndex | SqliteTable]] = {
    "ours": SavedIndex,
    "sqlite": SqliteTable,
}
OPERATIONS = ("open", "columns", "find", "filter", "follow")


def measure(way: str, file: Path) -> dict[str, Any]:
    """Seconds of each operation, in this process; the imports are not measured."""
    import sekft_engine.data.filters
    import sekft_engine.sources.index.index_filter  # noqa: F401

    start = time.perf_counter()
    table = WAYS[way](file)
    rows = table.open()
    seconds = {"open": time.perf_counter() - start}
    last = f"count-{rows - 1:07}"
    answers: dict[str, Any] = {"open": rows, "columns": table.columns()}
    seconds["columns"] = time.perf_counter() - start
    queries: dict[str, Callable[[], object]] = {
        "find": lambda: table.find(last),
        "filter": table.filter,
    }
    for name, run in queries.items():
        start = time.perf_counter()
        answers[name] = run()
        seconds[name] = time.perf_counter() - start
    with file.open("a", encoding="utf-8") as data:
        data.write(json.dumps(_NEW | {"turns": _NEW_TURNS}) + "\n")
    old = time.time() - 3600  # nobody is writing it any more
    os.utime(file, (old, old))
    start = time.perf_counter()
    answers["follow"] = table.follow()
    seconds["follow"] = time.perf_counter() - start
    return {"seconds": seconds, "answers": answers}


def compare(lines: int, generate: Callable[[Path, int], None], rounds: int = 5) -> dict[str, Any]:
    """Both ways on the same generated data set; each round begins with the same files."""
    folder = Path(tempfile.mkdtemp(prefix="sekft-table-"))
    file, pristine = folder / "big.jsonl", folder / "pristine"
    os.environ["SEKFT_CACHE"] = str(folder / "sekft")
    try:
        from sekft_engine.sources import open_index
        from sekft_engine.sources.index import saved

        generate(file, lines)
        size, old = file.stat().st_size, time.time() - 3600
        os.utime(file, (old, old))
        index = open_index(file).read_all()
        saved.save(index._scan)  # noqa: SLF001 - whatever the time that reading took
        SqliteTable(file).build(index)
        stored = {
            "ours": next((folder / "sekft" / "index").iterdir()),
            "sqlite": file.with_suffix(".sqlite"),
        }
        pristine.mkdir()
        for way, path in stored.items():
            shutil.copy2(path, pristine / way)
        runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, path in stored.items():
                shutil.copy2(pristine / way, path)
                os.truncate(file, size)
                os.utime(file, (old, old))
                command = [sys.executable, "-m", __spec__.name, way, str(file)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                runs[way].append(json.loads(done.stdout))
        if any(
            run["answers"] != runs["ours"][0]["answers"] for some in runs.values() for run in some
        ):
            raise SystemExit("the two give other answers")
        best = {
            way: {name: min(run["seconds"][name] for run in some) for name in OPERATIONS}
            for way, some in runs.items()
        }
        return {
            "lines": lines,
            "answers": runs["ours"][0]["answers"],
            "bytes": {way: path.stat().st_size for way, path in stored.items()},
            "seconds": best,
            "ratio": {name: best["sqlite"][name] / best["ours"][name] for name in OPERATIONS},
        }
    finally:
        shutil.rmtree(folder)


def show(found: dict[str, Any]) -> None:
    sizes = ", ".join(f"{way} {size / 1e6:.1f} MB" for way, size in found["bytes"].items())
    print(f"{found['lines']:,} sessions; on disk: {sizes}")
    print(f"{'':10}{'ours ms':>10}{'sqlite ms':>11}{'ratio':>8}")
    for name in OPERATIONS:
        ours, theirs = (1000 * found["seconds"][way][name] for way in WAYS)
        print(f"{name:10}{ours:>10.2f}{theirs:>11.2f}{found['ratio'][name]:>8.2f}")


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
