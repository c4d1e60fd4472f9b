"""From ids to text, piece by piece: whole characters, and nothing of a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

#: What a decoder writes for the bytes of a character of which some are missing.
_BROKEN = "\ufffd"


class TextStream:
    """The text of an answer as it grows.

    A character may be of several ids, so its bytes are held back until it is whole. What may be the
    beginning of a stop string is held back too.

    Args:
        decode: gives the text of ids.
        stops: stop strings; the text ends before the first of them.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stops = tuple(stops)
        self._ids: list[int] = []
        self._start = self._read = 0  # ids of the last whole piece, which decide a space before it
        self._text = ""  # all that is decoded
        self._given = 0  # characters of it that were given out
        self.stopped: str | None = None  #: the stop string that ended the text

    def push(self, ids: Sequence[int]) -> str:
        """Add ids, and return the text that is certain now."""
        for token in ids:
            if self.stopped is None:
                self._ids.append(token)
                self._grow()
        return self._release(len(self._text) - self._held())

    def finish(self) -> str:
        """The rest of the text."""
        if self.stopped is None:
            whole = self._decode(self._ids)
            if whole.startswith(self._text):
                self._text = whole
            else:
                self._text += self._decode(self._ids[self._read :])
            self._stop()
        return self._release(len(self._text))

    def _grow(self) -> None:
        before = self._decode(self._ids[self._start : self._read])
        after = self._decode(self._ids[self._start :])
        if len(after) > len(before) and not after.endswith(_BROKEN):
            self._text += after[len(before) :]
            self._start, self._read = self._read, len(self._ids)
            self._stop()

    def _stop(self) -> None:
        """Cut the text before the first stop string, if there is one."""
        found = [(at, stop) for stop in self._stops if (at := self._text.find(stop)) >= 0]
        if found:
            at, self.stopped = min(found)
            self._text = self._text[:at]

    def _held(self) -> int:
        """The number of characters at the end that may be the beginning of a stop string."""
        if self.stopped is not None:
            return 0
        longest = max(map(len, self._stops), default=1) - 1
        for size in range(min(longest, len(self._text)), 0, -1):
            tail = self._text[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                return size
        return 0

    def _release(self, end: int) -> str:
        piece = self._text[self._given : end]
        self._given = max(self._given, end)
        return piece
