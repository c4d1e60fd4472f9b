"""An engine that plays a script of events, and scripts to play."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable

import msgspec

from sekft_engine.engine.queue import queue_entry
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event, Queued
from sekft_engine.records.jobs import Job
from sekft_engine.records.result import Result
from sekft_engine.records.results import (
    CancelResult,
    CheckpointResult,
    LoadResult,
    MoveResult,
    PauseResult,
    QueuedStatus,
    ResumeResult,
    RunningStatus,
    StatusResult,
)
from sekft_engine.work.board import Board


class ScriptedEngine:
    """An engine without a thread. It keeps its queue and answers as the real one does, and what
    its running job does is what the script says.

    Attributes:
        jobs: all that were submitted.
        cancelled: each request to cancel: the job, and whether its step may end first.
        orders: each request to pause, resume or move.
        ready: how often it was asked to be ready for a training.
        adapters: on its base, digests by name.
        runs: of those that have another name there, by that name.
    """

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.cancelled: list[tuple[str, bool]] = []
        self.orders: list[tuple[str, str]] = []
        self.started = False
        self.closed = False
        self.paused = False
        self.ready = 0
        self.board = Board()
        self.adapters: dict[str, str] = {}
        self.runs: dict[str, str] = {}
        self._running: Queued | None = None
        self._waiting: list[Queued] = []
        self._subscribers: list[Callable[[Event], None]] = []

    def start(self) -> ScriptedEngine:
        self.started = True
        return self

    def make_ready(self) -> None:
        self.ready += 1

    def submit(self, job: Job) -> str:
        kind = jobs.kind_of(job)
        job = msgspec.structs.replace(job, id=job.id or f"{kind}-{len(self.jobs) + 1}")
        self.jobs.append(job)
        answer = self._answer(job)
        if answer is not None:
            self._publish(events.JobDone(job=job.id, kind=kind, result=answer))
        elif self.closed:
            error = "the engine is closing"
            self._publish(events.JobFailed(job=job.id, kind=kind, error=error))
        else:
            self._publish(events.JobQueued(job=job.id, kind=kind, label=jobs.label_of(job)))
            self._waiting.append(queue_entry(job))
            self._publish_queue()
        return job.id

    def _answer(self, job: Job) -> Result | None:
        """The result of a job that is done at once; None for any other."""
        match job:
            case jobs.Status():
                return self.status()
            case jobs.Cancel():
                cancelled = self.cancel(job.target, after_step=job.after_step)
                return CancelResult(cancelled=cancelled)
            case jobs.Checkpoint():
                return CheckpointResult(asked=self._is_running(job.target))
            case jobs.Pause():
                return PauseResult(paused=self.pause(job.target))
            case jobs.Resume():
                return ResumeResult(found=self.resume(job.target))
            case jobs.Move():
                return MoveResult(moved=self.move(job.target, job.by))
        return None

    def cancel(self, job_id: str = "", *, after_step: bool = False) -> bool:
        self.cancelled.append((job_id, after_step))
        place = self._place(job_id)
        if place is None:
            return self._is_running(job_id)
        job = self._waiting.pop(place)
        self._publish_queue()
        detail = "it had not begun"
        self._publish(events.JobCancelled(job=job.id, kind=job.kind, detail=detail))
        return True

    def pause(self, job_id: str = "") -> bool:
        self.orders.append(("pause", job_id))
        return self._hold(job_id, held=True)

    def resume(self, job_id: str = "") -> bool:
        self.orders.append(("resume", job_id))
        return self._hold(job_id, held=False)

    def _hold(self, job_id: str, *, held: bool) -> bool:
        if self._is_running(job_id):
            self.paused = held
            return True
        place = self._place(job_id)
        if place is None:
            return False
        self._waiting[place] = msgspec.structs.replace(self._waiting[place], held=held)
        self._publish_queue()
        return True

    def move(self, job_id: str, by: int) -> bool:
        self.orders.append((f"move {by}", job_id))
        place = self._place(job_id)
        if place is None:
            return False
        to = max(0, min(place + by, len(self._waiting) - 1))
        self._waiting.insert(to, self._waiting.pop(place))
        if to != place:
            self._publish_queue()
        return to != place

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    def status(self) -> StatusResult:
        job = self._running
        return StatusResult(
            resident=LoadResult(base="/bases/tiny", adapters=self.adapters, runs=self.runs)
            if self.adapters
            else {},
            running=RunningStatus(id=job.id, kind=job.kind, label=job.label, paused=self.paused)
            if job is not None
            else None,
            queued=[
                QueuedStatus(id=one.id, kind=one.kind, label=one.label, held=one.held)
                for one in self._waiting
            ],
        )

    def close(self, timeout: float = 30.0) -> bool:
        """Nothing that waits begins any more, and what runs obeys at once."""
        self.closed = True
        ending = [*self._waiting, *([self._running] if self._running else [])]
        self._waiting, self._running = [], None
        for job in ending:
            self._publish(events.JobCancelled(job=job.id, kind=job.kind))
        return True

    def say(self, *script: Event) -> None:
        """Play what the running job does; the queue changes as its start and its end demand."""
        for event in script:
            if isinstance(event, events.QueueChanged):
                self._running, self._waiting = event.running, list(event.waiting)
            elif isinstance(event, events.JobStarted):
                self._begin(event)
            elif isinstance(event, events.ENDINGS) and self._is_running(event.job):
                self._running = None
                self._publish_queue()
            self._publish(event)

    def _begin(self, event: events.JobStarted) -> None:
        place = self._place(event.job)
        job = self._waiting.pop(place) if place is not None else None
        self._running = job or Queued(id=event.job, kind=event.kind, label=event.label)
        self.paused = False
        self._publish_queue()

    def _place(self, job_id: str) -> int | None:
        """Where the job waits; None = it does not."""
        return next((n for n, job in enumerate(self._waiting) if job.id == job_id), None)

    def _is_running(self, job_id: str) -> bool:
        return self._running is not None and job_id in ("", self._running.id)

    def _publish_queue(self) -> None:
        waiting = list(self._waiting)
        self._publish(events.QueueChanged(job="", running=self._running, waiting=waiting))

    def _publish(self, event: Event) -> None:
        for callback in tuple(self._subscribers):
            callback(event)


def training(
    steps: int = 60, upto: int = 0, job: str = "train-1", run: str = "0001-train", seed: int = 1
) -> Iterable[Event]:
    """A run's journal up to step ``upto`` (0 = to its end)."""
    dice = random.Random(seed)
    upto = upto or steps
    yield events.JobStarted(job=job, kind="train", t=1.0)
    yield events.RunCreated(
        job=job, run=run, path=f"/runs/{run}", kind="train", about={"recipe": {"rank": 16}}
    )
    yield events.BaseLoaded(
        job=job, base="tiny", digest="0", parameters=1, dtype="float32", device="cpu", seconds=1.0
    )
    yield events.RowsReady(
        job=job, kept=212, dropped={"too_long": 3}, tokens=84_000, trained_tokens=13_200,
        heldout=11, steps=steps,
    )  # fmt: skip
    for step in range(1, upto + 1):
        loss = 2.6 * math.exp(-step / 14) + 0.32 + dice.gauss(0, 0.12) * math.exp(-step / 40)
        yield events.StepDone(
            job=job, step=step, steps=steps, epoch=3 * step / steps, loss=max(loss, 0.05),
            lr=1e-3 * (1 + math.cos(math.pi * step / steps)) / 2,
            grad_norm=1 + dice.random(), trained_tokens=500 * step, tokens=3000 * step,
            tokens_per_s=412.0, seconds=7.1, eta_s=7.1 * (steps - step),
        )  # fmt: skip
        if step % 10 == 0:
            yield events.HeldoutDone(job=job, step=step, loss=max(loss, 0.05) + 0.06, tokens=600)
    if upto == steps:
        yield events.AdapterSaved(
            job=job, name=run, path=f"/runs/{run}/adapter", digest="0", step=steps
        )
        yield events.JobDone(job=job, kind="train", result={})


