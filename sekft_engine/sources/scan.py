"""Scanning: read the files of an index bit by bit into its catalogue."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

from sekft_engine.errors import SekftError, Unavailable
from sekft_engine.sources.catalog import Catalogue, Place
from sekft_engine.sources.facts import KEEP, Known, Problem, known, skim
from sekft_engine.sources.filetable import DONE, NEW, SKIPPED, FileTable
from sekft_engine.sources.lines import LineFile, Shrunk
from sekft_engine.sources.listing import LINES, RAW, TABLE, kind
from sekft_engine.sources.read import is_utf8, unreadable
from sekft_engine.sources.record import trajectory_in, twice
from sekft_engine.sources.skim_table import COLUMNS, skim_batch
from sekft_engine.sources.source import Source, record_where
from sekft_engine.sources.tables import Table, telling

#: Rows that are gathered before they are put into the columns.
BATCH = 1024
#: What changed less long ago may still be being written.
FRESH_NS = 2_000_000_000
#: The number under which the folder itself has a problem.
FOLDER = -1
_LAST = 1 << 62


class Scan:
    """The files of one path, how far each is read, and the catalogue that they fill."""

    def __init__(self, source: Source, *, keep_only: bool) -> None:
        self.source = source
        self._folder = f"{str(source.root).rstrip('/')}/"
        self.catalogue = Catalogue(self.where, self.raw)
        self.files = FileTable()
        self.generation = 0
        self.listed = False
        self.again: deque[int] = deque()  # files to read once more
        self.lines: dict[int, LineFile] = {}
        self.held: dict[int, Problem] = {}  # may be half written: not told yet
        self.loose: dict[int, Problem] = {}  # was so when last read; may be mended
        self.keep_only = keep_only and source.raw
        self._next = 0  # the first file that was never read
        self._running: Iterator[None] | None = None

    @property
    def complete(self) -> bool:
        return (
            self.listed
            and self._running is None
            and not self.again
            and self._next >= len(self.files)
        )

    @property
    def problems(self) -> list[Problem]:
        loose = [(file, _LAST, problem) for file, problem in self.loose.items()]
        found = sorted([*self.catalogue.problems, *loose], key=itemgetter(0, 1))
        told = [problem for _, _, problem in found]
        more = self.catalogue.more_problems
        if more:
            told.append(
                Problem(where=str(self.source), what=f"{more} more problems", reason="more")
            )
        return told

    def path(self, file: int) -> Path:
        return self.source.path(self.files.name(file))

    def where(self, file: int, line: int) -> str:
        """The place as a person is told it."""
        name = self.files.name(file)
        return record_where(f"{self._folder}{name}" if name else str(self.source), line)

    def raw(self, file: int) -> bool:
        """Whether a file is a raw recording, which counts only with ``keep``."""
        return self.source.raw and kind(self.files.name(file) or self.source.root.name) == RAW

    def unchanged(self, file: int) -> bool:
        """Whether a file is what it was when it was read."""
        try:
            return self.files.same(file, self.path(file).stat())
        except OSError:
            return False

    def settling(self) -> bool:
        """Whether a file changed so lately that a further change may leave no trace."""
        return self.files.fresh(time.time_ns(), FRESH_NS)

    def go_on(self) -> None:
        """Take all files for read: their states were brought back."""
        self.listed = True
        self._next = len(self.files)

    # --- reading on -----------------------------------------------------------------------------

    def advance(self, deadline: float) -> bool:
        """Read on until ``deadline`` (monotonic seconds); true while more is left."""
        while not self.complete:
            if self._running is not None:
                if next(self._running, self) is self:
                    self._running = None
            elif not self.listed:
                self._list()
            else:
                self._running = self._start()
            if self.catalogue.waiting >= BATCH:
                self.catalogue.flush()
            if time.monotonic() >= deadline:
                break
        self.catalogue.flush()
        return not self.complete

    def _list(self) -> None:
        self.listed = True
        try:
            found = self.source.list()
        except SekftError as error:
            self.loose[FOLDER] = Problem.of(error, "unreadable")
            return
        self.files.add([each.name for each in found], [each.inode for each in found])

    def _start(self) -> Iterator[None]:
        if self.again:
            file = self.again.popleft()
        else:
            file, self._next = self._next, self._next + 1
        path = self.path(file)
        self.held.pop(file, None)
        self.loose.pop(file, None)
        format_ = kind(path.name)
        if format_ == LINES:
            return self._read_lines(file, path)
        if self.files.states[file] != NEW:
            self.catalogue.flush()
            self.catalogue.forget_problems(file)
        return self._read_table(file, path) if format_ == TABLE else self._read_raw(file, path)

    # --- one trajectory per file ------------------------------------------------------------------

    def _read_raw(self, file: int, path: Path) -> Iterator[None]:
        try:
            with path.open("rb", buffering=0) as opened:
                data = opened.read()
                status = os.fstat(opened.fileno())
        except OSError as error:
            self._unreadable(file, path, error)
            return
        rows = [] if self.files.states[file] == NEW else self.catalogue.rows_of(file).tolist()
        self.files.note(file, status, DONE)
        found = facts_in(data, str(path), path.stem, safe=is_utf8(data))
        if isinstance(found, SekftError):
            self.forget(file)
            self._hold(file, Problem.of(found, "broken"), status)
        elif self.keep_only and not found.flags & KEEP:
            self.forget(file)
            self.files.states[file] = SKIPPED
        elif rows and self.catalogue.id(rows[0]) == found.id:
            self.generation += 1
            self.catalogue.overwrite(rows[0], (file, 0, 0, len(data)), found)
        else:
            self.forget(file)
            self.catalogue.add((file, 0, 0, len(data)), found)
        yield

    # --- one trajectory per row -------------------------------------------------------------------

    def _read_table(self, file: int, path: Path) -> Iterator[None]:
        try:
            status = path.stat()
        except OSError as error:
            self._unreadable(file, path, error)
            return
        self.forget(file)
        self.files.note(file, status, DONE)
        try:
            with contextlib.closing(Table(path)) as table:
                columns = [name for name in COLUMNS if name in table.columns]
                for first, batch in table.batches(columns, size=BATCH):
                    with telling(path):
                        found = skim_batch(batch, first, str(path), path.stem)
                    for n, told in enumerate(found, first):
                        if isinstance(told, SekftError):
                            self.catalogue.problem(file, n, Problem.of(told, "broken"))
                        else:
                            self.catalogue.add((file, n, 0, 0), told)
                    yield
        except Unavailable as error:
            self.loose[file] = Problem.of(error, "unreadable")
        except SekftError as error:
            self._hold(file, Problem.of(error, "broken"), status)

    # --- one trajectory per line ------------------------------------------------------------------

    def _read_lines(self, file: int, path: Path) -> Iterator[None]:
        try:
            with path.open("rb", buffering=0) as opened:
                state = self.lines.get(file)
                status = os.fstat(opened.fileno())
                if state is None or not (self.files.grown(file, status) and state.fits(opened)):
                    self.forget(file)
                    state = self.lines[file] = LineFile()
                    self.files.states[file] = DONE
                tail = b""
                for block in state.blocks(opened):
                    if isinstance(block, os.stat_result):
                        self.files.note(file, block, DONE)
                        self._take_tail(file, path, state, tail, block)
                    elif block.endswith(b"\n"):
                        self._take(file, path, state, block)
                    else:
                        tail = block
                    yield
        except Shrunk:
            self.forget(file)
            self.again.append(file)
        except OSError as error:
            self._unreadable(file, path, error)

    def _take(self, file: int, path: Path, state: LineFile, block: bytes) -> None:
        """The rows of a block of whole lines."""
        safe = is_utf8(block)
        number, start, stem = state.line, 0, path.stem
        while (end := block.find(b"\n", start)) >= 0:
            number += 1
            line = block[start:end]
            offset, start = state.start + start, end + 1
            found = skim(line, f"{stem}:{number}") if safe else None
            if found is None:
                if not line.strip():
                    continue
                told = facts_in(line, f"{path}:{number}", f"{stem}:{number}", safe=False)
            else:
                told = found
            if state.tail_row and self._settle(state, (file, number, offset, len(line)), told):
                continue
            if isinstance(told, SekftError):
                self.catalogue.problem(file, number, Problem.of(told, "broken"))
            else:
                self.catalogue.add((file, number, offset, len(line)), told)

    def _settle(self, state: LineFile, place: Place, told: Known | SekftError) -> bool:
        """A line that had no end stands as a row already: whether it can stay, with what came."""
        state.tail_row = False
        row = self.catalogue.find(told.id) if isinstance(told, Known) else None
        if isinstance(told, Known) and row is not None:
            old = self.catalogue.place(row)
            if (old[0], old[2]) == (place[0], place[2]):
                self.catalogue.overwrite(row, place, told)
                return True
        self.generation += 1
        self.catalogue.forget(place[0], offset=place[2])
        return False

    def _take_tail(
        self, file: int, path: Path, state: LineFile, tail: bytes, status: os.stat_result
    ) -> None:
        """The last line, which has no end: a row if it is one, else perhaps half a line."""
        if not tail.strip():
            return
        number = state.line + 1
        where = f"{path}:{number}"
        place = (file, number, state.start, len(tail))
        self.catalogue.flush()
        told = facts_in(tail, where, f"{path.stem}:{number}", safe=is_utf8(tail))
        if state.tail_row and self._settle(state, place, told):
            state.tail_row = True
            return
        if isinstance(told, SekftError):
            self._hold(file, Problem.of(told, "unfinished"), status)
            return
        first = self.catalogue.find(told.id)
        if first is not None:
            error = twice(told.id, self.where(*self.catalogue.place(first)[:2]), where)
            self._hold(file, Problem.of(error, "twice"), status)
            return
        self.catalogue.add(place, told)
        self.catalogue.flush()
        state.tail_row = True

    # --- what does not go well --------------------------------------------------------------------

    def _hold(self, file: int, problem: Problem, status: os.stat_result) -> None:
        """Tell a problem, or keep it back while somebody may still be writing."""
        fresh = time.time_ns() - status.st_mtime_ns < FRESH_NS
        (self.held if fresh else self.loose)[file] = problem

    def _unreadable(self, file: int, path: Path, error: OSError) -> None:
        self.forget(file)
        self.files.states[file] = DONE
        with contextlib.suppress(OSError):
            self.files.note(file, path.stat(), DONE)
        self.loose[file] = Problem.of(unreadable(path, error), "unreadable")

    def forget(self, file: int) -> None:
        """Take out whatever came from a file. Those whose ids stood there too are read again."""
        if self.files.states[file] == NEW:
            return
        self.catalogue.flush()
        todo = [file]
        while todo:
            each = todo.pop()
            self.lines.pop(each, None)
            self.held.pop(each, None)
            self.loose.pop(each, None)
            self.catalogue.forget_problems(each)
            if not self.catalogue.has(each):
                continue
            self.generation += 1  # before the numbers change, so that nobody mistakes them
            self.catalogue.forget(each)
            others = self.catalogue.files_with("twice") | {
                other for other, problem in self.loose.items() if problem.reason == "twice"
            }
            for other in others - {each, *todo}:
                self.again.append(other)
                todo.append(other)


def facts_in(data: bytes, where: str, name: str, *, safe: bool) -> Known | SekftError:
    """The facts in a JSON text, or what is wrong with it; ``safe`` tells that it is UTF-8."""
    found = skim(data, name) if safe else None
    if found is not None:
        return found
    try:
        return known(trajectory_in(data, where, name))
    except SekftError as error:
        return error
