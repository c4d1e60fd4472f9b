"""The reducer: from events to the state that the panes draw, for live events and for journals."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, assert_never

from sekft_engine.records import events
from sekft_engine.records.adapter_names import name_of_folder
from sekft_engine.records.events import Event
from sekft_engine.records.results import AnyResult
from sekft_engine.records.trainings import FindRateResult
from sekft_tui.model.endings import handed_text, is_handed_over, name_of, stopped_text
from sekft_tui.model.evaluation import EvalEvent, EvalView
from sekft_tui.model.rate_search import RateView
from sekft_tui.model.training import TrainEvent, TrainView

JobStatus = Literal[
    "queued", "held", "running", "pausing", "paused", "stopping", "done", "failed", "cancelled"
]
#: How many log lines are kept for the screen; the journal on disk keeps all.
LOG_LINES = 2000
#: The events about a job and the queue.
JobEvent = (
    events.JobQueued
    | events.JobStarted
    | events.JobDone
    | events.JobFailed
    | events.JobCancelled
    | events.JobPaused
    | events.JobResumed
    | events.QueueChanged
)
#: Jobs that are answered at once and not shown.
_AT_ONCE = ("status", "cancel", "checkpoint", "pause", "resume", "move", "unserve")


#: Tasks of a job that are shown.
MOST_TASKS = 16


@dataclass
class JobView:
    """One job and how far it is."""

    id: str
    kind: str
    label: str = ""
    status: JobStatus = "queued"
    progress: events.Progress | None = None
    #: The newest progress of each of its tasks, by label, and when the task began; newest last.
    tasks: dict[str, tuple[events.Progress, float]] = field(default_factory=dict)
    started: float = 0.0
    ended: float = 0.0
    error: str = ""
    trace: str = ""
    #: It failed because its process was gone.
    died: bool = False
    result: AnyResult = field(default_factory=dict)
    #: When it was paused and let go on again, each; an infinite end = it is paused.
    pauses: list[tuple[float, float]] = field(default_factory=list)

    def worked(self, since: float, now: float) -> float:
        """The seconds since a moment, without those for which it was paused."""
        rest = sum(max(0.0, min(end, now) - max(begun, since)) for begun, end in self.pauses)
        return max(0.0, now - since - rest)

    @property
    def active(self) -> bool:
        return self.status in ("queued", "running", "pausing", "paused", "stopping")


@dataclass
class Shared:
    """The state that the panes draw. Written under the bridge's lock, or by one thread alone."""

    jobs: dict[str, JobView] = field(default_factory=dict)
    queue: events.QueueChanged | None = None
    base: events.BaseLoaded | None = None
    train: TrainView = field(default_factory=TrainView)
    #: The run of the job before; the present job may resume it.
    before: TrainView = field(default_factory=TrainView)
    #: Runs that the same job did before this one: a sweep's.
    earlier: list[TrainView] = field(default_factory=list)
    eval: EvalView = field(default_factory=EvalView)
    rate: RateView = field(default_factory=RateView)
    log: deque[tuple[float, str, str]] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    logged: int = 0
    #: How many warnings and errors were logged.
    alarms: int = 0
    version: int = 0
    #: An engine in the background takes over what this one does.
    handing_over: bool = False
    #: The folders of the runs that this engine has written.
    run_paths: set[str] = field(default_factory=set)

    @property
    def active(self) -> JobView | None:
        """The job that runs, else the first that waits."""
        waiting = [job for job in self.jobs.values() if job.active]
        running = [job for job in waiting if job.status != "queued"]
        return next(iter(running or waiting), None)

    @property
    def writing(self) -> set[str]:
        """The folders of the runs that this engine may be writing; none while it has no job, since
        any other process may resume its runs then."""
        return set(self.run_paths) if self.active is not None else set()

    def add_log(self, t: float, level: str, text: str) -> None:
        self.log.append((t, level, text))
        self.logged += 1
        self.alarms += level in ("warning", "error")


