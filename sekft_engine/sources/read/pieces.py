"""Find the JSON values in a text that is not one value: lists of sessions, and several in a row.

A line, or a file that is not made of lines, is cut into pieces that are each parsed by themselves.
What cannot be cut is a piece too, so that the parser tells what is wrong with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple

import msgspec

from sekft_engine.core.documents import NOT_JSON
from sekft_engine.data.reading import is_turns

_BOM = "\ufeff"
#: What may stand around a value and says nothing: white space, marks of the byte order, the end of
#: file of DOS, and zero bytes.
BLANKS = b" \t\r\n\x0b\x0c\x1a\x00"
_BLANK = re.compile(f"[{re.escape(BLANKS.decode())}{_BOM}]*")
_BETWEEN = re.compile(rf"[{re.escape(BLANKS.decode())}{_BOM}]*,?[{re.escape(BLANKS.decode())}]*")
_DECODER = json.JSONDecoder()
#: Bytes from the beginning of a file that are tried first for a value of several lines.
_FIRST_TRY = 1 << 16
#: An error so near to the end of a text may come of its being cut there.
_NEAR_END = 16

Shape = Literal["lines", "whole", "undecided"]


class Piece(NamedTuple):
    """A value in a text: where it begins and how long it is, in bytes.

    ``item`` counts the values of the text from 1; 0 = it is the only one. ``line`` is the number of
    lines before it.
    """

    offset: int
    length: int
    item: int = 0
    line: int = 0

    def of(self, text: bytes) -> bytes:
        """The piece of ``text``."""
        return text[self.offset : self.offset + self.length]


def is_blank(text: bytes) -> bool:
    """Whether there is nothing in ``text``, not even zero bytes."""
    return not text.strip(BLANKS[:-1]).removeprefix(b"\xef\xbb\xbf").strip(BLANKS[:-1])


def pieces(text: bytes) -> list[Piece]:
    """The values in a text: one, the elements of a list, or several in a row."""
    start, end = _bounds(text)
    found: list[tuple[int, int]] = []
    if start < end and text[start] in b"{[":
        view = memoryview(text)[start:end]
        whole = _whole_list(view) if text[start] == ord("[") else _whole_object(view)
        found = [(start + at, size) for at, size in whole or ()] or list(_cut(text, start, end))
    if not found:
        return [Piece(0, len(text))]
    if len(found) > 1 or text[found[0][0]] != text[start] or found[0][0] != start:
        return list(_numbered(text, found))
    offset, length = found[0]
    if length == end - start and whole is None:  # broken: the parser says why
        return [Piece(0, len(text))]
    return [Piece(offset, length, line=text.count(b"\n", 0, offset))]


def _bounds(text: bytes) -> tuple[int, int]:
    """Where the text begins and ends without what says nothing."""
    start, end = 0, len(text)
    while True:
        inner = text[start:end].lstrip(BLANKS) if start else text.lstrip(BLANKS)
        start = end - len(inner)
        if not inner.startswith(b"\xef\xbb\xbf"):
            break
        start += 3
    return start, start + len(inner.rstrip(BLANKS))


def _numbered(text: bytes, found: list[tuple[int, int]]) -> Iterator[Piece]:
    line = at = 0
    for item, (offset, length) in enumerate(found, 1):
        line += text.count(b"\n", at, offset)
        at = offset
        yield Piece(offset, length, item, line)


def _whole_object(view: memoryview) -> list[tuple[int, int]] | None:
    """An object that fills the text; None = the text is something else."""
    try:
        msgspec.json.decode(view, type=msgspec.Raw)
    except NOT_JSON:
        return None
    return [(0, len(view))]


def _whole_list(view: memoryview) -> list[tuple[int, int]] | None:
    """The elements of a list that fills the text; the list itself if it is a session's turns."""
    try:
        elements = msgspec.json.decode(view, type=list[msgspec.Raw])
        if not elements or _begins_turns(elements[0]):
            return [(0, len(view))]
    except NOT_JSON:
        return None
    found = []
    at = 1
    for element in elements:
        length = len(memoryview(element))
        while view[at] in b" \t\r\n,":
            at += 1
        found.append((at, length))
        at += length
    return found


