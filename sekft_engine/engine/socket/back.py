"""The engine's side of its sockets: tells the serving process what happens, and does its orders."""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec

from sekft_engine.core.errors import JobFailed
from sekft_engine.core.process import own_environment, python_module
from sekft_engine.engine.socket.address import Address, Claim
from sekft_engine.engine.socket.lines import error_line, result_line
from sekft_engine.engine.socket.link import (
    NOBODY,
    Alive,
    Begin,
    Closing,
    Happened,
    Leave,
    Message,
    Order,
    Place,
    Reply,
    Resident,
    Unpacker,
    Written,
    first_word,
    pack,
)
from sekft_engine.engine.socket.protocol import PROTOCOL
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.journal import Line
from sekft_engine.records.results import LoadResult
from sekft_engine.work.board import Board, Writing

#: So many messages may wait for a serving process that reads none, before it is given up.
MOST_WAITING = 100_000
#: So many events are told again to a serving process that is started in place of one that died: it
#: may have had no time to number them. More than the index has in one piece, and a socket holds.
MOST_TOLD_AGAIN = 4096
#: A serving process that dies more often than this within so many seconds is given up.
MOST_RESTARTS, WITHIN_S = 5, 60.0
#: Seconds between two signs of life.
SIGN_S = 1.0
#: How long a serving process may take to begin, in seconds.
_BEGIN_S = 60.0
#: Events that say what is the case until another one of their kind, or the job's end.
_STATE = (events.JobStarted, events.JobPaused, events.JobResumed, events.Progress, events.StepDone)

log = logging.getLogger(__name__)


