"""Run one job for a command: wait for its end, pass events on, turn signals into a clean stop."""

from __future__ import annotations

import contextlib
import math
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Protocol, assert_never

from sekft_engine.core.errors import BadInput, JobFailed, SekftError, Unexpected
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.fit import Offer, offer
from sekft_engine.engine.engine import Engine
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.jobs import Job
from sekft_engine.records.results import AnyResult
from sekft_engine.work.context import Stopped

#: How long a second Ctrl-C waits for a job to notice before the command leaves without it.
HARD_STOP_S = 10.0
STOPPING = "stopping as soon as everything is saved; press again to leave without waiting"


def run_job(
    job: Job,
    workspace: Workspace | None = None,
    on_event: Callable[[Event], None] | None = None,
    *,
    engine: Engine | None = None,
    resident: bool = True,
) -> AnyResult:
    """Run ``job`` to its end and return its result.

    Where the workspace has a living engine with the base that the job wants, that engine does it.
    Otherwise the job has an engine for itself.

    ``on_event`` is called on the calling thread with each of the job's events. Ctrl-C (also
    SIGTERM and SIGHUP) lets the job finish its step and save; a second one does not wait. After
    :class:`Stopped` the command is on its way out, and one more changes nothing. A job of the
    workspace's engine goes on when the terminal hangs up.

    Args:
        job: what is to be done.
        workspace: where runs go.
        on_event: takes the events.
        engine: does the job in place of any other.
        resident: whether the workspace's engine may do it.

    Raises:
        SekftError: the job failed, with its exit status; :class:`Stopped` when interrupted.
    """
    if engine is not None:
        return follow_job(engine, lambda: engine.submit(job), on_event)
    found = offer(job, workspace) if resident else Offer(None)
    if found.text and on_event is not None:
        on_event(events.Log(job="", level="info", text=found.text))
    if found.engine is not None and found.job is not None:
        remote, sent = found.engine, found.job
        try:
            return follow_job(remote, lambda: remote.submit(sent), on_event)
        finally:
            remote.close()
    own = Engine(workspace, nice=0).start()
    patience = 30.0
    try:
        return follow_job(own, lambda: own.submit(job), on_event)
    except _LeftWithoutWaiting:
        patience = 0.0
        raise
    finally:
        own.close(timeout=patience)


class _LeftWithoutWaiting(Stopped):
    """The job may still be at work."""


class Submits(Protocol):
    """What is needed of an engine to see a job to its end."""

    def cancel(self, job_id: str = "", *, after_step: bool = False) -> bool: ...
    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]: ...


def follow_job(
    engine: Submits,
    submit: Callable[[], str],
    on_event: Callable[[Event], None] | None = None,
) -> AnyResult:
    """Follow a job to its end and return its result; signals as in :func:`run_job`.

    Args:
        engine: does the job.
        submit: gives it the job, and returns the job's id.
        on_event: is called on the calling thread with each of the job's events.

    Raises:
        SekftError: the job failed, with its exit status; :class:`Stopped` when interrupted.
    """
    arrived: queue.SimpleQueue[Event] = queue.SimpleQueue()
    unsubscribe = engine.subscribe(arrived.put)
    own = isinstance(engine, Engine)
    trouble = _Trouble(own=own)
    requests = 0
    patience = math.inf
    try:
        with _signals_counted() as (signalled, hung_up):
            job_id = submit()
            while True:
                if hung_up() and not own:
                    raise Stopped(f"the terminal hung up; {job_id} goes on in the engine")
                if signalled() > requests:
                    requests = signalled()
                    engine.cancel(job_id, after_step=requests == 1)
                    if requests > 1:
                        patience = min(patience, time.monotonic() + HARD_STOP_S)
                    if requests == 1 and on_event is not None:
                        on_event(events.Log(job=job_id, level="info", text=STOPPING))
                if time.monotonic() > patience:
                    raise _LeftWithoutWaiting("interrupted; left without waiting for the job")
                try:
                    event = arrived.get(timeout=0.2)
                except queue.Empty:
                    continue
                if on_event is not None and (event.job == job_id or trouble.concerns(event)):
                    on_event(event)
                if event.job != job_id:
                    continue
                if isinstance(event, events.ENDINGS):
                    return _result(event)
    finally:
        unsubscribe()


class _Trouble:
    """Tells what becomes of the connection to another process's engine, once there is trouble.

    Args:
        own: the engine is of this process.
    """

    def __init__(self, *, own: bool) -> None:
        self._own = own
        self._begun = False

    def concerns(self, event: Event) -> bool:
        """Whether the event, which is of no job, is about that."""
        if self._own or event.job or not isinstance(event, events.Log):
            return False
        self._begun = self._begun or event.level == "warning"
        return self._begun


def _result(event: events.JobDone | events.JobFailed | events.JobCancelled) -> AnyResult:
    match event:
        case events.JobDone():
            return event.result
        case events.JobCancelled():
            raise Stopped(event.detail or "interrupted", result=event.result)
        case events.JobFailed():
            raise failure_of(event)
        case _:
            assert_never(event)


def failure_of(event: events.JobFailed) -> SekftError:
    """The error that ended a job, as an exception."""
    what, where, mend = event.what or event.error, event.where or None, event.mend or None
    if event.unexpected:
        return Unexpected(what, where=where, mend=mend, trace=event.trace)
    kind: type[SekftError] = JobFailed if event.exit_status == 1 else BadInput
    failure = kind(what, where=where, mend=mend)
    if event.trace:
        failure.add_note(event.trace)
    return failure


@contextlib.contextmanager
def _signals_counted() -> Iterator[tuple[Callable[[], int], Callable[[], bool]]]:
    """Count SIGINT, SIGTERM and SIGHUP instead of ending the process; the other function says
    whether there was a SIGHUP.

    After an exception that follows one of them the process is about to end, and ignores more.
    """
    count = 0
    hung_up = leaving = False

    def note(number: int, _frame: FrameType | None) -> None:
        nonlocal count, hung_up
        count += 1
        hung_up = hung_up or number == signal.SIGHUP

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0, lambda: False
        return
    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # Signals that a parent process ignores (nohup) stay ignored.
    handled = [number for number in caught if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in handled}
    try:
        yield lambda: count, lambda: hung_up
    except BaseException:
        leaving = count > 0
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if leaving else handler)
