"""The resident process: one engine, jobs as JSON lines in, events as JSON lines out."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import msgspec

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.engine.job_fields import in_fields
from sekft_engine.engine.outgoing import Outgoing
from sekft_engine.engine.run_job import failure_of
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event

#: A line longer than this is no job.
LONGEST_LINE = 1 << 20


class Leave:
    """A request that the process ends, from a signal, a client or a fault, on any thread.

    Attributes:
        status: the exit status.
        why: a word for clients.
        asked: the running job is to stop after its step.
        again: that was asked more than once.
        drain: the process is to end after the queue.
        tell: called when the end is asked for, also in a signal handler.
    """

    def __init__(self) -> None:
        # Plain values, since a signal may come within the handler of another one.
        self.status = 0
        self.why = ""
        self.asked = False
        self.again = False
        self.drain = False
        self.tell: Callable[[], None] = lambda: None

    def ask(self, why: str, *, status: int = 0, drain: bool = False) -> None:
        """Ask for the end: after the running job's step, or with ``drain`` after the queue. The
        first status other than 0 stays."""
        self.why = why
        self.tell()
        if drain:
            self.drain = True  # the exit status stays: nothing was cut short
            return
        self.again = self.asked
        self.status = self.status or status
        self.asked = True


def serve_lines(
    source: int | None,
    write: Callable[[bytes], None] | None,
    engine: Engine,
    first: jobs.Job | None = None,
    *,
    leave: Leave | None = None,
    patience: float = 60.0,
    begun: Callable[[], None] = lambda: None,
) -> int:
    """Take jobs from the descriptor ``source`` until its end, then let the queue drain.

    A line that is no job is answered by a ``JobFailed`` without a job, and the process lives on.
    SIGTERM, SIGINT and SIGHUP let the step finish, save, and leave.

    Args:
        source: a descriptor with jobs as JSON lines; None = there are none, so only ``leave`` and
            signals end the process.
        write: takes the events as JSON lines; None = nobody does. While it takes none, so many are
            kept (see :class:`Outgoing`).
        engine: does the jobs.
        first: what is done before them; without it there is no use in them.
        leave: lets others end the process, signals included; None = only signals do.
        patience: how many seconds the running step has for its end, unless asked again.
        begun: called once ``first`` is in the queue; from then on others may give jobs.

    Returns:
        An exit status.

    Raises:
        SekftError: ``first`` failed.
    """
    if leave is None:
        leave = Leave()
        forget_signals = stop_on_signals(leave)
        try:
            return serve_lines(source, write, engine, first, leave=leave, patience=patience)
        finally:
            forget_signals()
    outgoing = Outgoing()
    drained = threading.Event()
    refused: list[events.JobFailed] = []
    writer: threading.Thread | None = None
    if write is not None:
        engine.subscribe(outgoing.put)
        writer = threading.Thread(target=_write_all, args=(outgoing, write, leave), daemon=True)
        writer.start()
    if first is not None:
        first = msgspec.structs.replace(first, id=first.id or f"{jobs.kind_of(first)}-0")
        engine.subscribe(_watch_for_failure(first, refused, leave))
        engine.submit(first)
        engine.make_ready()  # who has a base loaded is likely to train on it
    begun()
    if source is not None:
        # Reading may block for ever on a terminal or a pipe, so it has a thread that may be left.
        arguments = (source, engine, outgoing, leave)
        threading.Thread(target=_read_all, args=arguments, daemon=True).start()
    finishing: threading.Thread | None = None

    def finish() -> None:
        engine.close(timeout=None, drain=True)
        drained.set()

    while not drained.wait(0.1):
        if leave.asked:
            _close(engine, leave, patience)
            break
        if leave.drain and finishing is None:
            finishing = threading.Thread(target=finish, daemon=True)
            finishing.start()
    outgoing.close()
    if writer is not None:
        writer.join(timeout=5.0)
    if refused:
        raise failure_of(refused[0])
    return leave.status


def _close(engine: Engine, leave: Leave, patience: float) -> None:
    """Let the running step end and be saved, for at most ``patience`` seconds."""
    until = time.monotonic() + patience
    while not engine.close(timeout=0.5):
        if leave.again or time.monotonic() > until:
            return


def _watch_for_failure(
    job: jobs.Job, failed: list[events.JobFailed], leave: Leave
) -> Callable[[Event], None]:
    """A subscriber that notes the failure of ``job``, after which there is only to leave."""

    def watch(event: Event) -> None:
        if isinstance(event, events.JobFailed) and event.job == job.id:
            failed.append(event)
            leave.ask("its base could not be loaded", status=130)

    return watch


def _read_all(source: int, engine: Engine, outgoing: Outgoing, leave: Leave) -> None:
    for line in _lines(source):
        if line.strip():
            outgoing.wait_for_room()
            _take(line, engine, outgoing)
    leave.ask("the end of its input", drain=True)


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


def _take(line: bytes, engine: Engine, outgoing: Outgoing) -> None:
    try:
        job = jobs.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        problem = f"not a job: {error}"
        outgoing.put(events.JobFailed(job="", t=time.time(), kind="", error=problem, exit_status=2))
        return
    engine.submit(job)


def _write_all(
    outgoing: Outgoing,
    write: Callable[[bytes], None],
    leave: Leave,
) -> None:
    while (event := outgoing.take()) is not None:
        try:
            write(events.encode(in_fields(event)) + b"\n")
        except (OSError, ValueError):
            # Whoever listened is gone; what they asked for is saved, not thrown away.
            leave.ask("nobody reads its output", status=130)
            return


def stop_on_signals(leave: Leave, *, hangup: bool = True) -> Callable[[], None]:
    """Leave on signals; on a terminal's hangup only where ``hangup``, else it is ignored.

    Returns:
        The way to what they did before.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None

    def ask(number: int, _frame: FrameType | None) -> None:
        leave.ask(signal.Signals(number).name, status=130)

    handlers: dict[int, Callable[[int, FrameType | None], None] | signal.Handlers]
    handlers = {signal.SIGINT: ask, signal.SIGTERM: ask}
    handlers[signal.SIGHUP] = ask if hangup else signal.SIG_IGN
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore


def new_resident(workspace: Workspace | None) -> Engine:
    """An engine, to be started, at normal priority (a resident process has no screen to draw). It
    keeps the base that it has until a ``load`` replaces it."""
    return Engine(workspace, nice=0, keep_base=True)