class Back:
    """Starts the serving process, talks to it, and starts another one where it dies.

    Args:
        claim: its sockets are made here, before any thread is started.
        resident: what is loaded, without waiting.
        board: shows what models are writing.
        log_path: the file that messages of this process go to, for the pointer.

    Raises:
        JobFailed: the serving process did not start.
    """

    def __init__(
        self,
        claim: Claim,
        resident: Callable[[], LoadResult | None],
        board: Board,
        log_path: str = "",
    ) -> None:
        self._claim = claim
        self._resident = resident
        self._board = board
        self._unwatch: Callable[[], None] | None = None
        self._listeners = claim.bind(PROTOCOL, log_path)
        self.address: Address = claim.address
        #: A reply goes only to the serving process whose order it answers.
        self._outgoing: queue.SimpleQueue[Message | tuple[int, Reply] | None] = queue.SimpleQueue()
        self._facts: LoadResult | None = None
        self._closing = False
        self._leaving = False
        self._left = threading.Event()
        self._broken = False
        #: Held while the serving process is replaced, and while something is sent to it.
        self._sending = threading.Lock()
        self._told: deque[Place] = deque(maxlen=MOST_TOLD_AGAIN)
        #: The sequence of events, and the number of the last one that was told.
        self._journal, self._last = "", 0
        self._state: dict[type[Event], bytes] = {}
        self._generation = 0
        self._restarts: deque[float] = deque(maxlen=MOST_RESTARTS)
        #: Held while an order is done and answered.
        self._doing = threading.Lock()
        self._begin()

    def start(self, do: Callable[[Order], msgspec.Struct]) -> None:
        """Begin to send, and to take orders.

        Args:
            do: carries out an order, on a thread of its own; may wait, and may raise.
        """
        self._do = do
        for work, name in (
            (self._send_all, "sekft-socket"),
            (self._take_all, "sekft-orders"),
            (self._give_signs, "sekft-signs"),
        ):
            threading.Thread(target=work, name=name, daemon=True).start()

    def observe(self, event: Event, line: Line | None) -> None:
        """Pass an event on. An observer of the publisher; never waits."""
        data = events.encode(event) if line is None else line.data.rstrip(b"\n")
        self._note(event, data)
        if line is None:
            self._put(Happened(event=data))
        else:
            path = str(line.path.absolute())
            self._put(Happened(event=data, path=path, offset=line.offset, size=line.size))
        facts = self._resident()
        if facts is not self._facts:
            self._facts = facts
            self._put(Resident(facts=facts))

    def tell_closing(self) -> None:
        """No job is taken any more. Also from a signal handler."""
        self._closing = True
        self._put(Closing())

    def close(self, why: str, timeout: float = 8.0) -> None:
        """Let the serving process say goodbye, and wait for its end."""
        answered = self._doing.acquire(timeout=2.0)  # who asked for the end should be answered
        self._leaving = True
        self._left.set()
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

    # --- the serving process ------------------------------------------------------------------

    def _begin(self) -> None:
        """Start a serving process and tell it what the one before was told last."""
        link, theirs = socket.socketpair()
        passed = [theirs.fileno(), *(each.fileno() for each in self._listeners)]
        process = subprocess.Popen(
            [*python_module("sekft_engine.engine.socket.front"), *map(str, passed)],
            env=own_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=passed,
            start_new_session=True,  # what a terminal sends to all is meant for the engine
        )
        theirs.close()
        link.settimeout(_BEGIN_S)
        root = self.address.workspace
        try:
            begin = Begin(
                address=self.address,
                root=root,
                told=list(self._told),
                journal=self._journal,
                last=self._last,
                shown=list(self._state.values()),
                resident=self._facts,
                closing=self._closing,
            )
            link.sendall(pack(begin))
            ready = first_word(link)
        except OSError:
            ready = None
        if ready is None:
            process.kill()
            process.wait()
            link.close()
            raise JobFailed("the process for the engine's socket did not start")
        link.settimeout(None)
        self._link, self._process = link, process
        self._journal, self._last = ready.journal, ready.last

    def _begin_again(self) -> bool:
        """Replace the serving process, which is gone; False where that is no use."""
        with self._sending:
            now = time.monotonic()
            full = len(self._restarts) == MOST_RESTARTS
            if self._leaving or self._broken:
                return False
            self._link.close()
            self._process.kill()
            status = self._process.wait()
            if full and now - self._restarts[0] < WITHIN_S:
                self._give_up(f"its process dies again and again (status {status})")
                return False
            self._restarts.append(now)
            log.warning("the engine's socket is served by another process (status %s)", status)
            self._generation += 1
            try:
                self._begin()
            except (OSError, JobFailed) as error:
                self._give_up(str(error))
                return False
            return True

    def _note(self, event: Event, data: bytes) -> None:
        """Keep what a serving process needs to say what is the case."""
        match event:
            case events.QueueChanged():
                self._state[events.QueueChanged] = data
            case events.JobStarted():
                for kind in _STATE:
                    self._state.pop(kind, None)
                self._state[events.JobStarted] = data
            case events.JobPaused() | events.JobResumed():
                self._state.pop(events.JobPaused, None)
                self._state.pop(events.JobResumed, None)
                self._state[type(event)] = data
            case events.Progress() | events.StepDone():
                self._state[type(event)] = data
            case events.JobDone() | events.JobFailed() | events.JobCancelled():
                started = self._state.get(events.JobStarted, b"")
                if b'"job":"%b"' % event.job.encode() in started:
                    for kind in _STATE:
                        self._state.pop(kind, None)

    def _put(self, message: Message | tuple[int, Reply] | None) -> None:
        if self._broken:
            return
        if self._outgoing.qsize() > MOST_WAITING:
            self._give_up("it reads nothing")
            return
        self._outgoing.put(message)

    def _send_all(self) -> None:
        while (message := self._outgoing.get()) is not None:
            with self._sending:
                if isinstance(message, tuple):
                    generation, message = message
                    if generation != self._generation:
                        continue  # who asked is gone with the process
                if isinstance(message, Happened):
                    self._last += 1
                    if message.path:
                        self._told.append(Place(message.path, message.offset, message.size))
                try:
                    self._link.sendall(pack(message))
                except OSError:
                    continue  # reading tells, and begins again; what was told is told again

    def _give_signs(self) -> None:
        """Let the serving process know that this one is neither stopped nor hangs."""
        while not self._left.wait(SIGN_S):
            if self._outgoing.empty():  # else there are signs enough
                self._put(Alive())

    def _give_up(self, why: str) -> None:
        """The engine goes on without its socket; its jobs are worth more."""
        if not self._broken:
            self._broken = True
            log.error("the engine's socket has failed: %s", why)
            self._claim.give_listeners_away()
            self._process.kill()

    def _take_all(self) -> None:
        while True:
            unpacker, link, generation = Unpacker(), self._link, self._generation
            with contextlib.suppress(OSError):
                while data := link.recv(1 << 16):
                    for order in unpacker.orders(data):
                        if order.client == NOBODY:
                            self._watch(wanted=order.params == b"true")
                            continue
                        with self._doing:
                            reply = Reply(client=order.client, line=self._answer(order))
                            self._put((generation, reply))
            self._watch(wanted=False)
            if not self._begin_again():
                return

    def _watch(self, *, wanted: bool) -> None:
        """Tell the serving process what models are writing, or no longer."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        if wanted:
            self._unwatch = self._board.watch(self._written)

    def _written(self, writing: Writing) -> None:
        """Pass on what a model is writing, unless the serving process is far behind."""
        if self._outgoing.qsize() < MOST_WAITING // 100:
            self._put(Written(writing=writing))

    def _answer(self, order: Order) -> bytes:
        try:
            return result_line(order.number, self._do(order))
        except Exception as error:  # noqa: BLE001 - an order that fails is answered
            return error_line(order.number, error)
