"""The engine's side of its sockets: tells the serving process what happens, and does its orders."""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import subprocess
import threading
from collections.abc import Callable

import msgspec

from sekft_engine.core.errors import JobFailed
from sekft_engine.core.process import own_environment, python_module
from sekft_engine.engine.socket.address import Address, Claim
from sekft_engine.engine.socket.link import (
    Begin,
    Closing,
    Happened,
    Leave,
    Message,
    Order,
    Reply,
    Resident,
    Unpacker,
    pack,
)
from sekft_engine.engine.socket.protocol import PROTOCOL, error_line, result_line
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.journal import Line
from sekft_engine.records.results import LoadResult

#: So many messages may wait for a serving process that reads none, before it is given up.
MOST_WAITING = 100_000

log = logging.getLogger(__name__)


class Back:
    """Starts the serving process and talks to it.

    Args:
        claim: its sockets are made here, before any thread is started.
        resident: what is loaded, without waiting.
        log_path: the file that messages of this process go to, for the pointer.
    """

    def __init__(
        self, claim: Claim, resident: Callable[[], LoadResult | None], log_path: str = ""
    ) -> None:
        self._resident = resident
        listeners = claim.bind(PROTOCOL, log_path)
        self.address: Address = claim.address
        self._link, theirs = socket.socketpair()
        passed = [theirs.fileno(), *(each.fileno() for each in listeners)]
        self._process = subprocess.Popen(
            [*python_module("sekft_engine.engine.socket.front"), *map(str, passed)],
            env=own_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=passed,
            start_new_session=True,  # what a terminal sends to all is meant for the engine
        )
        theirs.close()
        claim.give_listeners_away()
        self._link.sendall(pack(Begin(address=self.address, root=self.address.workspace)))
        if self._link.recv(1) != b"r":
            self._process.kill()
            self._process.wait()
            raise JobFailed("the process for the engine's socket did not start")
        self._outgoing: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._facts: LoadResult | None = None
        self._broken = False
        #: Held while an order is done and answered.
        self._doing = threading.Lock()

    def start(self, do: Callable[[Order], msgspec.Struct]) -> None:
        """Begin to send, and to take orders.

        Args:
            do: carries out an order, on a thread of its own; may wait, and may raise.
        """
        self._do = do
        for work, name in ((self._send_all, "sekft-socket"), (self._take_all, "sekft-orders")):
            threading.Thread(target=work, name=name, daemon=True).start()

    def observe(self, event: Event, line: Line | None) -> None:
        """Pass an event on. An observer of the publisher; never waits."""
        if line is None:
            self._put(Happened(event=events.encode(event)))
        else:
            data, path = line.data.rstrip(b"\n"), str(line.path.absolute())
            self._put(Happened(event=data, path=path, offset=line.offset, size=line.size))
        facts = self._resident()
        if facts is not self._facts:
            self._facts = facts
            self._put(Resident(facts=facts))

    def tell_closing(self) -> None:
        """No job is taken any more. Also from a signal handler."""
        self._put(Closing())

    def close(self, why: str, timeout: float = 8.0) -> None:
        """Let the serving process say goodbye, and wait for its end."""
        answered = self._doing.acquire(timeout=2.0)  # who asked for the end should be answered
        self._put(Leave(why=why))
        self._put(None)
        if answered:
            self._doing.release()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._link.close()

    def _put(self, message: Message | None) -> None:
        if self._broken:
            return
        if self._outgoing.qsize() > MOST_WAITING:
            self._give_up("it reads nothing")
            return
        self._outgoing.put(message)

    def _send_all(self) -> None:
        try:
            while (message := self._outgoing.get()) is not None:
                self._link.sendall(pack(message))
        except OSError as error:
            self._give_up(str(error))

    def _give_up(self, why: str) -> None:
        """The engine goes on without its socket; its jobs are worth more."""
        if not self._broken:
            self._broken = True
            log.error("the engine's socket has failed: %s", why)
            self._process.kill()

    def _take_all(self) -> None:
        unpacker = Unpacker()
        with contextlib.suppress(OSError):
            while data := self._link.recv(1 << 16):
                for order in unpacker.orders(data):
                    with self._doing:
                        self._put(Reply(client=order.client, line=self._answer(order)))

    def _answer(self, order: Order) -> bytes:
        try:
            return result_line(order.number, self._do(order))
        except Exception as error:  # noqa: BLE001 - an order that fails is answered
            return error_line(order.number, error)