def reduce(shared: Shared, event: Event) -> None:
    """Change ``shared`` by what ``event`` says happened. Events may come in any order."""
    shared.version += 1
    if not isinstance(event, events.AnyEvent):
        return  # of an engine newer than this screen
    match event:
        case (
            events.RowsReady()
            | events.RunResumed()
            | events.StepBegan()
            | events.StepDone()
            | events.HeldoutDone()
            | events.RatesMeasured()
            | events.SignSeen()
            | events.AdapterSaved()
            | events.BoundMeasured()
            | events.MachineSeen()
        ):
            _train_event(shared, event)
        case (
            events.TurnDone()
            | events.EpisodeStarted()
            | events.EpisodeDone()
            | events.EvalStarted()
        ):
            _eval_event(shared, event)
        case events.RateTried():
            if shared.rate.job == event.job:
                shared.rate.apply(event)
        case events.Progress():
            _progressed(_job(shared, event), event)
        case events.Log():
            shared.add_log(event.t, event.level, event.text)
        case events.BaseLoaded() | events.ServerChanged():
            _base_event(shared, event)
        case events.AdapterAttached() | events.AdapterDropped():
            pass  # the engine's status has them
        case events.RunCreated():
            _run_created(shared, event)
        case events.LossesMeasured() | events.CommandTyped():
            pass  # who asked for them has them
        case _:
            _job_event(shared, event)


def _job(shared: Shared, event: Event, kind: str = "") -> JobView:
    return shared.jobs.setdefault(event.job, JobView(event.job, kind))


def _train_event(shared: Shared, event: TrainEvent) -> None:
    match event:
        case events.StepBegan() | events.HeldoutDone():
            _job(shared, event).progress = None  # what came before is over
        case events.RunResumed():
            shared.add_log(event.t, "info", f"resumed after step {event.step}")
        case events.AdapterSaved():
            name = name_of_folder(Path(event.path))
            shared.add_log(event.t, "info", f"adapter {name} saved at step {event.step}")
        case _:
            pass
    shared.train.apply(event)


def _eval_event(shared: Shared, event: EvalEvent) -> None:
    """What the job prepared is over once it acts; a run in training says itself how far its trials
    are."""
    job = shared.jobs.get(event.job)
    acts = isinstance(event, events.EvalStarted | events.EpisodeStarted)
    if acts and job is not None and job.id == shared.eval.job:
        job.progress = None
    shared.eval.apply(event)


def _base_event(shared: Shared, event: events.BaseLoaded | events.ServerChanged) -> None:
    match event:
        case events.ServerChanged():
            said = f"serves {', '.join(event.models)} at {event.url}"
            if not event.url:
                said = f"the server is closed{event.why and ': '}{event.why}"
            shared.add_log(event.t, "info", said)
        case events.BaseLoaded():
            shared.base = event
            if (job := shared.jobs.get(event.job)) is not None:
                job.progress = None  # that of loading
            where = f"{event.dtype} on {event.device}, {event.seconds:.1f} s"
            shared.add_log(event.t, "info", f"base {event.base} loaded: {where}")
        case _:
            assert_never(event)


def _job_event(shared: Shared, event: JobEvent) -> None:
    match event:
        case events.JobQueued():
            shared.jobs[event.job] = JobView(event.job, event.kind, event.label)
        case events.JobStarted():
            _job_started(shared, event)
        case events.JobDone() | events.JobFailed() | events.JobCancelled():
            _job_ended(shared, event)
        case events.JobPaused() | events.JobResumed():
            job = _job(shared, event)
            if job.status != "stopping":  # a job that is to stop does not wait
                job.status = "paused" if isinstance(event, events.JobPaused) else "running"
            _note_pause(job, event)
        case events.QueueChanged():
            _queue_changed(shared, event)
        case _:
            assert_never(event)


def _note_pause(job: JobView, event: events.JobPaused | events.JobResumed) -> None:
    rests = bool(job.pauses) and job.pauses[-1][1] == math.inf
    if isinstance(event, events.JobResumed):
        if rests:
            job.pauses[-1] = (job.pauses[-1][0], event.t)
    elif not rests:
        job.pauses.append((event.t, math.inf))


def _queue_changed(shared: Shared, event: events.QueueChanged) -> None:
    shared.queue = event
    for waiting in event.waiting:  # an engine that died may have left some, never announced here
        new = JobView(waiting.id, waiting.kind, waiting.label)
        job = shared.jobs.setdefault(waiting.id, new)
        job.status = "held" if waiting.held else "queued"


