"""The engine: one daemon thread, jobs in, events out. The one owner of torch, base and adapters.

Importing this imports no torch: handlers are named in a table and imported when a job needs them.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from sekft_engine import events, jobs
from sekft_engine.context import Context, Stopped
from sekft_engine.errors import Interrupted, JobFailed, SekftError
from sekft_engine.events import Event
from sekft_engine.files import explain_os_error
from sekft_engine.importing import import_module
from sekft_engine.jobs import Job
from sekft_engine.journal import Journal
from sekft_engine.workspace import Workspace

if TYPE_CHECKING:
    from sekft_engine.base import ResidentBase

log = logging.getLogger(__name__)

Handler = Callable[[Any, Context], dict[str, Any]]

#: Which function does which job: ``module:function``, imported at the first such job.
HANDLERS: Mapping[type[Job], str | Handler] = {
    jobs.Load: "sekft_engine.resident_jobs:run_load",
    jobs.Prepare: "sekft_engine.resident_jobs:run_prepare",
    jobs.Attach: "sekft_engine.resident_jobs:run_attach",
    jobs.Swap: "sekft_engine.resident_jobs:run_swap",
    jobs.Drop: "sekft_engine.resident_jobs:run_drop",
    jobs.Train: "sekft_engine.sft.train:run_train",
    jobs.Evaluate: "sekft_engine.evaluate.run:run_evaluate",
    jobs.MeasureLosses: "sekft_engine.sft.measure_job:run_measure",
    jobs.Setup: "sekft_engine.demo:run_setup",
}

JOURNAL = "engine.jsonl"


def kind_of(job: Job) -> str:
    """The job's name as in JSON: load, train, eval, ..."""
    return str(job.__struct_config__.tag)


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
        self._queue: deque[Job] = deque()
        self._running: Job | None = None
        self._stops: dict[str, str] = {}
        self._paused = False
        self._save_wanted = ""
        self._closing = False
        self._numbers = itertools.count(1)
        self._subscribers: list[Callable[[Event], None]] = []
        self._publishing = threading.RLock()
        self._journal: Journal | None = None
        self._journals: dict[str, Journal] = {}
        self._early: dict[str, list[Event]] = {}
        self._resident_facts: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._main, name="sekft-engine", daemon=True)

    # --- what front ends call, from any thread --------------------------------------------

    def start(self) -> Engine:
        if self.workspace is not None and self.workspace.root.is_dir():
            # A second engine on the workspace, or a folder one may only read, is no reason not
            # to work: runs have journals of their own.
            with contextlib.suppress(OSError, SekftError):
                self._journal = Journal(self.workspace.root / JOURNAL)
        self._thread.start()
        return self

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
            self._queue.append(job)
            self._changed.notify_all()
        return job.id

    def cancel(self, job_id: str = "", *, after_step: bool = False) -> bool:
        """Ask a job (default: the running one) to stop; a queued one just leaves the queue."""
        with self._changed:
            running = self._running
            queued = next((job for job in self._queue if job_id and job.id == job_id), None)
            if queued is not None:
                self._queue.remove(queued)
            elif running is not None and job_id in ("", running.id):
                if self._stops.get(running.id) != "now":
                    self._stops[running.id] = "after step" if after_step else "now"
                self._changed.notify_all()
                return True
        if queued is None:
            return False
        self._end(queued, events.JobCancelled, detail="it had not begun")
        return True

    def checkpoint(self, job_id: str = "") -> bool:
        """Ask a training job (default: the running one) to save after its step, and to go on."""
        with self._changed:
            running = self._running
            if not isinstance(running, jobs.Train) or job_id not in ("", running.id):
                return False
            self._save_wanted = running.id
            return True

    def pause(self) -> None:
        """Hold the running job at its next step."""
        with self._changed:
            self._paused = True

    def resume(self) -> None:
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``callback`` with each event after it is journalled; returns the way to stop.

        It runs on the thread that caused the event and must be quick.
        """
        with self._publishing:
            self._subscribers.append(callback)

        def unsubscribe() -> None:
            with self._publishing, contextlib.suppress(ValueError):
                self._subscribers.remove(callback)

        return unsubscribe

    def status(self) -> dict[str, Any]:
        """What is resident, what runs, what waits. Never blocks on a job."""
        with self._changed:
            running = self._running
            return {
                "resident": dict(self._resident_facts),
                "running": _job_facts(running) | {"paused": self._paused} if running else None,
                "queued": [_job_facts(job) for job in self._queue],
            }

    def close(self, timeout: float | None = 30.0, *, drain: bool = False) -> bool:
        """End the thread: cancel what runs and waits, or with ``drain`` let it finish.

        Returns whether it ended within ``timeout`` seconds (None = however long it takes).
        """
        with self._changed:
            self._closing = True
            waiting = [] if drain else [job.id for job in self._queue]
            self._changed.notify_all()
        for job_id in waiting:
            self.cancel(job_id)
        if not drain:
            self.cancel(after_step=True)
        if self._thread.ident is not None:
            self._thread.join(timeout)
        ended = not self._thread.is_alive()
        if ended and self._journal is not None:
            self._journal.close()
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

    def make_resident(self, context: Context, spec: str, load_4bit: bool) -> ResidentBase:
        """The base for ``spec``: the resident one where it is that one, else loaded in its place.

        Whatever can be refused is refused before the old one is let go, which happens before the
        new one is loaded: there need not be memory for both.
        """
        from sekft_engine.resident_jobs import find_base, is_resident, load_base

        folder = find_base(context, spec)
        if self.resident is None or not is_resident(self.resident, folder, load_4bit):
            self.resident = None
            self.note_resident()
            gc.collect()
            self.resident = load_base(context, folder, load_4bit)
            self.note_resident()
        return self.resident

    def note_resident(self) -> None:
        """Refresh what :meth:`status` tells about the base, after it changed."""
        facts = self.resident.describe() if self.resident is not None else {}
        with self._changed:
            self._resident_facts = facts

    def move_journal(self, job_id: str, journal: Journal) -> None:
        """Send the job's events to ``journal``, beginning with those it has caused so far."""
        with self._publishing:
            for event in self._early.pop(job_id, []):
                journal.write(event)
            self._journals[job_id] = journal

    def publish(self, event: Event) -> None:
        """Journal, then show. A disk that refuses stops the job, not the showing of its end."""
        with self._publishing:
            journal = self._journals.get(event.job)
            if journal is None:
                self._early.setdefault(event.job, []).append(event)
                journal = self._journal
            refused: OSError | None = None
            if journal is not None:
                try:
                    journal.write(event)
                except OSError as error:
                    refused = error
            if refused is not None and not isinstance(event, events.ENDINGS):
                raise refused
            for callback in tuple(self._subscribers):
                try:
                    callback(event)
                except Exception:  # a front end's mistake must not end a training run
                    log.exception("a subscriber failed on %s", type(event).__name__)

    # --- the thread ---------------------------------------------------------------------------

    def _main(self) -> None:
        if self._nice:
            with contextlib.suppress(OSError):
                thread = threading.get_native_id()
                now = os.getpriority(os.PRIO_PROCESS, thread)
                os.setpriority(os.PRIO_PROCESS, thread, min(19, now + self._nice))
        while True:
            with self._changed:
                while not self._queue and not self._closing:
                    self._changed.wait()
                if not self._queue:
                    return
                job = self._queue.popleft()
                self._running = job
                self._paused = False
            try:
                self._run(job)
            finally:
                with self._changed:
                    self._running = None
                    self._stops.pop(job.id, None)

    def _run(self, job: Job) -> None:
        kind = kind_of(job)
        context = Context(self, job, kind)
        try:
            self._publish_own(job, events.JobStarted, kind=kind, label=label_of(job))
            result = self._handler(job)(job, context)
        except Interrupted as stop:
            result = stop.result if isinstance(stop, Stopped) else {}
            self._finish(context, "stopped", result=result)
            self._end(job, events.JobCancelled, detail=str(stop), result=result)
        except BaseException as error:  # noqa: BLE001 - whatever a job does, the engine lives on
            known = known_error(error)
            self._finish(context, "failed", error=str(known))
            self._end(
                job,
                events.JobFailed,
                error=str(known),
                exit_status=known.exit_status,
                trace="" if isinstance(error, SekftError) else traceback.format_exc(),
            )
        else:
            self._finish(context, "done", result=result)
            self._end(job, events.JobDone, result=result)
        finally:
            self._journals.pop(job.id, None)
            if context.run is not None:
                context.run.close()
            self.note_resident()

    def _handler(self, job: Job) -> Handler:
        handler = self._handlers.get(type(job))
        if handler is None:
            raise JobFailed(f"this engine has no way to do {kind_of(job)!r}")
        if isinstance(handler, str):
            module, _, name = handler.partition(":")
            found: Handler = getattr(import_module(module), name)
            self._handlers[type(job)] = found
            return found
        return handler

    def _finish(self, context: Context, status: str, **changes: Any) -> None:
        if context.run is not None:
            with contextlib.suppress(OSError):  # a full disk is told by the event that follows
                context.run.write(status=status, **changes)

    def _end(self, job: Job, ending: type[Event], **fields: Any) -> None:
        self.note_resident()
        self._publish_own(job, ending, kind=kind_of(job), **fields)
        with self._publishing:
            self._early.pop(job.id, None)

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
            self.pause()
            result = {"paused": True}
        elif isinstance(job, jobs.Resume):
            self.resume()
            result = {"paused": False}
        else:
            return False
        self._publish_own(job, events.JobDone, kind=kind_of(job), result=result)
        with self._publishing:
            self._early.pop(job.id, None)
        return True


def _job_facts(job: Job) -> dict[str, Any]:
    return {"id": job.id, "kind": kind_of(job), "label": label_of(job)}


def label_of(job: Job) -> str:
    """What a person calls the job: the data, adapter or base it is about."""
    for name in ("name", "run", "data", "hub", "path", "scenarios", "base", "workspace"):
        value = getattr(job, name, "")
        if value:
            return str(value)
    return ""


def known_error(error: BaseException) -> SekftError:
    """The error as a person should read it, in one line."""
    if isinstance(error, SekftError):
        return error
    if isinstance(error, OSError):
        explained = explain_os_error(error)
        if explained is not None:
            return explained
    if isinstance(error, ModuleNotFoundError):
        from sekft_engine.errors import Unavailable

        return Unavailable(
            f"the Python package {error.name} is missing",
            mend="install the extra: pip install 'sekft-tui[gpu]'",
        )
    text = str(error).strip().splitlines()
    return JobFailed(f"{type(error).__name__}: {text[0]}" if text else type(error).__name__)
