"""Scanning: read the files of an index, piece by piece, into its session table."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter, deque
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

from sekft_engine.core.errors import SekftError, Unavailable
from sekft_engine.sources.index.facts import KEEP, FactTuple, Problem, skim
from sekft_engine.sources.index.file_problems import FOLDER, FRESH_NS, FileProblems
from sekft_engine.sources.index.file_table import DONE, NEW, SKIPPED, FileTable
from sekft_engine.sources.index.session_table import Place, SessionTable
from sekft_engine.sources.index.table_facts import COLUMNS, skim_batch
from sekft_engine.sources.index.text_facts import facts_in, line_facts
from sekft_engine.sources.read.data_files import LINES, RAW, TABLE, kind
from sekft_engine.sources.read.line_reader import LineProgress, Shrunk
from sekft_engine.sources.read.packed import damage, is_damaged, packing, plain_file
from sekft_engine.sources.read.parse import duplicate_id, is_utf8, unreadable
from sekft_engine.sources.read.pieces import is_blank, pieces, shape
from sekft_engine.sources.read.source import DataSource, RecordFile, record_where
from sekft_engine.sources.read.tables import TableFile, explained

#: Rows that are gathered before they are put into the columns.
BATCH = 1024
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
        self.file_problems = FileProblems()
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
        whole = [(file, _LAST, problem) for file, problem in self.file_problems.reported.items()]
        found = sorted([*self.sessions.problems, *whole], key=itemgetter(0, 1))
        problems = [problem for _, _, problem in found]
        more = self.sessions.more_problems
        if more:
            problems.append(
                Problem(
                    where=str(self.source), what=f"{more} more problems", reason="more", dropped=""
                )
            )
        return problems

    @property
    def dropped(self) -> dict[str, int]:
        """How many problems there are, by the reasons under which training counts them."""
        counts = Counter(problem.dropped for _, _, problem in self.sessions.problems)
        counts.update(problem.dropped for problem in self.file_problems.reported.values())
        for reasons in self.sessions.uncounted.values():
            counts.update(reasons)
        return dict(counts.most_common())

    def path(self, file: int) -> Path:
        return self.source.path(self.files.name(file))

    def where(self, file: int, line: int, item: int = 0) -> str:
        """A place as it is shown to a person."""
        name = self.files.name(file)
        return record_where(Path(f"{self._folder}{name}" if name else str(self.source)), line, item)

    def raw(self, file: int, line: int) -> bool:
        """Whether what stands there is a raw recording, which counts only with ``keep``."""
        if line or not self.source.raw:
            return False
        return kind(self.files.name(file) or self.source.root.name) == RAW

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
            self.file_problems.report(FOLDER, Problem.of(error, "unreadable"))
            return
        self.files.add([each.name for each in found], [each.inode for each in found])

    def _start(self) -> Iterator[None]:
        if self.to_read_again:
            file = self.to_read_again.popleft()
        else:
            file, self._next = self._next, self._next + 1
        path = self.path(file)
        self.file_problems.forget(file)
        format_ = kind(path.name)
        if format_ == LINES:
            return self._read_lines(file, path)
        if self.files.states[file] != NEW:
            self.sessions.flush()
            self.sessions.forget_problems(file)
        return self._read_table(file, path) if format_ == TABLE else self._read_raw(file, path)

    # --- whole files ------------------------------------------------------------------------------

    def _read_raw(self, file: int, path: Path) -> Iterator[None]:
        """One recording, or a list."""
        try:
            data, status = self._read(path)
        except (OSError, SekftError) as error:
            self._unreadable(file, path, error)
            return
        rows = [] if self.files.states[file] == NEW else self.sessions.rows_of(file).tolist()
        self.files.record(file, status, DONE)
        record = RecordFile(path)
        (first, *more) = pieces(data)
        if more or first.item:
            yield from self._take_whole(file, record, data, status)
            return
        data = first.of(data)
        found = facts_in(data, record.where(0), record.name(0), safe=is_utf8(data))
        if isinstance(found, SekftError):
            self.forget(file)
            self.file_problems.hold(file, Problem.of(found, "broken", record.name(0)), status)
        elif self.keep_only and not found.flags & KEEP:
            self.forget(file)
            self.files.states[file] = SKIPPED
        elif len(rows) == 1 and self.sessions.id(rows[0]) == found.id:
            self.generation += 1
            self.sessions.overwrite(rows[0], Place(file, 0, 0, len(data)), found)
        else:
            self.forget(file)
            self.sessions.add(Place(file, 0, 0, len(data)), found)
        self._note_damage(file, path)
        yield

    def _take_whole(
        self, file: int, record: RecordFile, data: bytes, status: os.stat_result
    ) -> Iterator[None]:
        """The values of a text that is no single value and not made of lines."""
        self.forget(file)
        found = pieces(data)
        for piece in found:
            text = piece.of(data)
            where = record.where(piece.line + 1, piece.item)
            name = record.name(piece.line + 1, piece.item)
            facts = facts_in(text, where, name, safe=is_utf8(text))
            place = Place(file, piece.line + 1, piece.offset, piece.length, piece.item)
            if isinstance(facts, FactTuple):
                self.sessions.add(place, facts)
            elif piece is found[-1]:
                self.file_problems.hold(file, Problem.of(facts, "broken", name), status)
            else:
                self.sessions.problem(file, place.line, Problem.of(facts, "broken", name))
            if piece.item % BATCH == 0:
                yield
        self._note_damage(file, record.path)
        yield

    def _read(self, path: Path) -> tuple[bytes, os.stat_result]:
        """The contents of a file, unpacked, and what the file was like then."""
        with plain_file(path).open("rb", buffering=0) as opened:
            data = opened.read()
            return data, path.stat() if packing(path.name) else os.fstat(opened.fileno())

    def _note_damage(self, file: int, path: Path) -> None:
        if packing(path.name) and is_damaged(path):
            self.sessions.flush()
            name = RecordFile(path).name(1)
            self.file_problems.report(file, Problem.of(damage(path), "broken", name))

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
                            problem = Problem.of(facts, "broken", f"{path.stem}:{n}")
                            self.sessions.problem(file, n, problem)
                        else:
                            self.sessions.add(Place(file, n, 0, 0), facts)
                    yield
        except Unavailable as error:
            self.file_problems.report(file, Problem.of(error, "unreadable"))
        except SekftError as error:
            self.file_problems.hold(file, Problem.of(error, "broken"), status)

    # --- one trajectory per line ------------------------------------------------------------------

    def _read_lines(self, file: int, path: Path) -> Iterator[None]:
        packed = packing(path.name)
        try:
            with plain_file(path).open("rb", buffering=0) as opened:
                state = self.lines.get(file)
                status = path.stat() if packed else os.fstat(opened.fileno())
                if not (
                    state
                    and not state.undecided
                    and self.files.grown(file, status)
                    and state.fits(opened)
                ):
                    self.forget(file)
                    self.files.states[file] = DONE
                    with plain_file(path).open("rb") as head:
                        found = shape(head)
                    if found == "whole":
                        opened.seek(0)
                        self.files.record(file, status, DONE)
                        yield from self._take_whole(file, RecordFile(path), opened.read(), status)
                        return
                    state = self.lines[file] = LineProgress(undecided=found == "undecided")
                tail = b""
                for block in state.blocks(opened):
                    if isinstance(block, os.stat_result):
                        self.files.record(file, status if packed else block, DONE)
                        self._take_tail(file, path, state, tail, status if packed else block)
                    elif block.endswith(b"\n"):
                        self._take(file, path, state, block)
                    else:
                        tail = block
                    yield
            if packed:
                del self.lines[file]  # it never grows
                self._note_damage(file, path)
        except Shrunk:
            self.forget(file)
            self.to_read_again.append(file)
        except (OSError, SekftError) as error:
            self._unreadable(file, path, error)

    def _take(self, file: int, path: Path, state: LineProgress, block: bytes) -> None:
        """The rows of a block of whole lines."""
        safe = is_utf8(block)
        number, start, record = state.line, 0, RecordFile(path)
        prefix = f"{record.name(0)}:" if record.kind == LINES else ""
        while (end := block.find(b"\n", start)) >= 0:
            number += 1
            line = block[start:end]
            offset, start = state.start + start, end + 1
            facts = skim(line, f"{prefix}{number}") if safe else None
            place = Place(file, number, offset, len(line))
            if facts is not None and not state.tail_row:
                self.sessions.add(place, facts)
                continue
            if is_blank(line) and not state.tail_row:
                continue
            values = self._values(state, record, place, line)
            state.tail_row = False
            for place, found in values:
                if isinstance(found, FactTuple):
                    self.sessions.add(place, found)
                else:
                    problem = Problem.of(found, "broken", record.name(number, place.item))
                    self.sessions.problem(file, number, problem)

    def _values(
        self, state: LineProgress, record: RecordFile, place: Place, line: bytes
    ) -> list[tuple[Place, FactTuple | SekftError]]:
        """What is on a line and has no row yet. If it had no end when it was read last, its rows
        are updated where they can stay, else they go."""
        found = line_facts(line, place, record)
        if not state.tail_row:
            return found
        state.tail_row = False
        self.sessions.forget_problems(place.file, place.line)
        if len(found) == 1:
            ((place, facts),) = found
            row = self.sessions.find(facts.id) if isinstance(facts, FactTuple) else None
            if isinstance(facts, FactTuple) and row is not None:
                old = self.sessions.place(row)
                if (old.file, old.offset) == (place.file, place.offset):
                    self.sessions.overwrite(row, place, facts)
                    state.tail_row = True
                    return []
        self.generation += 1
        self.sessions.forget(place.file, since=state.start)
        return found

    def _take_tail(
        self, file: int, path: Path, state: LineProgress, tail: bytes, status: os.stat_result
    ) -> None:
        """The last line, which has no end: rows if there are any, else perhaps half a line."""
        if is_blank(tail) and not state.tail_row:
            return
        self.sessions.flush()
        record, number = RecordFile(path), state.line + 1
        found = self._values(state, record, Place(file, number, state.start, len(tail)), tail)
        for place, facts in found:
            name = record.name(number, place.item)
            if isinstance(facts, SekftError):
                if place is not found[-1][0]:
                    self.sessions.problem(file, number, Problem.of(facts, "broken", name))
                    state.tail_row = True
                else:
                    self.file_problems.hold(file, Problem.of(facts, "unfinished", name), status)
                continue
            first = self.sessions.find(facts.id)
            if first is not None and len(found) == 1:
                told = self.sessions.where(self.sessions.place(first))
                error = duplicate_id(facts.id, told, self.sessions.where(place))
                self.file_problems.hold(file, Problem.of(error, "twice", facts.id), status)
                continue
            self.sessions.add(place, facts)
            self.sessions.flush()
            state.tail_row = True

    # --- files without rows ---------------------------------------------------------------------

    def _unreadable(self, file: int, path: Path, error: OSError | SekftError) -> None:
        self.forget(file)
        self.files.states[file] = DONE
        with contextlib.suppress(OSError):
            self.files.record(file, path.stat(), DONE)
        told = unreadable(path, error) if isinstance(error, OSError) else error
        name = RecordFile(path).name(0)
        self.file_problems.report(file, Problem.of(told, "unreadable", name))

    def forget(self, file: int) -> None:
        """Remove all rows and problems of a file. Files with the same ids are read again."""
        if self.files.states[file] == NEW:
            return
        self.sessions.flush()
        todo = [file]
        while todo:
            each = todo.pop()
            self.lines.pop(each, None)
            self.file_problems.forget(each)
            self.sessions.forget_problems(each)
            if not self.sessions.has(each):
                continue
            self.generation += 1  # before the numbers change, so that no reader confuses them
            self.sessions.forget(each)
            others = self.sessions.files_with("twice") | self.file_problems.files_with("twice")
            for other in others - {each, *todo}:
                self.to_read_again.append(other)
                todo.append(other)
