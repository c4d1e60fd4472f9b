"""Jobs that are answered at once, without the queue: questions and orders about other jobs."""

from __future__ import annotations

from typing import Protocol

from sekft_engine.records import jobs
from sekft_engine.records.jobs import Job
from sekft_engine.records.result import Result
from sekft_engine.records.results import (
    CancelResult,
    CheckpointResult,
    MoveResult,
    PauseResult,
    ResumeResult,
    StatusResult,
    UnserveResult,
)

#: All of them.
AT_ONCE = (
    jobs.Status,
    jobs.Cancel,
    jobs.Checkpoint,
    jobs.Pause,
    jobs.Resume,
    jobs.Move,
    jobs.Unserve,
)


class Controls(Protocol):
    """The methods of an engine that such a job stands for."""

    def status(self) -> StatusResult: ...
    def cancel(self, job_id: str = "", *, after_step: bool = False) -> bool: ...
    def checkpoint(self, job_id: str = "") -> bool: ...
    def pause(self, job_id: str = "") -> bool: ...
    def resume(self, job_id: str = "") -> bool: ...
    def move(self, job_id: str, by: int) -> bool: ...
    def unserve(self) -> bool: ...


def answer_at_once(job: Job, engine: Controls) -> Result | None:
    """Do on ``engine`` what ``job`` stands for; None where it is a job for the queue."""
    match job:
        case jobs.Status():
            return engine.status()
        case jobs.Cancel():
            return CancelResult(cancelled=engine.cancel(job.target, after_step=job.after_step))
        case jobs.Checkpoint():
            return CheckpointResult(asked=engine.checkpoint(job.target))
        case jobs.Pause():
            return PauseResult(paused=engine.pause(job.target))
        case jobs.Resume():
            return ResumeResult(paused=False, found=engine.resume(job.target))
        case jobs.Move():
            return MoveResult(moved=engine.move(job.target, job.by))
        case jobs.Unserve():
            return UnserveResult(closing=engine.unserve())
    return None
