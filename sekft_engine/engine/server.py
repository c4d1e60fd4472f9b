"""The resident process: one engine, jobs as JSON lines in, events as JSON lines out."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator

import msgspec

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.engine.job_fields import in_fields
from sekft_engine.engine.run_job import failure_of
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event

#: A line longer than this is no job.
LONGEST_LINE = 1 << 20


def serve_lines(
    source: int, write: Callable[[bytes], None], engine: Engine, first: jobs.Job | None = None
) -> int:
    """Take jobs from the descriptor ``source`` until its end, then let the queue drain.

    A line that is no job is answered by a ``JobFailed`` without a job, and the process lives on.
    SIGTERM, SIGINT and SIGHUP let the step finish, save, and leave.

    Args:
        source: a descriptor with jobs as JSON lines.
        write: takes the events as JSON lines.
        engine: does the jobs.
        first: what is done before them; without it there is no use in them.

    Returns:
        An exit status.

    Raises:
        SekftError: ``first`` failed.
    """
    outgoing: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    leaving = threading.Event()
    drained = threading.Event()
    refused: list[events.JobFailed] = []
    engine.subscribe(outgoing.put)
    if first is not None:
        first = msgspec.structs.replace(first, id=first.id or f"{jobs.kind_of(first)}-0")
        engine.subscribe(_watch_for_failure(first, refused, leaving))
    writer = threading.Thread(target=_write_all, args=(outgoing, write, leaving), daemon=True)
    writer.start()
    stop_signals = _stop_on_signals(leaving)

    def read() -> None:
        if first is not None:
            engine.submit(first)
        for line in _lines(source):
            if line.strip():
                _take(line, engine, outgoing)
        engine.close(timeout=None, drain=True)
        drained.set()

    # Reading may block for ever on a terminal or a pipe, so it has a thread that may be left.
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    while not drained.wait(0.1):
        if leaving.is_set():
            engine.close(timeout=60.0)
            break
    stop_signals()
    outgoing.put(None)
    writer.join(timeout=5.0)
    if refused:
        raise failure_of(refused[0])
    return 130 if leaving.is_set() else 0


def _watch_for_failure(
    job: jobs.Job, failed: list[events.JobFailed], leaving: threading.Event
) -> Callable[[Event], None]:
    """A subscriber that notes the failure of ``job``, after which there is only to leave."""

    def watch(event: Event) -> None:
        if isinstance(event, events.JobFailed) and event.job == job.id:
            failed.append(event)
            leaving.set()

    return watch


def _lines(source: int) -> Iterator[bytes]:
    """Lines as they arrive. Not through a Python file: a thread that waits in one holds its lock,
    and the interpreter cannot end."""
    held = b""
    while chunk := os.read(source, 1 << 16):
        *whole, held = (held + chunk).split(b"\n")
        yield from whole
        if len(held) > LONGEST_LINE:
            yield held
            held = b""
    yield held


def _take(line: bytes, engine: Engine, outgoing: queue.SimpleQueue[Event | None]) -> None:
    try:
        job = jobs.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        problem = f"not a job: {error}"
        outgoing.put(events.JobFailed(job="", t=time.time(), kind="", error=problem, exit_status=2))
        return
    engine.submit(job)


def _write_all(
    outgoing: queue.SimpleQueue[Event | None],
    write: Callable[[bytes], None],
    leaving: threading.Event,
) -> None:
    while (event := outgoing.get()) is not None:
        try:
            write(events.encode(in_fields(event)) + b"\n")
        except (OSError, ValueError):
            # Whoever listened is gone; what they asked for is saved, not thrown away.
            leaving.set()
            return


def _stop_on_signals(leaving: threading.Event) -> Callable[[], None]:
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: leaving.set()) for number in caught}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore


def open_resident(workspace: Workspace | None) -> Engine:
    """An engine at normal priority (a resident process has no screen to draw), which keeps the base
    that it has until a ``load`` replaces it."""
    return Engine(workspace, nice=0, keep_base=True).start()