def watched(
    steps: int = 60, upto: int = 0, nan: int = 0, spike: int = 0, seed: int = 1
) -> Iterable[Event]:
    """A run's journal with everything there is to watch. At ``nan`` the gradient is none, at
    ``spike`` the loss is warned about."""
    job = "train-1"
    dice = random.Random(seed)
    for event in training(steps, upto, seed=seed):
        if isinstance(event, events.StepDone):
            ids = [f"tidy-{dice.randrange(40):03}" for _ in range(3)]
            batch = [events.BatchRow(id=name, tokens=60, edges=[20, 24, 55, 60]) for name in ids]
            yield events.StepBegan(job=job, step=event.step, batch=batch)
            wrong = {"grad_norm": math.nan} if event.step == nan else {}
            wrong |= {"loss": event.loss + 5} if event.step == spike else {}
            yield msgspec.structs.replace(event, rows=ids, tokens=3000, trained_tokens=500, **wrong)
            if event.step == spike:
                yield events.SignSeen(job=job, step=spike, sign="loss spike", value=9, usual=1)
            if event.step % 15 == 0:
                yield from _tried(event, job)
            yield events.MachineSeen(
                job=job, cores=2, cpu=0.9, rss=2 << 30, rss_most=3 << 30, memory=16 << 30
            )
        else:
            yield event
        if isinstance(event, events.RowsReady):
            yield events.BoundMeasured(job=job, rate=3e11, layers=100_000_000, head=28_000_000)
    if upto and upto < steps:
        yield events.StepBegan(job=job, step=upto + 1, batch=batch)


