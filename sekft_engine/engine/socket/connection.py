"""One client's connection: bounded buffers in both directions, and what it may still say."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from itertools import islice

from sekft_engine.engine.socket.feed import Subscription, Tail
from sekft_engine.engine.socket.protocol import LONGEST_LINE

#: A subscriber gets more only when less than this waits for it to be read.
LOW_WATER = 1 << 15
#: A client that leaves so much unread is not listened to until it has read.
HIGH_WATER = 1 << 18
#: So many orders of one client may be under way.
MOST_ORDERS = 32
_RECEIVED_AT_ONCE = 1 << 16
_SENT_AT_ONCE = 1 << 17


class TooLong(Exception):
    """The client's line is longer than any may be."""


class Connection:
    """A client. Used by the server's thread only.

    Args:
        peer: its socket, which does not block.
        number: tells it from all other clients there ever were.
        read_only: it may change nothing.
    """

    def __init__(self, peer: socket.socket, number: int, *, read_only: bool) -> None:
        self.peer = peer
        self.number = number
        self.read_only = read_only
        self.subscription: Subscription | None = None
        self.orders = 0
        #: Nothing more is read, and it is closed as soon as all is written.
        self.leaving = False
        #: What the selector waits for at present.
        self.events = 0
        #: The other end takes no more at present.
        self.blocked = False
        self._incoming = bytearray()
        self._outgoing: deque[bytes] = deque()
        self._unsent = 0
        self._sent = 0

    # --- reading ----------------------------------------------------------------------------------

    def receive(self) -> bool:
        """Take what has come. False = the other end has closed.

        Raises:
            OSError: the connection is broken.
        """
        try:
            data = self.peer.recv(_RECEIVED_AT_ONCE)
        except (BlockingIOError, InterruptedError):
            return True
        self._incoming += data
        return bool(data)

    def next_line(self) -> bytes | None:
        """The next whole line; None = there is none yet.

        Raises:
            TooLong: it is not to be waited for.
        """
        end = self._incoming.find(b"\n")
        if end > LONGEST_LINE or (end < 0 and len(self._incoming) > LONGEST_LINE):
            self._incoming.clear()
            raise TooLong
        if end < 0:
            return None
        line = bytes(self._incoming[:end])
        del self._incoming[: end + 1]
        return line

    @property
    def listens(self) -> bool:
        """Whether more of it is to be read."""
        return not self.leaving and self._unsent < HIGH_WATER and self.orders < MOST_ORDERS

    # --- writing ----------------------------------------------------------------------------------

    @property
    def unsent(self) -> int:
        """Bytes that wait for the client to read."""
        return self._unsent

    @property
    def watches(self) -> bool:
        """Whether it is told what models are writing."""
        return self.subscription is not None and self.subscription.wants_writing

    def send(self, *lines: bytes) -> None:
        self._outgoing.extend(lines)
        self._unsent += sum(map(len, lines))

    def feed(self, tail: Tail) -> bool:
        """Add what the subscription has next, if there is room; True where there may be more."""
        if self.subscription is None or self.leaving or self._unsent >= LOW_WATER:
            return False
        lines = self.subscription.next_lines(tail, LOW_WATER)
        self.send(*lines)
        return bool(lines) or self.subscription.behind(tail)

    def flush(self) -> None:
        """Write as much as the other end takes.

        Raises:
            OSError: the connection is broken.
        """
        while self._outgoing and not self.blocked:
            batch, size = [memoryview(self._outgoing[0])[self._sent :]], 0
            for line in islice(self._outgoing, 1, 64):
                size += len(line)
                if size > _SENT_AT_ONCE:
                    break
                batch.append(memoryview(line))
            try:
                sent = self.peer.sendmsg(batch)
            except (BlockingIOError, InterruptedError):
                self.blocked = True
                return
            self._unsent -= sent
            self._sent += sent
            while self._outgoing and self._sent >= len(self._outgoing[0]):
                self._sent -= len(self._outgoing.popleft())

    def close(self) -> None:
        """End the connection. What was sent arrives, also where not all was read that had come:
        closing a socket with unread bytes would take it back."""
        with contextlib.suppress(OSError):
            self.peer.shutdown(socket.SHUT_RDWR)
            while self.peer.recv(_RECEIVED_AT_ONCE):
                pass
        self.peer.close()
