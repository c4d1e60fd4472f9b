"""The engine: one daemon thread, jobs in, events out. The one owner of torch, base and adapters.

Importing this imports no torch: handlers are named in a table and imported when a job needs them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.errors import SekftError, Unavailable
from sekft_engine.core.machine import limit_spinning, share_arena
from sekft_engine.core.process import ENGINE_THREAD, step_back
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.at_once import AT_ONCE, answer_at_once
from sekft_engine.engine.guests import Guests
from sekft_engine.engine.publisher import Observer, Publisher
from sekft_engine.engine.queue import LASTING, TRAINING, JobQueue, last_number, unfinished_jobs
from sekft_engine.engine.readiness import Readiness
from sekft_engine.engine.registry import HANDLERS, Handler
from sekft_engine.engine.running import RunningJob, ending_of
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.jobs import Job, kind_of, label_of
from sekft_engine.records.journal import Journal
from sekft_engine.records.results import StatusResult
from sekft_engine.work.board import Board
from sekft_engine.work.residence import Residence

JOURNAL = "engine.jsonl"
#: How long the guest of the base works before the queue is looked at, in seconds.
GUEST_TURN_S = 1.0


class Engine:
    """Runs jobs one after another on its own thread.

    Args:
        workspace: where runs go and where events outside a run are journalled; None = neither.
        keep_base: only a load job replaces the base that is resident; others that want another are
            refused.
        nice: how far the thread (and the threads torch starts from it) steps back behind a
            front end, so that keys answer while a model trains on every core.
        handlers: replaces or adds to :data:`HANDLERS`.
    """

    def __init__(
        self,
        workspace: Workspace | None = None,
        *,
        keep_base: bool = False,
        nice: int = 5,
        handlers: Mapping[type[Job], str | Handler] | None = None,
    ) -> None:
        self.workspace = workspace
        self.residence = Residence(keep=keep_base)
        #: What models are writing at this moment.
        self.board = Board()
        self._nice = nice
        self._handlers = dict(HANDLERS) | dict(handlers or {})
        self._changed = threading.Condition()
        self._queue = JobQueue()
        self._running: RunningJob | None = None
        self._closing = False
        self._leaving = False
        self._next_number = 1
        self._publisher = Publisher()
        self._seeks_journal = True
        self._guests = Guests(self.residence, self._publisher.publish)
        self._readiness = Readiness(self._handlers)
        self._thread = threading.Thread(target=self._main, name=ENGINE_THREAD, daemon=True)

    # --- what front ends call, from any thread --------------------------------------------

    def start(self) -> Engine:
        limit_spinning()
        share_arena()
        if self.workspace is not None and (self.workspace.root / JOURNAL).exists():
            self.open_journal()
        self._thread.start()
        return self

    def open_journal(self) -> bool:
        """Write down in the workspace from now on what is done, and has yet to be done. The first
        job does this: who only looks into a folder leaves nothing there.

        Returns:
            Whether it is written down.
        """
        place = self.workspace
        with self._publisher.lock:
            if place is not None and place.root.is_dir() and self._seeks_journal:
                # A folder one may only read, or another engine on it, is no reason not to work:
                # runs have journals of their own. When that one has ended, the next job opens it.
                self._seeks_journal = False
                try:
                    self._publisher.journal = Journal(place.root / JOURNAL)
                    self._offer_again(place.root / JOURNAL)
                except (OSError, SekftError) as error:
                    self._seeks_journal = isinstance(error, Unavailable)
            return self.has_journal

    @property
    def has_journal(self) -> bool:
        """Whether what is done, and has yet to be done, is written down in the workspace."""
        return self._publisher.journal is not None

    def _offer_again(self, journal: Path) -> None:
        """Queue what the last engine here had yet to do, held until someone releases it."""
        left = unfinished_jobs(journal)
        with self._changed:
            if self._next_number > 1:  # ids that this engine has given itself
                left = [msgspec.structs.replace(job, id=self._new_id(job)) for job in left]
            for job in left:
                self._queue.add(job, held=True)
            self._next_number = max(self._next_number, last_number(left) + 1)
        if left or self._next_number > 1:
            self._publish_queue()

    def _new_id(self, job: Job) -> str:
        with self._changed:
            number, self._next_number = self._next_number, self._next_number + 1
        return f"{kind_of(job)}-{number}"

    def submit(self, job: Job) -> str:
        """Queue a job and return its id; status, cancel, pause and resume are answered at once.

        A job gets exactly one ending, also one that is refused since the engine is closing, or that
        cannot be written down.
        """
        if not isinstance(job, AT_ONCE):
            self.open_journal()
        if not job.id:
            job = msgspec.structs.replace(job, id=self._new_id(job))
        answer = answer_at_once(job, self)
        if answer is not None:
            self._publish_for(job, events.JobDone, kind=kind_of(job), result=answer)
            self._publisher.forget(job.id)
            return job.id
        # Closing waits for this lock, so a job is either refused here or known to close().
        with self._publisher.lock:
            with self._changed:
                closing = self._closing
            if closing:
                self._end(job, events.JobFailed, error="the engine is closing", exit_status=1)
                return job.id
            try:
                self._publish_for(job, events.JobQueued, kind=kind_of(job), label=label_of(job))
            except OSError as error:
                ending, fields = ending_of(error)
                self._end(job, ending, **fields)
                return job.id
            with self._changed:
                self._queue.add(job)
                self._changed.notify_all()
            self._publish_queue()
        return job.id

    def cancel(self, job_id: str = "", *, after_step: bool = False) -> bool:
        """Ask a job (default: the running one) to stop; a queued one just leaves the queue."""
        with self._changed:
            waiting = self._queue.remove(job_id)
            running = self._running
            if waiting is None:
                if running is None or job_id not in ("", running.job.id):
                    return False
                running.ask_to_stop(after_step=after_step)
                return True
        self._publish_queue()
        self._end_waiting(waiting)
        return True

    def _end_waiting(self, job: Job) -> None:
        """Publish the ending of a job that left the queue before it began."""
        with self._changed:
            leaving = self._leaving
        offered = leaving and isinstance(job, LASTING) and self._publisher.journal is not None
        later = f"; {events.OFFERED}" if offered else ""
        self._end(job, events.JobCancelled, detail=f"{events.NOT_BEGUN}{later}")

    def move(self, job_id: str, by: int) -> bool:
        """Let a waiting job run ``by`` places later; earlier where negative."""
        with self._changed:
            moved = self._queue.move(job_id, by)
        if moved:
            self._publish_queue()
        return moved

    def checkpoint(self, job_id: str = "") -> bool:
        """Ask a training job (default: the running one) to save after its step and continue."""
        with self._changed:
            running = self._running
            if running is None or job_id not in ("", running.job.id):
                return False
            if not isinstance(running.job, TRAINING):
                return False
            running.ask_to_save()
            return True

    def make_ready(self) -> None:
        """Import what a training needs before one is asked for, while nothing is queued. Does not
        wait."""
        with self._changed:
            self._readiness.ask()
            self._changed.notify_all()

    def unserve(self) -> bool:
        """Ask the server on the base to end; False where there is none. Does not wait."""
        closing = self._guests.stop("it was closed")
        with self._changed:
            self._changed.notify_all()
        return closing

    def tell(self, job_id: str, message: bytes, number: int = 0) -> bool:
        """Give the running job a message, which is JSON; False where it does not run.

        With a ``number`` it is given once: each one has a greater number than the one before.
        """
        with self._changed:
            running = self._running
            if running is None or job_id != running.job.id:
                return False
            return running.tell(message, number)

    def pause(self, job_id: str = "") -> bool:
        """Hold a job: the running one (the default) at its next step, a waiting one where it is.

        Returns:
            Whether there is such a job.
        """
        return self._set_paused(job_id, paused=True)

    def resume(self, job_id: str = "") -> bool:
        """Let a paused or held job continue.

        Returns:
            Whether there is such a job.
        """
        return self._set_paused(job_id, paused=False)

    def _set_paused(self, job_id: str, *, paused: bool) -> bool:
        with self._changed:
            running = self._running
            if running is not None and job_id in ("", running.job.id):
                running.ask_to_pause(paused=paused)
                return True
            found = self._queue.hold(job_id, held=paused)
            self._changed.notify_all()
        if found:
            self._publish_queue()
        return found

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``callback`` with each event after it is journalled; returns the way to stop.

        It runs on the thread that caused the event and must be quick.
        """
        return self._publisher.subscribe(callback)

    def observe(self, callback: Observer) -> None:
        """Call ``callback`` with each event and its place in a journal, as :meth:`subscribe`."""
        self._publisher.observe(callback)

    def status(self) -> StatusResult:
        """What is resident, what runs, what waits. Never blocks on a job."""
        with self._changed:
            running = self._running.status if self._running is not None else None
            queued = self._queue.statuses()
        return StatusResult(resident=self.residence.facts or {}, running=running, queued=queued)

    def close(self, timeout: float | None = 30.0, *, drain: bool = False) -> bool:
        """End the thread: cancel what runs and waits, or with ``drain`` let it finish.

        Returns whether it ended within ``timeout`` seconds (None = however long it takes).
        """
        # Whoever submits holds the publisher's lock from asking whether this engine is closing to
        # adding the job: no job is added after this.
        with self._publisher.lock, self._changed:
            self._closing = True
            self._leaving = self._leaving or not drain
            waiting = [] if drain else self._queue.clear()
            self._changed.notify_all()
        for job in waiting:
            self._end_waiting(job)
        if not drain:
            self.cancel(after_step=True)
        if self._thread.ident is not None:
            self._thread.join(timeout)
        ended = not self._thread.is_alive()
        if ended:
            self._leave()
        return ended

    def _leave(self) -> None:
        """End the jobs that are still held, and close the journal."""
        with self._changed:
            self._leaving = True
            held = self._queue.clear()
        for job in held:
            self._end_waiting(job)
        with self._publisher.lock:
            self._seeks_journal = False  # nothing is written after this
            journal, self._publisher.journal = self._publisher.journal, None
        if journal is not None:
            journal.close()

    @property
    def ended(self) -> bool:
        """Whether it was closed, and its last job has ended."""
        with self._changed:
            return self._closing and not self._thread.is_alive()

    # --- the thread ---------------------------------------------------------------------------

    def _main(self) -> None:
        step_back(self._nice)
        guests, readiness = self._guests, self._readiness
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._queue.ready or self._closing or guests.wants or readiness.is_due
                )
                job = None if guests.leaving else self._queue.take()
                running = self._running = None if job is None else self._running_job(job)
                if running is None and self._closing and not self._queue.ready:
                    break
            if running is not None:
                guests.job_is(running.job.id)
                self._run(running)
                guests.job_is("")
            guests.see_off()
            guests.work(GUEST_TURN_S)
            if running is None and readiness.is_due:
                readiness.import_next()
        guests.end()

    def _running_job(self, job: Job) -> RunningJob:
        return RunningJob(
            job,
            workspace=self.workspace,
            residence=self.residence,
            publisher=self._publisher,
            board=self.board,
            handlers=self._handlers,
            changed=self._changed,
            opened=self._run_opened,
            guests=self._guests,
        )

    def _run(self, running: RunningJob) -> None:
        job, kind = running.job, kind_of(running.job)
        try:
            self._publish_queue()
            self._publish_for(job, events.JobStarted, kind=kind, label=label_of(job))
            result = running.do()
        except BaseException as error:  # noqa: BLE001 - whatever a job does, the engine lives on
            ending, fields = ending_of(error)
            self._end(job, ending, **fields)
        else:
            self._end(job, events.JobDone, result=result)
        finally:
            running.close()

    def _end(self, job: Job, ending: type[Event], **fields: Any) -> None:
        with (
            self._changed
        ):  # before the ending is published, since a subscriber may submit the next job
            if self._running is not None and self._running.job is job:
                self.residence.refresh()
                self._running = None
        self._publish_queue()
        self._publish_for(job, ending, kind=kind_of(job), **fields)
        self._publisher.forget(job.id)

    def _run_opened(self) -> None:
        """The running job has a run. A held job that was to resume that run is done with."""
        with self._changed:
            running = self._running
            folder = running.folder if running is not None else None
            held = [] if folder is None else self._queue.take_held(folder)
        for job in held:
            by = running.job.id if running is not None else ""
            self._end(job, events.JobCancelled, detail=f"{by} has resumed its run")
        self._publish_queue()

    def _publish_queue(self) -> None:
        """Publish what runs and waits.

        An engine that is cancelling its jobs publishes no more of it: the last queue in the journal
        is what it had yet to do, which is offered at the next start.
        """
        with self._publisher.lock:
            with self._changed:
                if self._leaving:
                    return
                running = self._running.entry if self._running is not None else None
                waiting = self._queue.entries()
            changed = events.QueueChanged(job="", t=time.time(), running=running, waiting=waiting)
            with contextlib.suppress(OSError):  # the job that needs it reports a full disk
                self._publisher.publish(changed)

    def _publish_for(self, job: Job, event: type[Event], **fields: Any) -> None:
        self._publisher.publish(event(job=job.id, t=time.time(), **fields))
