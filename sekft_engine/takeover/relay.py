"""A model types in a session of this process, on an engine in another one.

The world and the person are here, the base is there. The job there is told the turns and whether
the model may go on; what it writes comes back token by token, and each command is run here.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import msgspec

from sekft_engine.core.errors import SekftError
from sekft_engine.data.trajectory import Turn
from sekft_engine.episodes.command_turn import CommandTurn
from sekft_engine.episodes.episode import described
from sekft_engine.operators.subjects import Subject
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.jobs import HandBack, Job
from sekft_engine.takeover.model_session import (
    HERE_S,
    Begin,
    Here,
    Message,
    ModelSession,
    Over,
    Paced,
    Said,
)
from sekft_engine.takeover.pace import Pace
from sekft_engine.work.board import Writing

_encode = msgspec.json.Encoder().encode


@runtime_checkable
class DistantEngine(Protocol):
    """An engine in another process, as far as a session uses it. No method waits for it."""

    def submit(self, job: Job) -> str: ...
    def cancel(self, job_id: str = "", *, after_step: bool = False) -> bool: ...
    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]: ...
    def tell(self, job_id: str, message: bytes) -> None:
        """Give the running job a message."""

    def watch_writing(self, callback: Callable[[Writing], None]) -> Callable[[], None]:
        """Call ``callback`` with what models are writing; returns the way to stop."""


class RelayedSession(ModelSession, Protocol):
    """A session with its brake."""

    @property
    def pace(self) -> Pace: ...


class Relay:
    """Goes between a session and one job that types in it.

    Args:
        engine: does the job.
        session: is here.
        done: called with the job's ending, and with what went wrong here, on a thread of its own.
    """

    def __init__(
        self,
        engine: DistantEngine,
        session: RelayedSession,
        done: Callable[[Event, str], None],
    ) -> None:
        self._engine, self._session, self._done = engine, session, done
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._runs = False
        self._problem = ""
        self.job = ""

    def begin(self, job: HandBack) -> str:
        """Submit the job; returns its id."""
        unsubscribe = self._engine.subscribe(self._events.put)
        facts = self._session.facts
        self.job = self._engine.submit(msgspec.structs.replace(job, session=facts))

        def main() -> None:
            try:
                self._main()
            finally:
                self._ended.set()
                unsubscribe()

        threading.Thread(target=main, name="sekft-relay", daemon=True).start()
        return self.job

    # --- on its threads -------------------------------------------------------------------------

    def _main(self) -> None:
        with contextlib.ExitStack() as stack:
            while True:
                event = self._events.get()
                if event.job != self.job:
                    continue
                if isinstance(event, events.JobStarted):
                    stack.callback(self._engine.watch_writing(self._written))
                    self._tell_session()
                    stack.callback(self._session.pace.follow(self._paced))
                    threading.Thread(target=self._stay, name="sekft-here", daemon=True).start()
                elif isinstance(event, events.CommandTyped):
                    self._type(event)
                elif isinstance(event, events.ENDINGS):
                    self._done(event, self._problem)
                    return

    def _tell_session(self) -> None:
        for turn in self._session.turns:
            self._say(_said(turn))
        self._say(Begin())

    def _stay(self) -> None:
        """Say again and again that the session is still here."""
        while not self._ended.wait(HERE_S):
            self._say(Here())

    def _paced(self, paused: bool, turns: int) -> None:
        self._say(Paced(paused=paused, turns=turns))

    def _written(self, writing: Writing) -> None:
        """Show what the model is at, unless that has become old on its way."""
        session = self._session
        if writing.job != self.job or self._runs or writing.turn != len(session.turns):
            return
        match writing.phase:
            case "thinks" | "asks" as phase:
                session.model_waits(writing.subject, phase)
            case "types":
                session.model_writes(writing.text)
            case _:
                pass

    def _type(self, event: events.CommandTyped) -> None:
        """Run the command in the world here, and tell the answer."""
        turn = CommandTurn(
            text=event.text,
            ids=None if event.ids is None else tuple(event.ids),
            logprobs=None if event.logprobs is None else tuple(event.logprobs),
            cut=event.cut,
        )
        subject = Subject(name=event.subject, digest=event.adapter)
        self._runs = True
        try:
            answer = self._session.model_types(subject, event.base, turn)
        except Exception as error:  # noqa: BLE001 - shown to the person, as where the base is here
            self._problem = described(error)
            self._engine.cancel(self.job)
            return
        finally:
            self._runs = False
        self._session.turn_done()
        self._say(Over() if answer is None else Said(role="user", content=answer))

    def _say(self, message: Message) -> None:
        with contextlib.suppress(SekftError):
            self._engine.tell(self.job, _encode(message))


def _said(turn: Turn) -> Said:
    ids = None if turn.ids is None else list(turn.ids)
    return Said(role="assistant" if turn.is_command else "user", content=turn.content, ids=ids)
