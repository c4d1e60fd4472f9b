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
from typing import Any

from sekft_engine import events
from sekft_engine.context import Stopped
from sekft_engine.engine import Engine
from sekft_engine.errors import BadInput, JobFailed, SekftError
from sekft_engine.events import Event
from sekft_engine.jobs import Job
from sekft_engine.workspace import Workspace

#: How long a second Ctrl-C waits for a job to notice before the command leaves without it.
HARD_STOP_S = 10.0
STOPPING = "stopping as soon as what is kept is whole; once more to leave without waiting"


def run_job(
    job: Job,
    workspace: Workspace | None = None,
    on_event: Callable[[Event], None] | None = None,
    *,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Run ``job`` to its end and return its result.

    ``on_event`` is called on the calling thread with each of the job's events. Ctrl-C (also
    SIGTERM and SIGHUP) lets the job finish its step and save; a second one does not wait. After
    :class:`Stopped` the command is on its way out, and one more changes nothing.

    Raises:
        SekftError: what went wrong, with its exit status; :class:`Stopped` when interrupted.
    """
    own = engine is None
    engine = engine or Engine(workspace, nice=0).start()
    arrived: queue.SimpleQueue[Event] = queue.SimpleQueue()
    unsubscribe = engine.subscribe(arrived.put)
    requests = 0
    patience = math.inf
    ended = False
    try:
        with _signals_counted() as signalled:
            job_id = engine.submit(job)
            while True:
                if signalled() > requests:
                    requests = signalled()
                    engine.cancel(job_id, after_step=requests == 1)
                    if requests > 1:
                        patience = min(patience, time.monotonic() + HARD_STOP_S)
                    if requests == 1 and on_event is not None:
                        on_event(events.Log(job=job_id, level="info", text=STOPPING))
                if time.monotonic() > patience:
                    raise Stopped("interrupted; left without waiting for the job")
                try:
                    event = arrived.get(timeout=0.2)
                except queue.Empty:
                    continue
                if event.job != job_id:
                    continue
                if on_event is not None:
                    on_event(event)
                if isinstance(event, events.ENDINGS):
                    ended = True
                    return _result(event)
    finally:
        unsubscribe()
        if own:
            engine.close(timeout=30.0 if ended or requests < 2 else 0.0)


def _result(event: Event) -> dict[str, Any]:
    if isinstance(event, events.JobDone):
        return event.result
    if isinstance(event, events.JobCancelled):
        raise Stopped(event.detail or "interrupted", result=event.result)
    if isinstance(event, events.JobFailed):
        kind: type[SekftError] = JobFailed if event.exit_status == 1 else BadInput
        failure = kind(event.error)
        if event.trace:
            failure.add_note(event.trace)
        raise failure
    raise AssertionError(event)


@contextlib.contextmanager
def _signals_counted() -> Iterator[Callable[[], int]]:
    """Count SIGINT, SIGTERM and SIGHUP instead of dying of them. Whoever leaves by an error after
    one of them is on the way out of the process, and hears no more of them."""
    count = 0
    leaving = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal count
        count += 1

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # What a parent told to be ignored (nohup) stays ignored.
    heard = [number for number in caught if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in heard}
    try:
        yield lambda: count
    except BaseException:
        leaving = count > 0
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if leaving else handler)
