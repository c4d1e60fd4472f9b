"""From events to what the panes show. The same reducer serves live events and journals on disk."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from sekft_engine import events
from sekft_engine.events import Event
from sekft_tui.eval_view import EvalView
from sekft_tui.finding import RateView
from sekft_tui.training import TrainView

JobStatus = Literal[
    "queued", "held", "running", "pausing", "paused", "stopping", "done", "failed", "cancelled"
]
#: How many log lines are kept for the screen; the journal on disk keeps all.
LOG_LINES = 2000
#: Jobs that are answered at once and leave no trace.
_AT_ONCE = ("status", "cancel", "checkpoint", "pause", "resume", "move")


@dataclass
class JobView:
    """One job and how far it is."""

    id: str
    kind: str
    label: str = ""
    status: JobStatus = "queued"
    progress: events.Progress | None = None
    started: float = 0.0
    ended: float = 0.0
    error: str = ""
    trace: str = ""
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        return self.status in ("queued", "running", "pausing", "paused", "stopping")


@dataclass
class Shared:
    """All that the panes draw. Written under the bridge's lock, or by one thread alone."""

    jobs: dict[str, JobView] = field(default_factory=dict)
    queue: events.QueueChanged | None = None
    base: events.BaseLoaded | None = None
    adapters: dict[str, events.AdapterAttached] = field(default_factory=dict)
    train: TrainView = field(default_factory=TrainView)
    #: The run of the job before; it may be the one that the present job goes on with.
    before: TrainView = field(default_factory=TrainView)
    #: Runs that the same job did before this one: a sweep's.
    earlier: list[TrainView] = field(default_factory=list)
    eval: EvalView = field(default_factory=EvalView)
    rate: RateView = field(default_factory=RateView)
    log: deque[tuple[float, str, str]] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    logged: int = 0
    version: int = 0

    @property
    def active(self) -> JobView | None:
        """The job that runs, else the first that waits."""
        waiting = [job for job in self.jobs.values() if job.active]
        running = [job for job in waiting if job.status != "queued"]
        return next(iter(running or waiting), None)

    def say(self, t: float, level: str, text: str) -> None:
        self.log.append((t, level, text))
        self.logged += 1


def reduce(shared: Shared, event: Event) -> None:
    """Take one event in. Unknown or out-of-order events never raise."""
    shared.version += 1
    handler = _HANDLERS.get(type(event))
    if handler is not None:
        handler(shared, event)


def _job(shared: Shared, event: Event, kind: str = "") -> JobView:
    return shared.jobs.setdefault(event.job, JobView(event.job, kind))


def _queued(shared: Shared, event: events.JobQueued) -> None:
    shared.jobs[event.job] = JobView(event.job, event.kind, event.label)


def _queue(shared: Shared, event: events.QueueChanged) -> None:
    shared.queue = event
    for one in event.waiting:  # an engine that died may have left some, of which nothing was heard
        job = shared.jobs.setdefault(one.id, JobView(one.id, one.kind, one.label))
        job.status = "held" if one.held else "queued"


def _started(shared: Shared, event: events.JobStarted) -> None:
    job = _job(shared, event, event.kind)
    job.status, job.started = "running", event.t
    job.label = event.label or job.label
    if event.kind in ("train", "sweep"):
        if shared.train.run:
            shared.before = shared.train
        shared.train, shared.earlier = TrainView(job=event.job), []
    elif event.kind == "eval":
        shared.eval = EvalView(job=event.job)
    elif event.kind == "find_rate":
        shared.rate = RateView(job=event.job)
    shared.say(event.t, "info", f"{event.kind} started{': ' + job.label if job.label else ''}")


def _progress(shared: Shared, event: events.Progress) -> None:
    _job(shared, event).progress = event


def _log(shared: Shared, event: events.Log) -> None:
    shared.say(event.t, event.level, event.text)


def _ended(shared: Shared, event: events.JobDone | events.JobFailed | events.JobCancelled) -> None:
    job = _job(shared, event, event.kind)
    if event.kind in _AT_ONCE:
        shared.jobs.pop(event.job, None)
        return
    job.ended, job.progress = event.t, None
    if isinstance(event, events.JobFailed):
        job.status, job.error, job.trace = "failed", event.error, event.trace
        shared.say(event.t, "error", f"{event.kind} failed: {event.error}")
    elif isinstance(event, events.JobCancelled):
        job.status, job.error = "cancelled", event.detail
        shared.say(event.t, "warning", f"{event.kind} stopped: {event.detail}".rstrip(": "))
    else:
        job.status, job.result = "done", event.result
        if event.kind == "find_rate":
            shared.rate.ended(event.result)
        shared.say(event.t, "info", f"{event.kind} done")
    if event.kind == "eval":
        shared.eval.ended()


def _base(shared: Shared, event: events.BaseLoaded) -> None:
    shared.base = event
    shared.adapters.clear()
    text = f"base {event.base} loaded: {event.dtype} on {event.device}, {event.seconds:.1f} s"
    shared.say(event.t, "info", text)


def _attached(shared: Shared, event: events.AdapterAttached) -> None:
    shared.adapters[event.name] = event