def _tried(event: events.StepDone, job: str) -> Iterable[Event]:
    """The adapter is saved, and every other time tried in worlds."""
    yield events.AdapterSaved(
        job=job, name="0001-train", path="/runs/0001-train/adapter", digest="0", step=event.step
    )
    if event.step % 30 == 0:
        done = 8 * event.step // event.steps
        yield events.RatesMeasured(
            job=job, step=event.step, n=8, operates=done, terminates=done, verified=done // 2,
            clean_termination=done, seconds=3.0,
        )  # fmt: skip


def verdict(subject: str, scenario: str, how: str, job: str = "eval-1") -> events.EpisodeDone:
    """An episode that went as ``how`` says: good, unverified, wrong, cap, prose, invalid."""
    good = how in ("good", "unverified")
    outcome = {"wrong": "panic", "cap": "cap", "prose": "cap", "invalid": "error"}.get(how, "exit")
    return events.EpisodeDone(
        job=job, subject=subject, scenario=scenario, archetype=scenario.split("-")[0],
        outcome=outcome, expected="exit", steps=5, turns=11, clean=how != "prose",
        operates=how not in ("prose", "invalid"), terminates=outcome in ("exit", "panic"),
        verified=how == "good", clean_termination=good,
        invalid="the sandbox died" if how == "invalid" else "", seconds=12.5,
    )  # fmt: skip


def evaluation(
    outcomes: dict[str, list[str]], scenarios: int, job: str = "eval-1", run: str = "0002-eval"
) -> Iterable[Event]:
    """An eval's journal: per subject, how each episode went; 'run' = still running."""
    names = [f"{('tidy', 'count', 'merge')[n % 3]}-{n:03}" for n in range(scenarios)]
    yield events.JobStarted(job=job, kind="eval", t=1.0)
    yield events.RunCreated(job=job, run=run, path=f"/runs/{run}", kind="eval")
    yield events.EvalStarted(
        job=job, subjects=list(outcomes), scenarios=names,
        archetypes=[name.split("-")[0] for name in names],
    )  # fmt: skip
    for subject, hows in outcomes.items():
        for name, how in zip(names, hows, strict=False):
            yield events.EpisodeStarted(job=job, subject=subject, scenario=name)
            yield from session(subject, name, job)
            if how != "run":
                yield verdict(subject, name, how, job)


SESSION = (
    ("user", "Welcome.\nYour duties are held by `warden`.\nuser@box:~$", 0.0),
    ("assistant", "warden --help", 0.9),
    ("user", "usage: warden [--help] show\nuser@box:~$", 1.1),
    ("assistant", "warden show", 9.0),
    ("user", "Write the number of lines of notes to count, then exit.\nuser@box:~$", 9.2),
    ("assistant", "wc -l < notes > count", 10.4),
    ("user", "user@box:~$", 10.5),
    ("assistant", "exit", 12.5),
)


def session(subject: str, scenario: str, job: str = "eval-1") -> Iterable[Event]:
    for number, (role, content, at) in enumerate(SESSION):
        yield events.TurnDone(
            job=job, subject=subject, scenario=scenario, number=number, role=role,
            content=content, at=at,
        )  # fmt: skip
