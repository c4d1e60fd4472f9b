"""The job that continues a run: as it was asked for, in the run's folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.records import jobs
from sekft_engine.records.jobs import Job
from sekft_engine.records.runs import RunInfo


def to_resume(job: Job, run: Path) -> Job:
    """The job that resumes what ``job`` has begun in the folder ``run``."""
    match job:
        case jobs.Train() | jobs.Evaluate():
            return msgspec.structs.replace(job, out=str(run), resume=True)
        case jobs.Sweep() | jobs.Experiment() | jobs.Improve():
            return msgspec.structs.replace(job, out=str(run))
        case _:
            return job


def resuming_job(run: RunInfo) -> Job:
    """The job that resumes ``run``, as its manifest says that it was asked for.

    Raises:
        BadInput: it came to its end, is being written, or does not say which job made it.
    """
    where = run.path
    if run.status == "running":
        raise BadInput("this run is running", where=where, mend="stop it first")
    if run.status == "done":
        raise BadInput("this run is done", where=where, mend="start a new one")
    if run.kind not in ("train", "eval", "sweep", "experiment", "improve"):
        raise BadInput(f"a run of {run.kind} is not resumed", where=where, mend="start it again")
    try:
        job = msgspec.convert(run.job, jobs.AnyJob)
    except msgspec.ValidationError as error:
        raise BadInput(
            "this run does not say which job made it",
            where=where,
            mend=f"sekft {run.kind} --resume --out {run.path}, with the options of its start",
        ) from error
    return msgspec.structs.replace(to_resume(job, Path(run.path)), id="")
