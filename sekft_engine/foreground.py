"""Run one job for a command: wait for its end, pass events on, turn signals into a clean stop."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
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
    SIGTERM and SIGHUP) lets the job finish its step and save; a second one does not wait.

    Raises:
        SekftError: what went wrong, with its exit status; :class:`Stopped` when interrupted.
    """
    own = engine is None
    engine = engine or Engine(workspace, nice=0).start()
    arrived: queue.SimpleQueue[Event] = queue.SimpleQueue()
    unsubscribe = engine.subscribe(arrived.put)
    requests = 0
    try:
        with _signals_counted() as signalled:
            job_id = engine.submit(job)
            while True:
                if signalled() > requests:
                    requests = signalled()
                    engine.cancel(job_id, after_step=requests == 1)
                    if requests == 1 and on_event is not None:
                        on_event(events.Log(job=job_id, level="info", text=STOPPING))
                try:
                    event = arrived.get(timeout=HARD_STOP_S if requests > 1 else 0.2)
                except queue.Empty:
                    if requests > 1:
                        raise Stopped("interrupted; left without waiting for the job") from None
                    continue
                if event.job != job_id:
                    continue
                if on_event is not None:
                    on_event(event)
                if isinstance(event, events.ENDINGS):
                    return _result(event)
    finally:
        unsubscribe()
        if own:
            engine.close(timeout=0.0 if requests > 1 else 30.0)


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
    """Count SIGINT, SIGTERM and SIGHUP instead of dying of them."""
    count = 0

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
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
