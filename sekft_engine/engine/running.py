"""The job that runs: what it may ask of the engine, and what was asked of it meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from traceback import format_exception
from typing import Any

import msgspec

from sekft_engine.core.errors import BaseChanged, Interrupted, SekftError, Unexpected, known_error
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.guests import Guests
from sekft_engine.engine.publisher import Publisher
from sekft_engine.engine.queue import queue_entry
from sekft_engine.engine.registry import Handler, handler_of
from sekft_engine.records import events
from sekft_engine.records.events import Event, Queued
from sekft_engine.records.jobs import Job, kind_of, label_of
from sekft_engine.records.results import AnyResult, RunningStatus
from sekft_engine.records.resuming import to_resume
from sekft_engine.records.runs import Run
from sekft_engine.work.board import Board
from sekft_engine.work.context import Context, Stop, Stopped
from sekft_engine.work.guest import Guest
from sekft_engine.work.residence import Residence

#: How long the guest of the base works before a paused job looks whether it may go on, in seconds.
_GUEST_TURN_S = 0.5
#: So many messages may wait for a job.
MOST_MESSAGES = 4096


class RunningJob:
    """Does one job on the engine's thread; the :class:`~sekft_engine.work.context.Control` of it.

    Args:
        job: what is to be done.
        workspace: where runs go.
        residence: what is loaded.
        publisher: takes the job's events.
        board: shows what models are writing.
        handlers: which function does which job.
        changed: the engine's lock; notified when something is asked of the job.
        opened: called when the job has a run.
        guests: who uses the base between its steps.
    """

    def __init__(
        self,
        job: Job,
        *,
        workspace: Workspace | None,
        residence: Residence,
        publisher: Publisher,
        board: Board,
        handlers: Mapping[type[Job], str | Handler],
        changed: threading.Condition,
        opened: Callable[[], None],
        guests: Guests,
    ) -> None:
        self.job = job
        self.workspace = workspace
        self.residence = residence
        self.board = board
        self._publisher = publisher
        self._handlers = handlers
        self._changed = changed
        self._opened = opened
        self._guests = guests
        # Read and written under ``changed``.
        self.folder: Path | None = None
        self.paused = False
        self._stop: Stop = ""
        self._save_wanted = False
        self._messages: deque[bytes] = deque()
        self._told = 0
        self._context = Context(self, job, kind_of(job))

    def do(self) -> AnyResult:
        """Do the job to its end and return its result. Raises what the job raises."""
        return self._do(self._context)

    @property
    def status(self) -> RunningStatus:
        """The job as the engine's status shows it. Read under ``changed``."""
        kind, label = kind_of(self.job), label_of(self.job)
        return RunningStatus(id=self.job.id, kind=kind, label=label, paused=self.paused)

    @property
    def entry(self) -> Queued:
        """The job as events about the queue show it, and what would resume it once it has a run.
        Read under ``changed``."""
        folder = self.folder
        return queue_entry(
            self.job, again=to_resume(self.job, folder) if folder is not None else None
        )

    def close(self) -> None:
        """Close the run, whose journal has the job's ending by now."""
        self.board.clear(self.job.id)
        if self._context.run is not None:
            self._context.run.close()

    # --- what front ends ask of it, from any thread ---------------------------------------------

    def ask_to_stop(self, *, after_step: bool) -> None:
        with self._changed:
            if self._stop != "now":
                self._stop = "after step" if after_step else "now"
            self._changed.notify_all()

    def tell(self, message: bytes, number: int = 0) -> bool:
        """Leave a message for the job; False where too many wait already."""
        with self._changed:
            if 0 < number <= self._told:
                return True
            self._told = max(number, self._told)
            if len(self._messages) >= MOST_MESSAGES:
                return False
            self._messages.append(message)
            self._changed.notify_all()
            return True

    def ask_to_save(self) -> None:
        with self._changed:
            self._save_wanted = True

    def ask_to_pause(self, *, paused: bool) -> None:
        with self._changed:
            self.paused = paused
            self._changed.notify_all()

    # --- what the job asks ----------------------------------------------------------------------

    def publish(self, event: Event) -> None:
        self._publisher.publish(event)

    def stop_requested(self) -> Stop:
        with self._changed:
            return self._stop

    def pause_requested(self) -> bool:
        with self._changed:
            return self.paused

    def wait_while_paused(self) -> None:
        while self._is_held():
            self._guests.work(_GUEST_TURN_S)
        with self._changed:
            self.paused = False

    def _is_held(self) -> bool:
        """Wait until the job is no longer paused, or the guest has something to do; True = that."""
        with self._changed:
            self._changed.wait_for(lambda: self._goes_on or self._guests.wants_base)
            return not self._goes_on

    @property
    def _goes_on(self) -> bool:
        return not self.paused or bool(self._stop)

    @property
    def guest(self) -> Guest | None:
        return self._guests.guest

    def host(self, guest: Guest) -> None:
        self._guests.host(guest, self.job.id)

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def receive(self, timeout: float) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self._stop, timeout)
            return self._messages.popleft() if self._messages and not self._stop else None

    def take_checkpoint_request(self) -> bool:
        with self._changed:
            wanted, self._save_wanted = self._save_wanted, False
            return wanted

    def run_opened(self, run: Run, *, part: bool) -> None:
        self._publisher.move(self.job.id, run.journal)
        if not part:
            with self._changed:
                self.folder = run.folder
            self._opened()

    def do_part(self, job: Job) -> AnyResult:
        job = msgspec.structs.replace(job, id=self.job.id)
        context = Context(self, job, kind_of(job), part=True)
        ending: Event | None = None
        with self._publisher.set_aside(job.id):
            try:
                result = self._do(context)
                ending = events.JobDone(job=job.id, t=time.time(), kind=context.kind, result=result)
            finally:
                if context.run is not None:
                    if ending is not None:  # for its own journal only: the outer job continues
                        context.run.journal.write(ending)
                    context.run.close()
        return result

    # --- doing it -------------------------------------------------------------------------------

    def _do(self, context: Context) -> AnyResult:
        """Run the handler and write the outcome into the job's run.

        If the base changed meanwhile, the job has failed in any case.
        """
        try:
            result = handler_of(type(context.job), self._handlers)(context.job, context)
            self.residence.prove()
        except Interrupted as stop:
            done: AnyResult = stop.result if isinstance(stop, Stopped) else {}
            _finish(context, "stopped", result=done)
            raise
        except BaseException as error:
            _finish(context, "failed", error=str(known_error(error)))
            raise
        finally:
            self._drop_changed_base(context)
        _finish(context, "done", result=result)
        return result

    def _drop_changed_base(self, context: Context) -> None:
        """No later job may act on a base that is not what was loaded, however this one ended."""
        base = self.residence.base
        if base is None:
            return
        known = base.changed
        try:
            base.prove()
        except BaseChanged as error:
            self.residence.drop()
            if not known:
                context.log(str(error), "error")


def ending_of(error: BaseException) -> tuple[type[Event], dict[str, Any]]:
    """The event of a job that ended with ``error``, and its fields."""
    if isinstance(error, Interrupted):
        saved: AnyResult = error.result if isinstance(error, Stopped) else {}
        return events.JobCancelled, {"detail": str(error), "result": saved}
    known = known_error(error)
    return events.JobFailed, {
        "error": str(known),
        "exit_status": known.exit_status,
        "what": known.what,
        "where": known.where or "",
        "mend": known.mend or "",
        "unexpected": isinstance(known, Unexpected),
        "trace": "" if isinstance(error, SekftError) else "".join(format_exception(error)),
    }


def _finish(context: Context, status: str, **changes: Any) -> None:
    if context.run is not None:
        with contextlib.suppress(OSError):  # the event that follows reports a full disk
            context.run.write(status=status, **changes)