def _begins_turns(element: msgspec.Raw | bytes) -> bool:
    return is_turns([msgspec.json.decode(element)])


def _cut(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Values in a row, and the elements of lists among them, one after another. What is broken is a
    piece that ends where the next value seems to begin."""
    # Bytes that are not UTF-8 stay in the piece in which they are.
    shown = text[start:end].decode("utf-8", "surrogateescape")
    width = _Bytes(shown, start)
    at, inside, resume = 0, False, ""
    while True:
        at = _BETWEEN.match(shown, at).end()  # type: ignore[union-attr]
        if at >= len(shown):
            return
        if shown[at] == "]" and inside:
            at, inside, resume = at + 1, False, ""
            continue
        if shown[at] == "[" and not inside and not _turns_at(shown, at):
            at, inside, resume = at + 1, True, ""
            continue
        if not resume:
            line = shown.rfind("\n", 0, at)
            if line >= 0 and not shown[line:at].strip():
                resume = shown[line : at + 1]
        stop = _end_of_value(shown, at)
        if stop < 0:
            following = shown.find(resume, at + 1) if resume else -1
            stop = following if following > 0 else len(shown)
        yield width.span(at, stop)
        at = stop


def _end_of_value(shown: str, at: int) -> int:
    """Where the value at ``at`` ends; -1 = it is broken."""
    try:
        return _DECODER.raw_decode(shown, at)[1]
    except (ValueError, RecursionError):
        return -1


def _turns_at(shown: str, at: int) -> bool:
    try:
        value, _ = _DECODER.raw_decode(shown, at)
    except (ValueError, RecursionError):
        return False
    return is_turns(value)


class _Bytes:
    """Turns places among characters, asked for in order, into places among bytes."""

    def __init__(self, shown: str, start: int) -> None:
        self._shown = shown
        self._plain = shown.isascii()
        self._at, self._place = 0, start
        self._start = start

    def span(self, first: int, last: int) -> tuple[int, int]:
        offset = self._of(first)
        return offset, self._of(last) - offset

    def _of(self, at: int) -> int:
        if self._plain:
            return self._start + at
        between = self._shown[self._at : at]
        self._place += len(between.encode("utf-8", "surrogateescape"))
        self._at = at
        return self._place


# --- files ------------------------------------------------------------------------------------


def shape(file: BinaryIO) -> Shape:
    """Whether a file has a session on each line, or is to be cut as a whole; ``undecided`` = its
    first value may not be there to its end yet, and it is read as lines until it is.

    Args:
        file: at its beginning; it is left somewhere else.
    """
    first = b""
    while is_blank(first):
        first = file.readline()
        if not first:
            return "undecided"
    start, end = _bounds(first)
    if start == end or first[start] not in b"{[":
        return "lines" if first.endswith(b"\n") else "undecided"
    head = first[start:]
    if _whole_object(memoryview(first)[start:end]) is not None:
        return "lines"
    if _end_of_value(head.decode("utf-8", "replace"), 0) > 0:
        return "lines"
    return _shape_of_long_value(file, head)


def _shape_of_long_value(file: BinaryIO, head: bytes) -> Shape:
    """Whether the value that begins with ``head``, a line, goes on in the lines that follow."""
    lines, size, more = len(head), _FIRST_TRY, True
    while True:
        while more and len(head) < size:
            read = file.read(size - len(head))
            head, more = head + read, bool(read)
        text = head.decode("utf-8", "replace")
        at = _BLANK.match(text, 1).end() if text[0] == "[" else 0  # type: ignore[union-attr]
        try:
            if text[at : at + 1] != "]":
                _DECODER.raw_decode(text, at)
            return "whole" if len(head) > lines else "undecided"
        except json.JSONDecodeError as error:
            ran_out = error.msg.startswith("Unterminated") or len(text) - error.pos < _NEAR_END
            if not ran_out:
                return "lines"
        except (ValueError, RecursionError):
            return "lines"
        if not more:
            return "undecided"
        size *= 4


__all__ = ["BLANKS", "Piece", "Shape", "is_blank", "pieces", "shape"]
