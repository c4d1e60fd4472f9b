"""The numbers of events: one sequence over the journals, which alone hold what happened.

An engine's events stand in several files: those of a job with a run in the run's journal, the rest
in the workspace's. The index says which lines of which file have which numbers, in pieces of a few
hundred. It lies in the workspace, so that a cursor stays valid when the engine is started again;
where it is lost, the sequence begins anew under another id.
"""

from __future__ import annotations

import bisect
import contextlib
import logging
import os
import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path

import msgspec

from sekft_engine.core.documents import NOT_JSON
from sekft_engine.core.files import write_whole
from sekft_engine.engine.socket.link import Place

INDEX = "resident.index"
#: A piece of the index holds no more lines or bytes than these (but one line always).
PIECE_LINES = 512
PIECE_BYTES = 1 << 16
#: With more pieces than this the oldest half is forgotten: some millions of events.
MOST_PIECES = 8192
#: So many events that no journal has (the disk refused them) are kept in memory.
MOST_UNWRITTEN = 256

#: Why events are lost whose run has no folder any more.
DELETED = "their run was deleted"

log = logging.getLogger(__name__)


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The index's first line."""

    journal: str
    format: int = 1


class Piece(msgspec.Struct, kw_only=True):
    """The events ``first``, ``first`` + 1, ... are ``lines`` lines of ``path`` from byte ``offset``
    to ``end``. An empty path: no journal has them, and ``unwritten`` does.

    The index holds the first three; the next entry says where a piece ends.
    """

    first: int
    path: str
    offset: int
    end: int = 0
    lines: int = 0
    unwritten: list[bytes] = []


class Lost(Exception):
    """The events ``first`` to ``last`` cannot be read any more."""

    def __init__(self, first: int, last: int, why: str) -> None:
        super().__init__(why)
        self.first = first
        self.last = last


