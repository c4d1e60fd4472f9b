"""The server: one thread that talks to all clients, and waits for none and not for the engine."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable

from sekft_engine.engine.socket import protocol
from sekft_engine.engine.socket.address import Address, peer_uid
from sekft_engine.engine.socket.answers import Answers
from sekft_engine.engine.socket.connection import Connection, TooLong
from sekft_engine.engine.socket.feed import Tail
from sekft_engine.engine.socket.history import History
from sekft_engine.engine.socket.lines import error_line, notification_line
from sekft_engine.engine.socket.link import (
    NOBODY,
    WATCHED,
    Alive,
    Closing,
    Happened,
    Leave,
    Message,
    Order,
    Reply,
    Resident,
    Unpacker,
    Written,
    pack,
)
from sekft_engine.engine.socket.picture import Picture
from sekft_engine.engine.socket.protocol import Request, RpcError
from sekft_engine.records.journal import decode_line

#: More clients than this are sent away: each takes a descriptor that a job may need.
MOST_CLIENTS = 256
#: So many orders of all clients may be under way.
MOST_ORDERS = 512
#: So long clients may take to read the last events when the engine has ended, in seconds.
GOODBYE_S = 2.0
#: So many lines of one client are answered before the others are looked at.
_LINES_AT_ONCE = 64
#: How long connections are not accepted after the process ran out of descriptors, in seconds.
_PAUSE_S = 0.5

log = logging.getLogger(__name__)


class Server:
    """Serves the sockets of an engine, in a process of its own.

    Args:
        address: what the pointer says of them.
        listeners: the socket for everything, and the one for viewers.
        link: the engine; orders go there, events and answers come from there.
        unpacker: what has arrived there already.
        history: numbers and has the events.
        picture: the engine's state.
        allowed: the user who may connect [default: this one].
    """

    def __init__(
        self,
        address: Address,
        listeners: tuple[socket.socket, socket.socket],
        *,
        link: socket.socket,
        unpacker: Unpacker,
        history: History,
        picture: Picture,
        allowed: int | None = None,
    ) -> None:
        self._listeners = listeners
        self._link = link
        self._unpacker = unpacker
        self._history = history
        self._picture = picture
        self._allowed = os.geteuid() if allowed is None else allowed
        self._tail = Tail(history)
        self._answers = Answers(
            address,
            history,
            picture,
            order=self._order,
            clients=lambda: len(self._clients),
            heard=lambda: self._heard,
        )
        #: When the engine gave its last sign of life.
        self._heard = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._clients: dict[int, Connection] = {}
        self._numbers = itertools.count(1)
        #: Clients with lines that were read and not yet answered.
        self._more: set[int] = set()
        self._orders: deque[bytes] = deque()
        self._under_way = 0
        #: Whether the engine tells what models are writing.
        self._watched = False
        #: There is more to do at once.
        self._again = False
        self._accept_again = 0.0
        self._until: float | None = None
        self._farewell = b""

    def run(self) -> None:
        """Serve until the engine says that it has ended, or is gone."""
        self._link.setblocking(False)
        for listener in self._listeners:
            listener.setblocking(False)
        self._selector.register(self._link, selectors.EVENT_READ, None)
        self._listen(wanted=True)
        while True:
            try:
                if not self._turn():
                    break
            except Exception:  # a fault of one turn must not end the server
                log.exception("the socket's server failed, and goes on")
                time.sleep(0.05)
        for client in list(self._clients.values()):
            self._drop(client)
        self._selector.close()

    def _turn(self) -> bool:
        """Do what there is to do, once. False = it is time to leave."""
        busy = self._again or any(self._clients[number].listens for number in self._more)
        timeout: float | None = 0.0 if busy else None
        if self._until is not None or self._accept_again:
            timeout = 0.0 if busy else 0.1
        self._again = False
        arrived = self._selector.select(timeout)
        # The engine first: what it says is the answer to what clients ask. New clients last: those
        # that have left by now make room for them.
        arrived.sort(
            key=lambda each: (isinstance(each[0].data, bool), each[0].fileobj is not self._link)
        )
        for key, mask in arrived:
            if key.fileobj is self._link:
                self._attend_link(mask)
            elif isinstance(key.data, Connection):
                self._attend(key.data, mask)
            else:
                self._accept(read_only=key.data)
        for number in list(self._more):
            client = self._clients.get(number)
            if client is not None and client.listens:
                self._guarded(client, self._answer_lines)
        if self._accept_again and time.monotonic() > self._accept_again:
            self._listen(wanted=True)
        self._send_orders()
        self._serve_subscribers()
        return self._until is None or self._say_goodbye(self._until)

    # --- the engine -------------------------------------------------------------------------------

    def _attend_link(self, mask: int) -> None:
        if not mask & selectors.EVENT_READ:
            return
        try:
            data = self._link.recv(1 << 18)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(self._link)
            self._orders.clear()
            self._leave("its process is gone")
        for message in self._unpacker.messages(data):
            self._take(message)

    def _take(self, message: Message) -> None:
        self._heard = time.monotonic()
        match message:
            case Alive():
                pass
            case Happened():
                if message.path:
                    self._history.record(message.path, message.offset, message.size)
                else:
                    self._history.record_unwritten(message.event)
                event = decode_line(message.event)
                if event is not None:
                    self._picture.observe(event)
            case Resident():
                self._picture.resident = message.facts
            case Written():
                self._picture.show(message.writing)
            case Reply():
                self._under_way -= 1
                client = self._clients.get(message.client)
                if client is not None:
                    client.orders -= 1
                    client.send(message.line)
            case Closing():
                self._picture.closing = True
            case Leave():
                self._leave(message.why)

    def _order(self, client: Connection, request: Request) -> None:
        """Pass a request on to the engine, whose answer comes later."""
        if self._under_way >= MOST_ORDERS or self._until is not None:
            raise RpcError(protocol.TOO_MANY, "the engine has too much to answer", mend="try later")
        self._under_way += 1
        client.orders += 1
        order = Order(
            client=client.number,
            number=request.id,
            method=request.method,
            params=bytes(request.params),
        )
        self._orders.append(pack(order))

    def _send_orders(self) -> None:
        """Send what the engine takes. It may be busy: nobody waits here for it."""
        while self._orders:
            try:
                sent = self._link.send(self._orders[0])
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                return  # reading tells
            if sent < len(self._orders[0]):
                self._orders[0] = self._orders[0][sent:]
                break
            self._orders.popleft()
        if self._until is None:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._orders else 0)
            if self._selector.get_key(self._link).events != wanted:
                self._selector.modify(self._link, wanted, None)

    def _leave(self, why: str) -> None:
        """Let everyone read what there is, and end."""
        if self._until is None:
            self._picture.closing = True
            self._farewell = notification_line("bye", {"why": why, "last": self._history.span[1]})
            self._until = time.monotonic() + GOODBYE_S

    def _serve_subscribers(self) -> None:
        watched = any(client.watches for client in self._clients.values())
        if watched != self._watched and self._until is None:
            self._watched = watched
            self._picture.writing.clear()
            params = b"true" if watched else b"false"
            order = Order(client=NOBODY, number=0, method=WATCHED, params=params)
            self._orders.append(pack(order))
            self._send_orders()
        followed = any(client.subscription is not None for client in self._clients.values())
        if followed and self._tail.pull():
            self._again = True
        for client in list(self._clients.values()):
            self._guarded(client, self._serve)

    def _serve(self, client: Connection) -> None:
        """Write what there is for the client, and more of its subscription as long as it reads."""
        for _ in range(4):  # not for ever: others wait
            client.flush()
            if not client.feed(self._tail):
                break
        else:
            self._again = True
        client.flush()
        if client.leaving and not client.unsent:
            self._drop(client)
            return
        self._expect(client)

    def _expect(self, client: Connection) -> None:
        """Tell the selector what to wait for."""
        wanted = selectors.EVENT_READ if client.listens else 0
        if client.unsent:
            wanted |= selectors.EVENT_WRITE
        if wanted == client.events:
            return
        if not wanted:
            self._selector.unregister(client.peer)
        elif not client.events:
            self._selector.register(client.peer, wanted, client)
        else:
            self._selector.modify(client.peer, wanted, client)
        client.events = wanted

    def _say_goodbye(self, until: float) -> bool:
        """False when everyone has all there was, or there is no more time."""
        late = time.monotonic() > until
        for client in list(self._clients.values()):
            behind = client.subscription is not None and client.subscription.behind(self._tail)
            if not client.leaving and (not behind or late):
                client.send(self._farewell)
                client.leaving = True
            self._guarded(client, self._serve)
        return bool(self._clients) and not late

    # --- clients ----------------------------------------------------------------------------------

    def _listen(self, *, wanted: bool) -> None:
        for listener, read_only in zip(self._listeners, (False, True), strict=True):
            if wanted:
                self._selector.register(listener, selectors.EVENT_READ, read_only)
            else:
                self._selector.unregister(listener)
        self._accept_again = 0.0 if wanted else time.monotonic() + _PAUSE_S

    def _accept(self, *, read_only: bool) -> None:
        listener = self._listeners[read_only]
        try:
            peer, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:  # no descriptors are left: the engine needs the next one more
            self._listen(wanted=False)
            return
        peer.setblocking(False)
        if peer_uid(peer) != self._allowed:
            peer.close()
            return
        client = Connection(peer, next(self._numbers), read_only=read_only)
        self._clients[client.number] = client
        if len(self._clients) > MOST_CLIENTS:
            client.send(error_line(None, RpcError(protocol.TOO_MANY, "too many clients")))
            client.leaving = True
        else:
            client.send(notification_line("hello", self._answers.greeting(read_only=read_only)))
        self._guarded(client, self._serve)

    def _guarded(self, client: Connection, act: Callable[[Connection], None]) -> None:
        """Do something with a client; whatever goes wrong is that client's end only."""
        try:
            act(client)
        except OSError:
            self._drop(client)
        except Exception:
            log.exception("a client's connection failed")
            self._drop(client)

    def _drop(self, client: Connection) -> None:
        if self._clients.pop(client.number, None) is None:
            return
        self._more.discard(client.number)
        if client.events:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(client.peer)
            client.events = 0
        client.close()

    def _attend(self, client: Connection, mask: int) -> None:
        if client.number not in self._clients:
            return
        if mask & selectors.EVENT_WRITE:
            client.blocked = False
        if mask & selectors.EVENT_READ:
            self._guarded(client, self._read)

    def _read(self, client: Connection) -> None:
        if not client.receive():
            self._drop(client)
            return
        self._answer_lines(client)

    def _answer_lines(self, client: Connection) -> None:
        self._more.discard(client.number)
        for _ in range(_LINES_AT_ONCE):
            if not client.listens:
                self._more.add(client.number)
                return
            try:
                line = client.next_line()
            except TooLong:
                what = f"a line has at most {protocol.LONGEST_LINE} bytes"
                client.send(error_line(None, RpcError(protocol.TOO_LONG, what)))
                client.leaving = True
                return
            if line is None:
                return
            if line.strip():
                self._answers.answer(client, line)
        self._more.add(client.number)
