"""The engine: one daemon thread, jobs in, events out. The one owner of torch, base and adapters.

Importing this imports no torch: handlers are named in a table and imported when a job needs them.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sekft_engine import events, jobs
from sekft_engine.context import Context, Stopped
from sekft_engine.errors import BaseChanged, Interrupted, SekftError
from sekft_engine.events import Event
from sekft_engine.explain import known_error
from sekft_engine.handlers import HANDLERS, Handler, handler_of
from sekft_engine.jobs import Job, kind_of, label_of
from sekft_engine.journal import Journal
from sekft_engine.leaving import ENGINE_THREAD
from sekft_engine.niceness import step_back
from sekft_engine.publisher import Publisher
from sekft_engine.runs import Run
from sekft_engine.threads import settle_waiting
from sekft_engine.waiting import LASTING, Waiting, going_on, last_number, left_over, queued
from sekft_engine.workspace import Workspace

if TYPE_CHECKING:
    from sekft_engine.base import ResidentBase

JOURNAL = "engine.jsonl"


class Engine:
    """Runs jobs one after another on its own thread.

    Args:
        workspace: where runs go and where events outside a run are journalled; None = neither.
        nice: how far the thread (and the threads torch starts from it) steps back behind a
            front end, so that keys answer while a model trains on every core.
        handlers: replaces or adds to :data:`HANDLERS`.
    """

    def __init__(
        self,
        workspace: Workspace | None = None,
        *,
        nice: int = 5,
        handlers: Mapping[type[Job], str | Handler] | None = None,
    ) -> None:
        self.workspace = workspace
        self.resident: ResidentBase | None = None
        self._nice = nice
        self._handlers = dict(HANDLERS) | dict(handlers or {})
        self._changed = threading.Condition()
        self._queue = Waiting()
        self._running: Job | None = None
        self._running_in: Path | None = None
        self._stops: dict[str, str] = {}
        self._paused = False
        self._save_wanted = ""
        self._closing = False
        self._leaving = False
        self._numbers = itertools.count(1)
        self._publisher = Publisher()
        self._resident_facts: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._main, name=ENGINE_THREAD, daemon=True)

    # --- what front ends call, from any thread --------------------------------------------

    def start(self) -> Engine:
        settle_waiting()
        if self.workspace is not None and self.workspace.root.is_dir():
            # A second engine on the workspace, or a folder one may only read, is no reason not
            # to work: runs have journals of their own.
            with contextlib.suppress(OSError, SekftError):
                self._publisher.journal = Journal(self.workspace.root / JOURNAL)
                self._offer_again(self.workspace.root / JOURNAL)
        self._thread.start()
        return self

    def _offer_again(self, journal: Path) -> None:
        """What the last engine here had yet to do waits, held, until someone releases it."""
        left = left_over(journal)
        for job in left:
            self._queue.add(job, held=True)
        if left:
            self._numbers = itertools.count(last_number(left) + 1)
            self._tell_queue()

    def submit(self, job: Job) -> str:
        """Queue a job and return its id; status, cancel, pause and resume are answered at once."""
        if not job.id:
            job = msgspec.structs.replace(job, id=f"{kind_of(job)}-{next(self._numbers)}")
        if self._answer_at_once(job):
            return job.id
        with self._changed:
            closing = self._closing
        if closing:
            self._end(job, events.JobFailed, error="the engine is closing", exit_status=1)
            return job.id
        self._publish_own(job, events.JobQueued, kind=kind_of(job), label=label_of(job))
        with self._changed:
            self._queue.add(job)
            self._changed.notify_all()
        self._tell_queue()
        return job.id

    def cancel(self, job_id: str = "", *, after_step: bool = False) -> bool:
        """Ask a job (default: the running one) to stop; a queued one just leaves the queue."""
        with self._changed:
            running = self._running
            waiting = self._queue.remove(job_id)
            leaving = self._leaving
            if waiting is None and running is not None and job_id in ("", running.id):
                if self._stops.get(running.id) != "now":
                    self._stops[running.id] = "after step" if after_step else "now"
                self._changed.notify_all()
                return True
        if waiting is None:
            return False
        self._tell_queue()
        offered = leaving and isinstance(waiting, LASTING) and self._publisher.journal is not None
        later = "; it is offered again at the next start" if offered else ""
        self._end(waiting, events.JobCancelled, detail=f"it had not begun{later}")
        return True

    def move(self, job_id: str, by: int) -> bool:
        """Let a waiting job run ``by`` places later; earlier where negative."""
        with self._changed:
            moved = self._queue.move(job_id, by)
        if moved:
            self._tell_queue()
        return moved

    def checkpoint(self, job_id: str = "") -> bool:
        """Ask a training job (default: the running one) to save after its step, and to go on."""
        with self._changed:
            running = self._running
            if not isinstance(running, jobs.Train | jobs.Sweep) or job_id not in ("", running.id):
                return False
            self._save_wanted = running.id
            return True

    def pause(self, job_id: str = "") -> bool:
        """Hold a job: the running one (the default) at its next step, a waiting one where it is."""
        return self._set_paused(job_id, paused=True)

    def resume(self, job_id: str = "") -> bool:
        """Let a paused or held job go on."""
        return self._set_paused(job_id, paused=False)

    def _set_paused(self, job_id: str, *, paused: bool) -> bool:
        with self._changed:
            if not job_id or (self._running is not None and self._running.id == job_id):
                self._paused = paused
                self._changed.notify_all()
                return True
            found = self._queue.hold(job_id, held=paused)
            self._changed.notify_all()
        if found:
            self._tell_queue()
        return found

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``callback`` with each event after it is journalled; returns the way to stop.

        It runs on the thread that caused the event and must be quick.
        """
        return self._publisher.subscribe(callback)

    def status(self) -> dict[str, Any]:
        """What is resident, what runs, what waits. Never blocks on a job."""
        with self._changed:
            running = self._running
            return {
                "resident": dict(self._resident_facts),
                "running": queued(running).facts | {"paused": self._paused} if running else None,
                "queued": [one.facts | {"held": one.held} for one in self._queue.told()],
            }

    def close(self, timeout: float | None = 30.0, *, drain: bool = False) -> bool:
        """End the thread: cancel what runs and waits, or with ``drain`` let it finish.

        Returns whether it ended within ``timeout`` seconds (None = however long it takes).
        """
        with self._changed:
            self._closing = True
            self._leaving = not drain
            waiting = [] if drain else [job.id for job in self._queue]
            self._changed.notify_all()
        for job_id in waiting:
            self.cancel(job_id)
        if not drain:
            self.cancel(after_step=True)
        if self._thread.ident is not None:
            self._thread.join(timeout)
        ended = not self._thread.is_alive()
        if ended and self._publisher.journal is not None:
            self._publisher.journal.close()
        return ended

    # --- what a job's context calls, on the engine's thread ---------------------------------

    def stop_requested(self, job_id: str) -> str:
        """'' | 'after step' | 'now'."""
        with self._changed:
            return self._stops.get(job_id, "")

    def take_checkpoint_request(self, job_id: str) -> bool:
        with self._changed:
            wanted = self._save_wanted == job_id
            if wanted:
                self._save_wanted = ""
            return wanted

    def pause_requested(self) -> bool:
        with self._changed:
            return self._paused

    def hold_while_paused(self, context: Context) -> None:
        with self._changed:
            if not self._paused:
                return
        context.emit(events.JobPaused(job="", kind=context.kind))
        with self._changed:
            while self._paused and context.job.id not in self._stops:
                self._changed.wait()
            self._paused = False
        context.emit(events.JobResumed(job="", kind=context.kind))

    def make_resident(
        self, context: Context, spec: str, load_4bit: bool, sharded: bool = False
    ) -> ResidentBase:
        """The base for ``spec``: the resident one where it is that one, else loaded in its place.

        Whatever can be refused is refused before the old one is let go, which happens before the
        new one is loaded: there need not be memory for both.
        """
        from sekft_engine.resident_jobs import find_base, is_resident, load_base

        folder = find_base(context, spec)
        if self.resident is None or not is_resident(self.resident, folder, load_4bit, sharded):
            self.resident = None
            self.note_resident()
            gc.collect()
            self.resident = load_base(context, folder, load_4bit, sharded)
            self.note_resident()
        return self.resident

    def note_resident(self) -> None:
        """Refresh what :meth:`status` tells about the base, after it changed."""
        facts = self.resident.describe() if self.resident is not None else {}
        with self._changed:
            self._resident_facts = facts

    def run_opened(self, context: Context, run: Run) -> None:
        """Send the job's events to its run, beginning with those it has caused so far."""
        self._publisher.move(context.job.id, run.journal)
        if not context.part:
            with self._changed:
                self._running_in = run.folder
            self._tell_queue()

    def run_part(self, whole: Context, job: Job) -> dict[str, Any]:
        """Do ``job`` as a part of the running one, under its id, with a run of its own.

        Raises what the job raises; its run says so, too.
        """
        job = msgspec.structs.replace(job, id=whole.job.id)
        context = Context(self, job, kind_of(job), part=True)
        ending: Event | None = None
        with self._publisher.set_aside(job.id):
            try:
                result = self._do(job, context)
                ending = events.JobDone(job=job.id, t=time.time(), kind=context.kind, result=result)
            finally:
                if context.run is not None:
                    if ending is not None:  # for its own journal: the whole goes on
                        context.run.journal.write(ending)
                    context.run.close()
        return result

    def publish(self, event: Event) -> None:
        self._publisher.publish(event)

    # --- the thread ---------------------------------------------------------------------------

    def _main(self) -> None:
        step_back(self._nice)
        while True:
            with self._changed:
                while not self._queue.ready and not self._closing:
                    self._changed.wait()
                job = self._queue.take()
                if job is None:
                    return
                self._running, self._running_in = job, None
                self._paused = False
            self._run(job)

    def _run(self, job: Job) -> None:
        kind = kind_of(job)
        context = Context(self, job, kind)
        try:
            self._tell_queue()
            self._publish_own(job, events.JobStarted, kind=kind, label=label_of(job))
            result = self._do(job, context)
        except Interrupted as stop:
            result = stop.result if isinstance(stop, Stopped) else {}
            self._end(job, events.JobCancelled, detail=str(stop), result=result)
        except BaseException as error:  # noqa: BLE001 - whatever a job does, the engine lives on
            known = known_error(error)
            self._end(
                job,
                events.JobFailed,
                error=str(known),
                exit_status=known.exit_status,
                trace="" if isinstance(error, SekftError) else traceback.format_exc(),
            )
        else:
            self._end(job, events.JobDone, result=result)
        finally:
            if context.run is not None:
                context.run.close()
            self.note_resident()

    def _let_go_of_changed(self, context: Context) -> None:
        """Nothing later may act on a base that is not what was loaded, however the job ended."""
        if self.resident is None:
            return
        known = self.resident.changed
        try:
            self.resident.prove()
        except BaseChanged as error:
            self.resident = None
            if not known:
                context.log(str(error), "error")

    def _do(self, job: Job, context: Context) -> dict[str, Any]:
        """Let the handler do the job, and write what came of it into its run. A job in which the
        base changed has failed, whatever it found."""
        try:
            result = handler_of(job, self._handlers)(job, context)
            if self.resident is not None:
                self.resident.prove()
        except Interrupted as stop:
            kept = stop.result if isinstance(stop, Stopped) else {}
            self._finish(context, "stopped", result=kept)
            raise
        except BaseException as error:
            self._finish(context, "failed", error=str(known_error(error)))
            raise
        finally:
            self._let_go_of_changed(context)
        self._finish(context, "done", result=result)
        return result

    def _finish(self, context: Context, status: str, **changes: Any) -> None:
        if context.run is not None:
            with contextlib.suppress(OSError):  # a full disk is told by the event that follows
                context.run.write(status=status, **changes)

    def _end(self, job: Job, ending: type[Event], **fields: Any) -> None:
        self.note_resident()
        with self._changed:  # before anyone hears of the end, who may ask for something next
            if self._running is job:
                self._running = None
            self._stops.pop(job.id, None)
        self._tell_queue()
        self._publish_own(job, ending, kind=kind_of(job), **fields)
        self._publisher.forget(job.id)

    def _tell_queue(self) -> None:
        """Say what runs and waits. An engine that is told to leave keeps it to itself: what it
        said before is what it had yet to do, and is offered at the next start."""
        with self._publisher.lock:
            with self._changed:
                if self._leaving:
                    return
                running, waiting = self._running, self._queue.told()
                folder = self._running_in
            told = None
            if running is not None:
                told = queued(running if folder is None else going_on(running, folder))
            changed = events.QueueChanged(job="", t=time.time(), running=told, waiting=waiting)
            with contextlib.suppress(OSError):  # a full disk is told by the job that needs it
                self.publish(changed)

    def _publish_own(self, job: Job, event: type[Event], **fields: Any) -> None:
        self.publish(event(job=job.id, t=time.time(), **fields))

    def _answer_at_once(self, job: Job) -> bool:
        if isinstance(job, jobs.Status):
            result = self.status()
        elif isinstance(job, jobs.Cancel):
            result = {"cancelled": self.cancel(job.target, after_step=job.after_step)}
        elif isinstance(job, jobs.Checkpoint):
            result = {"asked": self.checkpoint(job.target)}
        elif isinstance(job, jobs.Pause):
            result = {"paused": self.pause(job.target)}
        elif isinstance(job, jobs.Resume):
            result = {"paused": False, "found": self.resume(job.target)}
        elif isinstance(job, jobs.Move):
            result = {"moved": self.move(job.target, job.by)}
        else:
            return False
        self._publish_own(job, events.JobDone, kind=kind_of(job), result=result)
        self._publisher.forget(job.id)
        return True
