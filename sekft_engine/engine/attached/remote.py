"""The engine of another process, as front ends know an engine."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.errors import SekftError
from sekft_engine.data.workspace import naming
from sekft_engine.engine.at_once import answer_at_once
from sekft_engine.engine.attached.follower import Follower, State
from sekft_engine.engine.attached.known import Known
from sekft_engine.engine.attached.sender import Order, Sender
from sekft_engine.engine.attached.silence import silence
from sekft_engine.engine.attached.where import Where
from sekft_engine.engine.attached.writing import WritingFollower
from sekft_engine.engine.queue import CARRIED, LASTING, TRAINING
from sekft_engine.engine.socket.client import Client
from sekft_engine.engine.socket.history import DELETED
from sekft_engine.engine.socket.protocol import EngineStatus, Greeting
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event, QueueChanged, Queued
from sekft_engine.records.jobs import Job, kind_of, label_of
from sekft_engine.records.jobs.paths import absolute, moved
from sekft_engine.records.results import StatusResult
from sekft_engine.work.board import Writing

#: How a job ended that an earlier process had.
NOT_HERE = "this engine has not got it; if it had a run, that says how it ended"
_IN_ANOTHER_PROCESS = "a model types in the process of the engine, which has not got this session"


class RemoteEngine:
    """Submits to an engine over its socket and hears its events.

    No method waits for the engine: orders are sent by a thread of their own, and what becomes of
    them is heard. Events are those of the journal, and where the engine ended without a word, also
    an ending of each job that it had: everyone hears one.

    Args:
        where: the engine.
        history: hear everything that happened first, not only what happens from now on.

    Raises:
        Unavailable: there is no engine, or it does not answer.
    """

    def __init__(self, where: Where, *, history: bool = False) -> None:
        self.where = where
        first = where.connect()
        self._greeting = first.greeting
        self._state: State = "reading"
        self._why = ""
        self._known = Known()
        self._never_begun: list[Queued] = []
        self._broken_off = ""
        self._follower = Follower(where, first, self, history=history)
        self._sender = Sender(where)
        self._lock = threading.RLock()
        self._subscribers: list[Callable[[Event], None]] = []
        self._messages = itertools.count(1)
        self._settled = threading.Event()
        self._attached = threading.Event()

    # --- what is known of it ----------------------------------------------------------------------

    @property
    def greeting(self) -> Greeting:
        """What the engine says of itself; after its end, what the last one said."""
        return self._greeting

    @property
    def state(self) -> State:
        return self._state

    @property
    def why(self) -> str:
        """Why nothing is heard: the engine gives no sign of life, the connection is lost, or the
        engine has ended."""
        return self._why

    @property
    def never_begun(self) -> list[Queued]:
        """The jobs that waited when the engine ended, until there is one again."""
        return list(self._never_begun)

    @property
    def broken_off(self) -> str:
        """The id of the job that ran when the engine ended, until there is one again; "" = none
        did."""
        return self._broken_off

    @property
    def position(self) -> tuple[int, int]:
        """The number of the newest event that was heard, and of the last one when it greeted."""
        return self._follower.cursor, self._greeting.last

    @property
    def _name(self) -> str:
        """What a command needs to work on its workspace; nothing on its own machine."""
        return "" if self.where.is_away else naming(self.where.workspace.root)

    @property
    def _start(self) -> str:
        return f"sekft resident --detach{self._name} starts another one"

    def wait_until_live(self, timeout: float) -> bool:
        """Whether the whole history was heard, or the engine had ended, within so many seconds."""
        return self._settled.wait(timeout)

    @property
    def silence(self) -> SekftError | None:
        """Why the engine gave no sign of life when it was attached to; None = it did."""
        self._attached.wait(10.0)
        said = self._known.status_said
        if said is None:
            return None
        return silence(said, self._greeting.pid, away=self.where.is_away)

    def queue(self) -> QueueChanged:
        """What runs and waits, each ready to be submitted again."""
        self._attached.wait(10.0)
        return self._known.queue()

    # --- what front ends call, from any thread --------------------------------------------

    def start(self) -> RemoteEngine:
        self._follower.start()
        self._sender.start()
        return self

    def submit(self, job: Job) -> str:
        """Send a job and return its id. It gets exactly one ending, also one that is refused."""
        kind = kind_of(job)
        answer = answer_at_once(job, self)
        if answer is not None:
            job_id = job.id or f"{kind}-{secrets.token_hex(5)}"
            self._publish(events.JobDone(job=job_id, t=time.time(), kind=kind, result=answer))
            return job_id
        if isinstance(job, jobs.HandBack) and job.session is None:
            self._refuse(
                job.id, kind, error=_IN_ANOTHER_PROCESS, mend=f"sekft tui{self._name} --no-resident"
            )
            return job.id
        # The key makes the id, so that it is known before the engine has answered.
        key = f"c{secrets.token_hex(5)}"
        job_id = f"{kind}-{key}"
        if self._state == "ended":
            self._refuse(job_id, kind, error=f"the engine has ended: {self._why}", mend=self._start)
            return job_id
        sent = absolute(msgspec.structs.replace(job, id=""))
        if self.where.is_away:
            sent = moved(sent, self.where.workspace.root, Path(self._greeting.workspace))
        entry = Queued(id=job_id, kind=kind, label=label_of(sent))
        self._known.sent(entry)

        def failed(error: SekftError) -> None:
            self._known.forget(job_id)
            self._refuse(job_id, kind, error=error.what, where=error.where, mend=error.mend)

        params = {"job": msgspec.to_builtins(sent), "key": key}
        self._sender.send(Order("submit", params, failed))
        return job_id

    def cancel(self, job_id: str = "", *, after_step: bool = False) -> bool:
        """Ask a job (default: the running one) to stop; a queued one just leaves the queue."""
        found = self._known.has(job_id)
        if found:
            self._order("stop_after_step" if after_step else "cancel", job=job_id)
        return found

    def checkpoint(self, job_id: str = "") -> bool:
        """Ask a training job (default: the running one) to save after its step and continue."""
        running = self._known.status().running
        found = running is not None and job_id in ("", running.id)
        if found and running is not None and running.kind in _TRAINING_KINDS:
            self._order("checkpoint", job=job_id)
            return True
        return False

    def tell(self, job_id: str, message: bytes) -> None:
        """Give the running job a message, which is JSON. One that ends before it comes is not
        told."""
        params = {"job": job_id, "message": msgspec.Raw(message), "number": next(self._messages)}
        self._sender.send(Order("tell", params, lambda _error: None))

    def watch_writing(self, callback: Callable[[Writing], None]) -> Callable[[], None]:
        """Call ``callback`` with what models are writing, on a thread of its own; returns the way
        to stop."""
        return WritingFollower(self.where, callback).start().stop

    def pause(self, job_id: str = "") -> bool:
        """Hold a job: the running one (the default) at its next step, a waiting one where it is."""
        found = self._known.asked_to_pause(job_id, paused=True)
        if found:
            self._order("pause", job=job_id)
        return found

    def resume(self, job_id: str = "") -> bool:
        """Let a paused or held job continue."""
        found = self._known.asked_to_pause(job_id, paused=False)
        if found:
            self._order("resume", job=job_id)
        return found

    def move(self, job_id: str, by: int) -> bool:
        """Let a waiting job run ``by`` places later; earlier where negative."""
        moves = self._known.can_move(job_id, by)
        if moves:
            self._order("move", again=False, job=job_id, by=by)
        return moves

    def unserve(self) -> bool:
        """Ask the server on the base to end. What becomes of that is heard."""
        self._order("unserve")
        return True

    def shut_down(self, after: str = "step") -> None:
        """Ask the engine to end, after the running job's step or after the queue."""
        self._order("shutdown", after=after)

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``callback`` with each event that is heard from now on; returns the way to stop.

        It runs on the thread that heard the event and must be quick.
        """
        with self._lock:
            self._subscribers.append(callback)

        def unsubscribe() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._subscribers.remove(callback)

        return unsubscribe

    def status(self) -> StatusResult:
        """What is resident, what runs, what waits, as far as it was heard."""
        return self._known.status()

    def close(self, timeout: float = 30.0) -> bool:
        """Leave the engine, which goes on; what was ordered is sent, within ``timeout`` seconds."""
        self._sender.stop(min(timeout, 5.0))
        self._follower.stop()
        return True

    # --- what the follower says -------------------------------------------------------------------

    def attached(self, client: Client, status: EngineStatus, queue: QueueChanged) -> None:
        self._greeting = client.greeting
        self._known.begin(status, queue)
        self._attached.set()

    def heard(self, seq: int, event: Event) -> None:
        self._known.take(seq, event)
        self._publish(event)

    def lost_events(self, first: int, last: int, why: str) -> None:
        if why == DELETED:  # by its user, or as an eval that was cancelled; nothing is missed
            return
        text = f"the events {first} to {last} cannot be read any more: {why}"
        self._publish(events.Log(job="", t=time.time(), level="warning", text=text))

    def state_changed(self, state: State, why: str) -> None:
        if state == "live":
            self._never_begun, self._broken_off = [], ""
            for begun in self._known.take_unended(self._greeting.started):
                ending = events.JobCancelled(
                    job=begun.job, t=begun.t, kind=begun.kind, detail=NOT_HERE
                )
                self._publish(ending)
        before = self._state
        self._state, self._why = state, why
        if state == "ended":
            self._end_all(why)
        again = "the engine goes on" if before == "silent" else ""
        said = {
            "live": again or f"attached to the engine, process {self._greeting.pid}",
            "silent": why,
            "lost": f"the connection to the engine was lost ({why}); it is sought",
            "ended": f"the engine has ended: {why}",
        }.get(state)
        if said is not None:
            level = "info" if state == "live" else "warning"
            self._publish(events.Log(job="", t=time.time(), level=level, text=said))
        if state in ("live", "ended"):
            self._settled.set()

    def _end_all(self, why: str) -> None:
        """End the jobs that the engine had when it was killed: it could not."""
        running, waiting = self._known.take_all()
        self._never_begun = waiting
        self._broken_off = running.id if running is not None else ""
        self._publish(QueueChanged(job="", t=time.time()))
        for job in waiting:
            later = f"; {events.OFFERED}" if lasts(job.kind) else ""
            detail = f"{events.NOT_BEGUN}: the engine has ended ({why}){later}"
            self._publish(
                events.JobCancelled(job=job.id, t=time.time(), kind=job.kind, detail=detail)
            )
        if running is not None:
            error = f"{events.ENGINE_ENDED}: {why}"
            mend = self._start
            if lasts(running.kind):
                mend += f"; sekft queue run{self._name} does what is left"
            self._refuse(running.id, running.kind, error=error, mend=mend)

    # --- inside -----------------------------------------------------------------------------------

    def _order(self, method: str, *, again: bool = True, **params: Any) -> None:
        def failed(error: SekftError) -> None:
            text = f"{method.replace('_', ' ')}: {error}"
            self._publish(events.Log(job="", t=time.time(), level="warning", text=text))

        self._sender.send(Order(method, params, failed, again))

    def _refuse(
        self, job_id: str, kind: str, *, error: str, where: str | None = None, mend: str | None = ""
    ) -> None:
        line = str(SekftError(error, where=where or None, mend=mend or None))
        self._publish(
            events.JobFailed(
                job=job_id,
                t=time.time(),
                kind=kind,
                error=line,
                exit_status=1,
                what=error,
                where=where or "",
                mend=mend or "",
            )
        )

    def _publish(self, event: Event) -> None:
        with self._lock:
            for callback in tuple(self._subscribers):
                callback(event)


def _kinds(types: tuple[type[Job], ...]) -> frozenset[str]:
    return frozenset(str(kind.__struct_config__.tag) for kind in types)


_TRAINING_KINDS, _LASTING_KINDS = _kinds(TRAINING), _kinds(LASTING)
_CARRIED_KINDS = _kinds(CARRIED)


def lasts(kind: str) -> bool:
    """Whether jobs of this kind are offered again by the next engine."""
    return kind in _LASTING_KINDS


def is_carried(kind: str) -> bool:
    """Whether an engine that takes over is given jobs of this kind anew."""
    return kind in _CARRIED_KINDS