class History:
    """The events of a workspace's engine by number.

    Args:
        root: the workspace's folder. Its index is read, continued and written.
        told: the newest events, in order, of which the process before this one was told.
        journal: the id of the sequence that process gave, and ``last`` the number of the last of
            ``told``: where its index is lost, the sequence goes on all the same. "" = there was no
            such process.
    """

    def __init__(
        self, root: Path, told: Sequence[Place] = (), *, journal: str = "", last: int = 0
    ) -> None:
        self._root = root
        self._pieces: list[Piece] = []
        self._last = 0
        self.journal = secrets.token_hex(8)
        self._index: int | None = None
        try:
            self._load(root / INDEX, told)
        except (OSError, ValueError, *NOT_JSON):  # there is no index that can be read
            if journal:
                self.journal, self._last = journal, max(0, last - len(told))
            self._add_told(told)
        try:
            self._store(root / INDEX)
        except OSError as error:
            log.warning("events cannot be numbered for the next engine: %s", error)

    @property
    def span(self) -> tuple[int, int]:
        """The numbers of the first and the last event that can be had; (1, 0) = there are none."""
        return (self._pieces[0].first if self._pieces else self._last + 1), self._last

    def record(self, path: str, offset: int, size: int) -> None:
        """Give the next event its number: it is so many bytes of a journal."""
        self._add(path, offset, size)

    def record_unwritten(self, event: bytes) -> None:
        """Give the next event its number: no journal has it."""
        self._add_unwritten(event)

    def read(self, after: int) -> list[tuple[int, bytes]]:
        """The next events after the number ``after``, as lines of a journal: up to a piece of them.

        Lines that a crash left torn are passed over.

        Raises:
            Lost: the next ones are not there any more.
        """
        at = bisect.bisect_right(self._pieces, after + 1, key=lambda piece: piece.first) - 1
        if after >= self._last:
            return []
        if at < 0:
            raise Lost(after + 1, self._pieces[0].first - 1, "no journal has these events")
        piece = self._pieces[at]
        if after >= piece.first + piece.lines - 1:  # what followed is forgotten
            gap_end = self._pieces[at + 1].first - 1
            raise Lost(after + 1, gap_end, "no journal has these events")
        lines, offset, end = piece.lines, piece.offset, piece.end
        unwritten = piece.unwritten[:]
        last = piece.first + lines - 1
        found = iter(unwritten) if not piece.path else _lines(piece.path, offset, end)
        try:
            numbered = enumerate(islice(found, lines), start=piece.first)
            read = [(seq, line) for seq, line in numbered if seq > after]
        except OSError as error:
            deleted = not Path(piece.path).parent.exists()
            raise Lost(after + 1, last, DELETED if deleted else str(error)) from error
        whole = [(seq, line) for seq, line in read if _is_object(line)]
        if not whole:
            raise Lost(after + 1, last, "the journal has been changed")
        return whole

    def close(self) -> None:
        """Write down where the sequence ends: what others add to its last journal is not of it."""
        self._restore()
        if self._index is None:
            return
        newest = self._pieces[-1] if self._pieces else None
        if newest is not None and newest.path:
            end = Piece(first=self._last + 1, path=newest.path, offset=newest.end)
            with contextlib.suppress(OSError):
                os.write(self._index, self._entry(end, closed=True))
        os.close(self._index)
        self._index = None

    # --- adding -------------------------------------------------------------------------------

    def _add(self, path: str, offset: int, size: int) -> None:
        self._last += 1
        piece = self._pieces[-1] if self._pieces else None
        if (
            piece is None
            or piece.path != path
            or piece.end != offset
            or piece.lines >= PIECE_LINES
            or offset + size - piece.offset > PIECE_BYTES
        ):
            piece = Piece(first=self._last, path=path, offset=offset, end=offset)
            self._begin(piece)
        piece.end = offset + size
        piece.lines += 1

    def _add_unwritten(self, line: bytes) -> None:
        self._last += 1
        piece = self._pieces[-1] if self._pieces else None
        if piece is None or piece.path or piece.lines >= MOST_UNWRITTEN // 2:
            piece = Piece(first=self._last, path="", offset=0)
            self._begin(piece)
            for old in [old for old in self._pieces if not old.path][:-2]:
                self._pieces.remove(old)
        piece.unwritten.append(line)
        piece.lines += 1

    def _begin(self, piece: Piece) -> None:
        self._restore()
        self._pieces.append(piece)
        if len(self._pieces) > MOST_PIECES:
            del self._pieces[: MOST_PIECES // 2]
        if self._index is not None:
            try:
                os.write(self._index, self._entry(piece))
            except OSError:
                # The next engine cannot continue a sequence with a gap, and begins another one.
                os.close(self._index)
                self._index = None
                with contextlib.suppress(OSError):
                    (self._root / INDEX).unlink()

    def _restore(self) -> None:
        """Write the index again where someone has removed it."""
        if self._index is None or os.fstat(self._index).st_nlink:
            return
        os.close(self._index)
        self._index = None
        with contextlib.suppress(OSError):
            self._store(self._root / INDEX)

    def _entry(self, piece: Piece, *, closed: bool = False) -> bytes:
        path = piece.path
        with contextlib.suppress(ValueError):
            path = str(Path(path).relative_to(self._root)) if path else ""
        entry = _Entry(seq=piece.first, path=path, at=piece.offset, closed=closed)
        return msgspec.json.encode(entry) + b"\n"

    # --- the index on disk ----------------------------------------------------------------------

    def _load(self, index: Path, told: Sequence[Place]) -> None:
        """Take up the sequence of the last engine, or of the last process that served this one;
        what other commands added to the last journal since is part of it where that was killed,
        since nobody wrote down where its own lines end."""
        with index.open("rb") as file:
            header = msgspec.json.decode(file.readline(), type=Header)
            if header.format != 1:
                return
            newest_lines = deque(file, maxlen=MOST_PIECES)
        entries = [msgspec.json.decode(line, type=_Entry) for line in newest_lines]
        if not entries:
            self.journal = header.journal
            self._add_told(told)
            return
        pieces = [
            Piece(first=one.seq, path=str(self._root / one.path) if one.path else "", offset=one.at)
            for one in entries
        ]
        for piece, after in pairwise(pieces):
            piece.lines = after.first - piece.first
            piece.end = after.offset if after.path == piece.path else -1
        newest = pieces.pop()
        if entries[-1].closed:
            self._pieces, self._last, self.journal = pieces, newest.first - 1, header.journal
            self._add_told(told)
            return
        if not newest.path:
            raise ValueError("how many events were in memory is not known")
        self._pieces, self._last, self.journal = pieces, newest.first - 1, header.journal
        try:
            begun = [at for at, one in enumerate(told) if _begins(newest, one)]
            if begun:  # its length is not in the index, but this is
                told = told[begun[-1] :]
            else:
                here = (one.offset for one in told if one.path == newest.path)
                self._count(newest, min(here, default=-1))
            self._add_told(told)
        except OSError:
            self._pieces, self._last, self.journal = [], 0, secrets.token_hex(8)
            raise

    def _add_told(self, told: Sequence[Place]) -> None:
        for place in told:
            self._add(place.path, place.offset, place.size)

    def _count(self, newest: Piece, stop: int) -> None:
        """Add the lines of the last piece, whose end nobody wrote down, up to the byte ``stop`` of
        its journal (-1 = all)."""
        offset = newest.offset
        with Path(newest.path).open("rb") as file:
            file.seek(offset)
            for line in file:
                if 0 <= stop <= offset:
                    break
                if line.endswith(b"\n"):
                    self._add(newest.path, offset, len(line))
                offset += len(line)
        if self._last < newest.first:
            raise OSError("the journal is shorter than it was")

    def _store(self, index: Path) -> None:
        """Write the index anew, without what was forgotten, and keep it open for more."""
        header = msgspec.json.encode(Header(journal=self.journal)) + b"\n"
        kept = self._pieces[-MOST_PIECES // 2 :]
        write_whole(index, header + b"".join(map(self._entry, kept)))
        self._pieces = kept
        self._index = os.open(index, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)


def _begins(piece: Piece, place: Place) -> bool:
    return (piece.path, piece.offset) == (place.path, place.offset)


class _Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the index. ``closed``: the sequence ends before it, at this byte."""

    seq: int
    path: str
    at: int
    closed: bool = False


def _lines(path: str, offset: int, end: int) -> Iterator[bytes]:
    """The lines of a file from a byte to another (-1 = to its end), without line ends."""
    with Path(path).open("rb") as file:
        file.seek(offset)
        if end >= 0:
            yield from file.read(end - offset).split(b"\n")
            return
        for line in file:
            yield line.rstrip(b"\n")


def _is_object(line: bytes) -> bool:
    """Whether the line is a whole JSON object."""
    if not line.startswith(b"{"):
        return False
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except NOT_JSON:
        return False
    return True
