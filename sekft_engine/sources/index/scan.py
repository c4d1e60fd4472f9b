"""Scanning: read the files of an index, piece by piece, into its session table."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

from sekft_engine.core.errors import SekftError, Unavailable
from sekft_engine.sources.index.facts import KEEP, FactTuple, Problem, facts_of, skim
from sekft_engine.sources.index.file_table import DONE, NEW, SKIPPED, FileTable
from sekft_engine.sources.index.session_table import Place, SessionTable
from sekft_engine.sources.index.table_facts import COLUMNS, skim_batch
from sekft_engine.sources.read.data_files import LINES, RAW, TABLE, kind
from sekft_engine.sources.read.line_reader import LineProgress, Shrunk
from sekft_engine.sources.read.parse import duplicate_id, is_utf8, trajectory_in, unreadable
from sekft_engine.sources.read.source import DataSource, record_where
from sekft_engine.sources.read.tables import TableFile, explained

#: Rows that are gathered before they are put into the columns.
BATCH = 1024
#: A file that changed less than so many ns ago may still be in the process of being written.
FRESH_NS = 2_000_000_000
#: The number under which the folder itself has a problem.
FOLDER = -1
_LAST = 1 << 62


class Scan:
    """The files of one source, how far each is read, and the session table that they fill.

    Args:
        source: where the files are.
        keep_only: leave out raw recordings whose ``keep`` is not true.
    """

    def __init__(self, source: DataSource, *, keep_only: bool) -> None:
        self.source = source
        self._folder = f"{str(source.root).rstrip('/')}/"
        self.sessions = SessionTable(self.where, self.raw)
        self.files = FileTable()
        self.generation = 0
        self.listed = False
        self.to_read_again: deque[int] = deque()  # files to read once more
        self.lines: dict[int, LineProgress] = {}
        self.held: dict[int, Problem] = {}  # may be half written: not reported yet
        self.loose: dict[int, Problem] = {}  # found when last read; may be repaired
        self.keep_only = keep_only and source.raw
        self._next = 0  # the first file that was never read
        self._running: Iterator[None] | None = None

    @property
    def complete(self) -> bool:
        return (
            self.listed
            and self._running is None
            and not self.to_read_again
            and self._next >= len(self.files)
        )

    @property
    def problems(self) -> list[Problem]:
        loose = [(file, _LAST, problem) for file, problem in self.loose.items()]
        found = sorted([*self.sessions.problems, *loose], key=itemgetter(0, 1))
        problems = [problem for _, _, problem in found]
        more = self.sessions.more_problems
        if more:
            problems.append(
                Problem(where=str(self.source), what=f"{more} more problems", reason="more")
            )
        return problems

    def path(self, file: int) -> Path:
        return self.source.path(self.files.name(file))

    def where(self, file: int, line: int) -> str:
        """A place as it is shown to a person."""
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

    def mark_all_read(self) -> None:
        """Take all files as read: their states were loaded."""
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
            if self.sessions.waiting >= BATCH:
                self.sessions.flush()
            if time.monotonic() >= deadline:
                break
        self.sessions.flush()
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
        if self.to_read_again:
            file = self.to_read_again.popleft()
        else:
            file, self._next = self._next, self._next + 1
        path = self.path(file)
        self.held.pop(file, None)
        self.loose.pop(file, None)
        format_ = kind(path.name)
        if format_ == LINES:
            return self._read_lines(file, path)
        if self.files.states[file] != NEW:
            self.sessions.flush()
            self.sessions.forget_problems(file)
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
        rows = [] if self.files.states[file] == NEW else self.sessions.rows_of(file).tolist()
        self.files.record(file, status, DONE)
        found = facts_in(data, str(path), path.stem, safe=is_utf8(data))
        if isinstance(found, SekftError):
            self.forget(file)
            self._hold(file, Problem.of(found, "broken"), status)
        elif self.keep_only and not found.flags & KEEP:
            self.forget(file)
            self.files.states[file] = SKIPPED
        elif rows and self.sessions.id(rows[0]) == found.id:
            self.generation += 1
            self.sessions.overwrite(rows[0], (file, 0, 0, len(data)), found)
        else:
            self.forget(file)
            self.sessions.add((file, 0, 0, len(data)), found)
        yield

    # --- one trajectory per row -------------------------------------------------------------------

    def _read_table(self, file: int, path: Path) -> Iterator[None]:
        try:
            status = path.stat()
        except OSError as error:
            self._unreadable(file, path, error)
            return
        self.forget(file)
        self.files.record(file, status, DONE)
        try:
            with contextlib.closing(TableFile(path)) as table:
                columns = [name for name in COLUMNS if name in table.columns]
                for first, batch in table.batches(columns, size=BATCH):
                    with explained(path):
                        found = skim_batch(batch, first, str(path), path.stem)
                    for n, facts in enumerate(found, first):
                        if isinstance(facts, SekftError):
                            self.sessions.problem(file, n, Problem.of(facts, "broken"))
                        else:
                            self.sessions.add((file, n, 0, 0), facts)
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
                    state = self.lines[file] = LineProgress()
                    self.files.states[file] = DONE
                tail = b""
                for block in state.blocks(opened):
                    if isinstance(block, os.stat_result):
                        self.files.record(file, block, DONE)
                        self._take_tail(file, path, state, tail, block)
                    elif block.endswith(b"\n"):
                        self._take(file, path, state, block)
                    else:
                        tail = block
                    yield
        except Shrunk:
            self.forget(file)
            self.to_read_again.append(file)
        except OSError as error:
            self._unreadable(file, path, error)

    def _take(self, file: int, path: Path, state: LineProgress, block: bytes) -> None:
        """The rows of a block of whole lines."""
        safe = is_utf8(block)
        number, start, stem = state.line, 0, path.stem
        while (end := block.find(b"\n", start)) >= 0:
            number += 1
            line = block[start:end]
            offset, start = state.start + start, end + 1
            facts: FactTuple | SekftError | None
            facts = skim(line, f"{stem}:{number}") if safe else None
            if facts is None:
                if not line.strip():
                    continue
                facts = facts_in(line, f"{path}:{number}", f"{stem}:{number}", safe=False)
            if state.tail_row and self._update_tail(
                state, (file, number, offset, len(line)), facts
            ):
                continue
            if isinstance(facts, SekftError):
                self.sessions.problem(file, number, Problem.of(facts, "broken"))
            else:
                self.sessions.add((file, number, offset, len(line)), facts)

    def _update_tail(
        self, state: LineProgress, place: Place, facts: FactTuple | SekftError
    ) -> bool:
        """Update the row of a line that had no end when it was read; false if it cannot stay."""
        state.tail_row = False
        row = self.sessions.find(facts.id) if isinstance(facts, FactTuple) else None
        if isinstance(facts, FactTuple) and row is not None:
            old = self.sessions.place(row)
            if (old[0], old[2]) == (place[0], place[2]):
                self.sessions.overwrite(row, place, facts)
                return True
        self.generation += 1
        self.sessions.forget(place[0], offset=place[2])
        return False

    def _take_tail(
        self, file: int, path: Path, state: LineProgress, tail: bytes, status: os.stat_result
    ) -> None:
        """The last line, which has no end: a row if it is one, else perhaps half a line."""
        if not tail.strip():
            return
        number = state.line + 1
        where = f"{path}:{number}"
        place = (file, number, state.start, len(tail))
        self.sessions.flush()
        facts = facts_in(tail, where, f"{path.stem}:{number}", safe=is_utf8(tail))
        if state.tail_row and self._update_tail(state, place, facts):
            state.tail_row = True
            return
        if isinstance(facts, SekftError):
            self._hold(file, Problem.of(facts, "unfinished"), status)
            return
        first = self.sessions.find(facts.id)
        if first is not None:
            error = duplicate_id(facts.id, self.where(*self.sessions.place(first)[:2]), where)
            self._hold(file, Problem.of(error, "twice"), status)
            return
        self.sessions.add(place, facts)
        self.sessions.flush()
        state.tail_row = True

    # --- problems --------------------------------------------------------------------

    def _hold(self, file: int, problem: Problem, status: os.stat_result) -> None:
        """Report a problem, or hold it back while somebody may still be writing."""
        fresh = time.time_ns() - status.st_mtime_ns < FRESH_NS
        (self.held if fresh else self.loose)[file] = problem

    def _unreadable(self, file: int, path: Path, error: OSError) -> None:
        self.forget(file)
        self.files.states[file] = DONE
        with contextlib.suppress(OSError):
            self.files.record(file, path.stat(), DONE)
        self.loose[file] = Problem.of(unreadable(path, error), "unreadable")

    def forget(self, file: int) -> None:
        """Remove all rows and problems of a file. Files with the same ids are read again."""
        if self.files.states[file] == NEW:
            return
        self.sessions.flush()
        todo = [file]
        while todo:
            each = todo.pop()
            self.lines.pop(each, None)
            self.held.pop(each, None)
            self.loose.pop(each, None)
            self.sessions.forget_problems(each)
            if not self.sessions.has(each):
                continue
            self.generation += 1  # before the numbers change, so that no reader confuses them
            self.sessions.forget(each)
            others = self.sessions.files_with("twice") | {
                other for other, problem in self.loose.items() if problem.reason == "twice"
            }
            for other in others - {each, *todo}:
                self.to_read_again.append(other)
                todo.append(other)


def facts_in(data: bytes, where: str, name: str, *, safe: bool) -> FactTuple | SekftError:
    """The facts in a JSON text, or what is wrong with it.

    Args:
        data: the text.
        where: its place, for the error.
        name: the id if it has none.
        safe: whether it is known to be UTF-8.
    """
    found = skim(data, name) if safe else None
    if found is not None:
        return found
    try:
        return facts_of(trajectory_in(data, where, name))
    except SekftError as error:
        return error
