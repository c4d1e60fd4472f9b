"""What subscribers are sent: the newest events once for all, older ones from the journals.

A subscriber is a cursor, not a queue. Who keeps up is served from a short tail in memory that all
share; who does not is read the events from the journals again, so that slowness costs no memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice

from sekft_engine.engine.socket.history import History, Lost
from sekft_engine.engine.socket.lines import event_kind, event_line, notification_line
from sekft_engine.engine.socket.picture import Picture
from sekft_engine.engine.socket.protocol import INVALID_PARAMS, RpcError, Subscribe
from sekft_engine.records import events
from sekft_engine.work.board import Writing

#: The tail in memory holds no more bytes and events than these.
TAIL_BYTES = 1 << 19
TAIL_EVENTS = 2048
#: So many pieces of history are read for the tail before other work is looked at.
_PIECES_AT_ONCE = 8


class Tail:
    """The newest events as lines for subscribers. Used by the server's thread only."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._last = history.span[1]

    @property
    def first(self) -> int:
        return self._last - len(self._lines) + 1

    @property
    def last(self) -> int:
        return self._last

    def pull(self) -> bool:
        """Read what is new; True where there is more to read."""
        for _ in range(_PIECES_AT_ONCE):
            newest = self._history.span[1]
            if self._last >= newest:
                return False
            if newest - self._last > TAIL_EVENTS:
                self._clear(newest - TAIL_EVENTS)
            try:
                read = self._history.read(self._last)
            except Lost as lost:
                self._clear(lost.last)
                continue
            for seq, line in read:
                if seq != self._last + 1:  # a torn line was passed over
                    self._clear(seq - 1)
                self._add(event_line(seq, line))
        return True

    def after(self, seq: int, most_bytes: int) -> Iterator[tuple[int, bytes]]:
        """The events after ``seq``, which must be in the tail, up to so many bytes."""
        total = 0
        start = seq + 1 - self.first
        for number, line in enumerate(islice(self._lines, start, None), start=seq + 1):
            yield number, line
            total += len(line)
            if total >= most_bytes:
                return

    def _add(self, line: bytes) -> None:
        self._lines.append(line)
        self._bytes += len(line)
        self._last += 1
        while len(self._lines) > TAIL_EVENTS or (self._bytes > TAIL_BYTES and len(self._lines) > 1):
            self._bytes -= len(self._lines.popleft())

    def _clear(self, last: int) -> None:
        self._lines.clear()
        self._bytes = 0
        self._last = last


class Subscription:
    """One subscriber's cursor.

    Args:
        asked: what it wants.
        history: the events.
        picture: the gauges.

    Raises:
        RpcError: the cursor is beyond the last event, or a kind of event is unknown.
    """

    def __init__(self, asked: Subscribe, history: History, picture: Picture) -> None:
        unknown = set(asked.kinds) - KINDS
        if unknown:
            raise RpcError(INVALID_PARAMS, "no such kind of event", where=min(unknown)[:64])
        self._history = history
        self._picture = picture
        self._kinds = frozenset(asked.kinds)
        self._wants_events = "events" in asked.what
        self._gauges: dict[str, int] | None = {} if "gauges" in asked.what else None
        self.wants_writing = "writing" in asked.what
        self._shown = 0
        self._live = False
        #: Said before anything else: the cursor was no use.
        self.preface = b""
        first, last = history.span
        self.cursor = last if asked.after is None else asked.after
        another = bool(asked.journal) and asked.journal != history.journal
        if not another and self.cursor > last:
            raise RpcError(
                INVALID_PARAMS,
                f"the last event is {last}",
                where=f'"after": {self.cursor}',
                mend='give the "journal" with a cursor that may be of another one',
            )
        if another or self.cursor < first - 1:
            why = "another journal" if another else "events before are forgotten"
            self.preface = notification_line(
                "reset", {"journal": history.journal, "first": first, "last": last, "why": why}
            )
            self.cursor = first - 1

    def next_lines(self, tail: Tail, most_bytes: int) -> list[bytes]:
        """What to send next, about ``most_bytes`` of it; empty = all is said for now."""
        lines: list[bytes] = []
        if self.preface:
            lines, self.preface = [self.preface], b""
        if self._wants_events:
            lines += self._next_events(tail, most_bytes)
        if self._gauges is not None and not lines:
            lines += self._next_gauges(self._gauges)
        if self.wants_writing and not lines:
            lines += self._next_writing()
        return lines

    def behind(self, tail: Tail) -> bool:
        """Whether there are events that it wants and was not sent."""
        return self._wants_events and self.cursor < tail.last

    def _next_events(self, tail: Tail, most_bytes: int) -> list[bytes]:
        lines: list[bytes] = []
        size = 0
        for _ in range(_PIECES_AT_ONCE):
            if self.cursor >= tail.last or size >= most_bytes:
                break
            if self.cursor + 1 >= tail.first:
                found = list(tail.after(self.cursor, most_bytes))
                self.cursor = found[-1][0]
            else:
                if self._live:
                    self._live = False
                    at = {"at": self.cursor, "last": tail.last}
                    lines.append(notification_line("lagged", at))
                found = self._from_journal()
            for _, line in found:
                if self._wanted(line):
                    lines.append(line)
                    size += len(line)
        if not self._live and self.cursor >= self._history.span[1]:
            self._live = True
            lines.append(notification_line("live", {"seq": self.cursor}))
        return lines

    def _from_journal(self) -> list[tuple[int, bytes]]:
        try:
            read = self._history.read(self.cursor)
        except Lost as lost:
            gap = {"first": lost.first, "last": lost.last, "why": str(lost)}
            self.cursor = lost.last
            return [(lost.last, notification_line("lost", gap))]
        if read:
            self.cursor = read[-1][0]
        return [(seq, event_line(seq, line)) for seq, line in read]

    def _wanted(self, line: bytes) -> bool:
        if not self._kinds:
            return True
        at = line.find(_EVENT_AT)
        return at < 0 or event_kind(line[at + len(_EVENT_AT) - 1 : at + 80]) in self._kinds

    def _next_gauges(self, sent: dict[str, int]) -> list[bytes]:
        lines = []
        for name, (version, event) in self._picture.gauges.items():
            if sent.get(name, 0) < version:
                sent[name] = version
                lines.append(notification_line("gauge", {"name": name, "value": event}))
        return lines

    def _next_writing(self) -> list[bytes]:
        new = [each for each in self._picture.writing.values() if each[0] > self._shown]
        self._shown = max([self._shown, *(number for number, _ in new)])
        return [notification_line("writing", writing) for _, writing in sorted(new, key=_number)]


def _number(each: tuple[int, Writing]) -> int:
    return each[0]


KINDS = frozenset(kind.__name__ for kind in events.Event.__subclasses__())
_EVENT_AT = b',"event":{'
