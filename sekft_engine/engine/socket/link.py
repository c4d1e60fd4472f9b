"""The line between the engine and the process that serves its sockets.

The interpreter's lock is held for tenths of a second while a tokenizer or a library is loaded. A
server that answers at once therefore has a process of its own; it knows the engine's events, and
asks for what changes something. Messages are msgpack behind their length.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import msgspec

from sekft_engine.engine.socket.address import Address
from sekft_engine.engine.socket.protocol import RequestId
from sekft_engine.records.results import LoadResult

_LENGTH = struct.Struct(">I")


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where an event stands: so many bytes of a journal."""

    path: str
    offset: int
    size: int


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first message: whose sockets these are. ``told``: the newest events that a serving
    process before this one was told of, which it may not have numbered before it died; ``journal``
    and ``last`` are the id of its sequence, and the number of the last of them. The rest is what
    is the case, so that the first client hears it."""

    address: Address
    root: str
    told: list[Place] = []
    journal: str = ""
    last: int = 0
    shown: list[bytes] = []
    resident: LoadResult | None = None
    closing: bool = False


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The serving process's first word: its sequence of events, and the last number in it."""

    journal: str
    last: int


class Happened(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An event as JSON, and its place in a journal; an empty path = no journal has it."""

    event: bytes
    path: str = ""
    offset: int = 0
    size: int = 0


class Resident(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What is loaded from now on."""

    facts: LoadResult | None


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The answer to an order, as a line for the client."""

    client: int
    line: bytes


class Alive(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A sign of life, sent every second."""


class Closing(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """From now on no job is taken."""


class Leave(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The engine has ended: say goodbye, and end."""

    why: str


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks of the engine; the only message in the other direction."""

    client: int
    number: RequestId
    method: str
    params: bytes


Message = Begin | Happened | Resident | Reply | Alive | Closing | Leave

_encode = msgspec.msgpack.Encoder().encode
_message = msgspec.msgpack.Decoder(Message).decode
_ready = msgspec.msgpack.Decoder(Ready).decode
_order = msgspec.msgpack.Decoder(Order).decode


def pack(message: Message | Order | Ready) -> bytes:
    """The message with its length before it."""
    data = _encode(message)
    return _LENGTH.pack(len(data)) + data


def first_word(link: socket.socket) -> Ready | None:
    """What a serving process says first, and nothing of what follows; None = it has ended."""
    head = _exactly(link, _LENGTH.size)
    body = _exactly(link, _LENGTH.unpack(head)[0]) if head else b""
    return _ready(body) if body else None


def _exactly(link: socket.socket, size: int) -> bytes:
    """So many bytes; b"" = the other end has closed before."""
    held = b""
    while len(held) < size:
        data = link.recv(size - len(held))
        if not data:
            return b""
        held += data
    return held


class Unpacker:
    """Cuts what arrives into messages."""

    def __init__(self) -> None:
        self._held = bytearray()

    def messages(self, data: bytes) -> Iterator[Message]:
        """The messages that are whole now."""
        return map(_message, self._frames(data))

    def orders(self, data: bytes) -> Iterator[Order]:
        """The orders that are whole now."""
        return map(_order, self._frames(data))

    def _frames(self, data: bytes) -> Iterator[bytes]:
        self._held += data
        start = 0
        while len(self._held) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._held, start)
            end = start + _LENGTH.size + length
            if len(self._held) < end:
                break
            yield bytes(self._held[start + _LENGTH.size : end])
            start = end
        del self._held[:start]