def _dropped(shared: Shared, event: events.AdapterDropped) -> None:
    shared.adapters.pop(event.name, None)


def _run(shared: Shared, event: events.RunCreated) -> None:
    # A journal on disk begins here, so that the start of the job need not have been seen.
    if event.kind == "train":
        if not shared.train.run and shared.before.path == event.path:
            shared.train = shared.before
        if shared.train.path == event.path:  # the same run goes on
            shared.train.job = event.job
        elif shared.train.job != event.job or shared.train.run:
            _next_run(shared, event.job)
        shared.train.run, shared.train.path = event.run, event.path
        shared.train.about = event.about
    elif event.kind == "eval":
        if shared.eval.job != event.job or shared.eval.run:
            shared.eval = EvalView(job=event.job)
        shared.eval.run, shared.eval.path = event.run, event.path


def _next_run(shared: Shared, job: str) -> None:
    """Another run begins; those that the same job did before stay in sight."""
    same = shared.train.job == job and shared.train.run
    shared.earlier = [*shared.earlier, shared.train] if same else []
    shared.train = TrainView(job=job)


def _rows(shared: Shared, event: events.RowsReady) -> None:
    shared.train.rows = event


def _began(shared: Shared, event: events.StepBegan) -> None:
    _job(shared, event).progress = None  # what came before the step is over
    shared.train.began(event)


def _step(shared: Shared, event: events.StepDone) -> None:
    shared.train.did(event)


def _went_on(shared: Shared, event: events.RunResumed) -> None:
    shared.train.went_on(event.step)
    shared.say(event.t, "info", f"the run goes on after step {event.step}")


def _heldout(shared: Shared, event: events.HeldoutDone) -> None:
    shared.train.measured(event)


def _rates(shared: Shared, event: events.RatesMeasured) -> None:
    shared.train.acted(event)


def _sign(shared: Shared, event: events.SignSeen) -> None:
    shared.train.signed(event)


def _tried(shared: Shared, event: events.RateTried) -> None:
    if shared.rate.job == event.job:
        shared.rate.tried(event)


def _saved(shared: Shared, event: events.AdapterSaved) -> None:
    shared.train.saved(event)
    shared.say(event.t, "info", f"adapter {event.name} saved at step {event.step}")


def _bound(shared: Shared, event: events.BoundMeasured) -> None:
    shared.train.bound = event


def _machine(shared: Shared, event: events.MachineSeen) -> None:
    shared.train.seen(event)


def _eval(shared: Shared, event: events.EvalStarted) -> None:
    shared.eval.begins(event)


def _episode(shared: Shared, event: events.EpisodeStarted) -> None:
    shared.eval.started(event)


def _turn(shared: Shared, event: events.TurnDone) -> None:
    shared.eval.turn(event)


def _verdict(shared: Shared, event: events.EpisodeDone) -> None:
    shared.eval.judged(event)


def _paused(shared: Shared, event: Event) -> None:
    job = _job(shared, event)
    if job.status != "stopping":  # then it does not wait
        job.status = "paused"


def _resumed(shared: Shared, event: Event) -> None:
    job = _job(shared, event)
    if job.status != "stopping":
        job.status = "running"


_HANDLERS: dict[type[Event], Any] = {
    events.JobQueued: _queued,
    events.QueueChanged: _queue,
    events.JobStarted: _started,
    events.Progress: _progress,
    events.Log: _log,
    events.JobDone: _ended,
    events.JobFailed: _ended,
    events.JobCancelled: _ended,
    events.JobPaused: _paused,
    events.JobResumed: _resumed,
    events.BaseLoaded: _base,
    events.AdapterAttached: _attached,
    events.AdapterDropped: _dropped,
    events.RunCreated: _run,
    events.RowsReady: _rows,
    events.RunResumed: _went_on,
    events.StepBegan: _began,
    events.StepDone: _step,
    events.HeldoutDone: _heldout,
    events.RatesMeasured: _rates,
    events.SignSeen: _sign,
    events.RateTried: _tried,
    events.BoundMeasured: _bound,
    events.MachineSeen: _machine,
    events.AdapterSaved: _saved,
    events.EvalStarted: _eval,
    events.EpisodeStarted: _episode,
    events.TurnDone: _turn,
    events.EpisodeDone: _verdict,
}


def stop_asked(shared: Shared, job_id: str) -> None:
    """The user asked the job to stop; the engine has not said yet that it did."""
    job = shared.jobs.get(job_id)
    if job is not None and job.active:
        job.status = "stopping"
        shared.version += 1
        shared.say(time.time(), "info", f"{job.kind}: stopping after this step")


def pause_asked(shared: Shared, job_id: str, paused: bool) -> None:
    """The user asked the job to pause, or not to after all; it does so at its next step."""
    job = shared.jobs.get(job_id)
    if job is not None and job.status in ("running", "pausing"):
        job.status = "pausing" if paused else "running"
        shared.version += 1


def replayed(journal: list[Event]) -> Shared:
    """What a journal adds up to."""
    shared = Shared()
    for event in journal:
        reduce(shared, event)
    return shared