def _job_started(shared: Shared, event: events.JobStarted) -> None:
    job = _job(shared, event, event.kind)
    job.status, job.started = "running", event.t
    job.label = event.label or job.label
    match event.kind:
        case "train" | "sweep":
            if shared.train.run:
                shared.before = shared.train
            shared.train, shared.earlier = TrainView(job=event.job), []
        case "eval":
            shared.eval = EvalView(job=event.job)
        case "find_rate":
            shared.rate = RateView(job=event.job)
    label = f": {job.label}" if job.label else ""
    shared.add_log(event.t, "info", f"{name_of(event.kind)} started{label}")


def _job_ended(
    shared: Shared, event: events.JobDone | events.JobFailed | events.JobCancelled
) -> None:
    if event.kind in _AT_ONCE:
        shared.jobs.pop(event.job, None)
        return
    job = _job(shared, event, event.kind)
    job.ended, job.progress = event.t, None
    match event:
        case events.JobFailed():
            job.status, job.error, job.trace = "failed", event.error, event.trace
            job.died = job.started > 0 and event.what.startswith(events.ENGINE_ENDED)
            shared.add_log(event.t, "error", f"{name_of(event.kind)} failed: {event.error}")
        case events.JobCancelled():
            job.status, job.error = "cancelled", event.detail
            if is_handed_over(event, handing_over=shared.handing_over):
                shared.add_log(event.t, "info", handed_text(event))
            else:
                shared.add_log(event.t, "warning", stopped_text(event))
        case events.JobDone():
            job.status, job.result = "done", event.result
            if isinstance(event.result, FindRateResult):
                shared.rate.finish(event.result)
            shared.add_log(event.t, "info", f"{name_of(event.kind)} done")
        case _:
            assert_never(event)
    if event.kind == "eval":
        shared.eval.stop()


def _progressed(job: JobView, event: events.Progress) -> None:
    job.progress = event
    _, began = job.tasks.pop(event.label, (None, event.t or time.time()))
    job.tasks[event.label] = event, began
    if len(job.tasks) > MOST_TASKS:
        del job.tasks[next(iter(job.tasks))]


def _run_created(shared: Shared, event: events.RunCreated) -> None:
    shared.run_paths.add(event.path)
    # A journal on disk begins with this event: the start of the job may be missing.
    match event.kind:
        case "train":
            if not shared.train.run and shared.before.path == event.path:
                shared.train = shared.before
            if shared.train.path == event.path:  # the same run continues
                shared.train.job = event.job
                shared.train.resuming = len(shared.train.steps) > 0
            elif shared.train.job != event.job or shared.train.run:
                _next_run(shared, event.job)
            shared.train.run, shared.train.path = event.run, event.path
            shared.train.about = event.about
        case "eval":
            if shared.eval.job != event.job or shared.eval.run:
                shared.eval = EvalView(job=event.job)
            shared.eval.run, shared.eval.path = event.run, event.path


def _next_run(shared: Shared, job: str) -> None:
    """Another run begins; earlier ones of the same job stay in view."""
    same = shared.train.job == job and shared.train.run
    shared.earlier = [*shared.earlier, shared.train] if same else []
    shared.train = TrainView(job=job)


def stop_asked(shared: Shared, job_id: str) -> None:
    """The user asked the job to stop; the engine has not confirmed it yet."""
    job = shared.jobs.get(job_id)
    if job is not None and job.active:
        job.status = "stopping"
        shared.version += 1
        shared.add_log(time.time(), "info", f"{name_of(job.kind)}: asked to stop")


def pause_asked(shared: Shared, job_id: str, paused: bool) -> None:
    """The user asked the job to pause or to continue; it does so at its next step."""
    job = shared.jobs.get(job_id)
    if job is not None and job.status in ("running", "pausing"):
        job.status = "pausing" if paused else "running"
        shared.version += 1


def replayed(journal: list[Event]) -> Shared:
    """The state after all events of a journal."""
    shared = Shared()
    for event in journal:
        reduce(shared, event)
    return shared
