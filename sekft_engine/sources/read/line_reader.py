"""Read the lines of a file that may still grow: whole ones in blocks, the unfinished one apart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

#: Bytes asked for at once.
CHUNK = 1 << 20
_ANCHOR = 64


#: What :meth:`LineProgress.dump_state` tells.
LineState = tuple[int, int, bool, bytes, bytes, bool]


class Shrunk(Exception):
    """The file became shorter while it was read."""


class LineProgress:
    """How far a file of lines is read.

    Attributes:
        start: offset of the first line that is not finished, in bytes.
        line: number of lines before it.
        tail_row: whether that unfinished line has rows already.
        undecided: whether what comes may show that these are no lines.
    """

    def __init__(self, *, undecided: bool = False) -> None:
        self.start = 0
        self.line = 0
        self.tail_row = False
        self.undecided = undecided
        self._head = b""
        self._last = b""

    def dump_state(self) -> LineState:
        """All of it, for :meth:`from_state`."""
        return self.start, self.line, self.tail_row, self._head, self._last, self.undecided

    @classmethod
    def from_state(cls, state: LineState) -> LineProgress:
        """A file that is read as far as :meth:`dump_state` told."""
        file = cls()
        file.start, file.line, file.tail_row, file._head, file._last, file.undecided = state
        return file

    def fits(self, file: BinaryIO) -> bool:
        """Whether ``file`` still begins with what was read, by a look at both ends of it."""
        file.seek(0)
        if file.read(len(self._head)) != self._head:
            return False
        file.seek(self.start - len(self._last))
        return file.read(len(self._last)) == self._last

    def blocks(self, file: BinaryIO) -> Iterator[bytes | os.stat_result]:
        """Blocks of whole lines from ``start`` on, which moves along; b'' where there was not
        yet a whole one. Then what is left, b'' or a line without an end; last what the file was
        like then.

        Raises:
            Shrunk: the file is shorter than what was read.
        """
        file.seek(self.start)
        position = self.start
        parts: list[bytes] = []
        while True:
            chunk = file.read(CHUNK)
            position += len(chunk)
            cut = chunk.rfind(b"\n") + 1
            if cut:
                block = b"".join([*parts, chunk[:cut]])
                parts = [chunk[cut:]]
                yield block
                self._pass(block)
                continue
            parts.append(chunk)
            yield b""
            if not chunk:
                status = os.fstat(file.fileno())
                if status.st_size < position:
                    raise Shrunk
                if status.st_size == position:
                    break
        yield b"".join(parts)
        yield status

    def _pass(self, block: bytes) -> None:
        if len(self._head) < _ANCHOR:
            self._head = (self._head + block)[:_ANCHOR]
        self._last = (self._last + block)[-_ANCHOR:] if len(block) < _ANCHOR else block[-_ANCHOR:]
        self.start += len(block)
        self.line += block.count(b"\n")
