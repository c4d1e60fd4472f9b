"""Reads the events of another process's engine, over lost connections and new engines."""

from __future__ import annotations

import logging
import threading
import time
from typing import Literal, Protocol

import msgspec

from sekft_engine.core.errors import SekftError, Unavailable
from sekft_engine.engine.attached.silence import silence
from sekft_engine.engine.attached.where import Where
from sekft_engine.engine.socket.client import Client, Silent
from sekft_engine.engine.socket.lines import request_line
from sekft_engine.engine.socket.protocol import EngineStatus
from sekft_engine.records.events import Event, QueueChanged
from sekft_engine.records.journal import decode_line

#: How a front end stands to the engine: it reads what happened before, it hears what happens, the
#: engine gives no sign of life although its socket answers, the connection was lost and is sought,
#: or the engine has ended.
State = Literal["reading", "live", "silent", "lost", "ended"]
#: How long an engine that holds its lock is called again before it counts as ended, in seconds.
SEEK_S = 20.0
#: After so many seconds in which nothing was said the socket is asked whether the engine lives; it
#: has so many for the answer before the connection counts as lost.
ASK_S, ANSWER_S = 2.0, 6.0
#: How often an engine is looked for, in seconds.
_LOOK_S = 0.2
_LOOK_LATER_S = 1.0

_SUBSCRIBE, _ALIVE = "subscribe", "alive"

log = logging.getLogger(__name__)


class Hears(Protocol):
    """What is told to whom a :class:`Follower` reads."""

    def attached(self, client: Client, status: EngineStatus, queue: QueueChanged) -> None:
        """There is a connection, and so the engine stands."""

    def heard(self, seq: int, event: Event) -> None:
        """An event, in order."""

    def lost_events(self, first: int, last: int, why: str) -> None:
        """No journal has these events any more."""

    def state_changed(self, state: State, why: str) -> None:
        """How things stand from now on."""


class _Said(msgspec.Struct, frozen=True):
    """A line of the server, its contents not looked at."""

    id: int | str | None = None
    method: str = ""
    params: msgspec.Raw = msgspec.Raw(b"{}")
    result: msgspec.Raw = msgspec.Raw(b"{}")
    error: msgspec.Raw | None = None


class _Event(msgspec.Struct, frozen=True):
    seq: int
    event: msgspec.Raw


class _Reset(msgspec.Struct, frozen=True):
    journal: str
    first: int


class _Lost(msgspec.Struct, frozen=True):
    first: int
    last: int
    why: str = ""


class _Bye(msgspec.Struct, frozen=True):
    why: str = ""


_status = msgspec.json.Decoder(EngineStatus).decode
_said = msgspec.json.Decoder(_Said).decode
_event = msgspec.json.Decoder(_Event).decode


class Follower:
    """Reads on a thread of its own until it is told to stop.

    Args:
        where: the engine.
        first: a connection that is there already.
        hears: is told, on the thread.
        history: begin with the oldest event that can be had, not with the next one.
    """

    def __init__(self, where: Where, first: Client, hears: Hears, *, history: bool) -> None:
        self._where = where
        self._hears = hears
        self._client: Client | None = first
        self._journal = first.greeting.journal
        self._cursor = first.greeting.first - 1 if history else first.greeting.last
        self._state: State = "reading"
        self._before_silence: State = "reading"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._main, name="sekft-follow", daemon=True)

    @property
    def cursor(self) -> int:
        """The number of the last event that was heard."""
        return self._cursor

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Read no more. Does not wait."""
        self._stopped.set()
        client = self._client
        if client is not None:
            client.close()

    def _main(self) -> None:
        lost_since = 0.0
        why = "it does not answer"
        while not self._stopped.is_set():
            gone = False
            try:
                self._client = self._client or self._where.connect()
                self._follow(self._client)
            except _Ended as end:
                why, gone = end.why, True
            except (SekftError, OSError) as error:
                why = str(error)
                if self._where.is_away and "is the line up" not in why:
                    why = f"{why}; is the line up (ssh -N -L)?"
            except Exception as error:  # whatever it says, the front end lives on
                log.exception("following the engine failed")
                why = str(error)
            finally:
                if self._client is not None:
                    self._client.close()
                    self._client = None
                    lost_since = 0.0
            if self._stopped.is_set():
                return
            if gone:
                self._tell("ended", why)
            now = time.monotonic()
            lost_since = lost_since or now
            if not self._where.is_there():
                self._tell("ended", "it was killed")
            elif now - lost_since > SEEK_S and not self._where.is_away:
                self._tell("ended", why)
            elif self._state != "ended":
                self._tell("lost", why)
            soon = self._state == "lost" and now - lost_since < SEEK_S
            self._stopped.wait(_LOOK_S if soon else _LOOK_LATER_S)

    def _tell(self, state: State, why: str = "") -> None:
        if state != self._state:
            self._state = state
            self._hears.state_changed(state, why)

    def _follow(self, client: Client) -> None:
        """Read until the connection ends. Raises why."""
        status = msgspec.convert(client.call("status"), EngineStatus)
        queue = msgspec.convert({"job": "", **client.call("queue")}, QueueChanged)
        if client.greeting.journal == self._journal:
            self._cursor = min(self._cursor, status.last)
        self._hears.attached(client, status, queue)
        self._tell("reading")
        asked = {"journal": self._journal, "after": self._cursor}
        client.send(request_line(_SUBSCRIBE, "subscribe", asked))
        client.wait_at_most(ASK_S)
        since = 0.0  # when it was asked whether the engine lives; 0 = it has answered
        while True:
            try:
                said = _said(client.next_line())
            except Silent:
                if self._stopped.is_set():
                    return
                now = time.monotonic()
                if not since:
                    client.send(request_line(_ALIVE, "status", {}))
                    since = now
                elif now - since > ANSWER_S:
                    raise
                continue
            if said.id == _ALIVE and said.error is None:
                since = 0.0
                self._take_sign(client, _status(said.result))
            else:
                self._take(said)

    def _take_sign(self, client: Client, status: EngineStatus) -> None:
        """Tell whether the engine is stopped or hangs, and when it goes on."""
        why = silence(status, client.greeting.pid, away=self._where.is_away)
        if why is not None and self._state in ("reading", "live"):
            self._before_silence = self._state
            self._tell("silent", str(why))
        elif why is None and self._state == "silent":
            self._tell(self._before_silence)

    def _take(self, said: _Said) -> None:
        match said.method:
            case "event":
                found = _event(said.params)
                self._cursor = found.seq
                if self._state == "silent":
                    self._tell(self._before_silence)
                event = decode_line(bytes(found.event))
                if event is not None:
                    self._hears.heard(found.seq, event)
            case "live" if self._state == "silent":
                self._before_silence = "live"
            case "live":
                self._tell("live")
            case "reset":
                reset = msgspec.json.decode(said.params, type=_Reset)
                self._journal, self._cursor = reset.journal, reset.first - 1
            case "lost":
                lost = msgspec.json.decode(said.params, type=_Lost)
                self._cursor = lost.last
                self._hears.lost_events(lost.first, lost.last, lost.why)
            case "bye":
                raise _Ended(msgspec.json.decode(said.params, type=_Bye).why)
            case "" if said.error is not None:
                raise Unavailable(bytes(said.error).decode("utf-8", "replace"))


class _Ended(Exception):
    """The engine has said goodbye."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why or "it was stopped"
