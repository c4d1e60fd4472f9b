"""The paths that a job names, made independent of the current folder."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

import msgspec

from sekft_engine.records.jobs import (
    AnyJob,
    Attach,
    Cancel,
    Checkpoint,
    Drop,
    Evaluate,
    Export,
    FindRate,
    HandBack,
    Job,
    Load,
    MeasureLosses,
    Move,
    Pause,
    Prepare,
    Rename,
    Resume,
    Setup,
    Status,
    Swap,
    Sweep,
    Train,
)


def absolute(job: Job) -> Job:
    """The job with absolute paths, so that it can be done from any folder.

    Names of files that do not exist are left as they are.
    """
    if not isinstance(job, AnyJob):
        return job
    replace = msgspec.structs.replace
    match job:
        case Train():
            base, data = _absolute(job.base), _absolute(job.data)
            worlds, out = _absolute(job.scenarios), _absolute(job.out)
            return replace(job, base=base, data=data, scenarios=worlds, out=out)
        case Sweep():
            base, data = _absolute(job.base), _absolute(job.data)
            file, out = _absolute(job.file), _absolute(job.out)
            return replace(job, file=file, base=base, data=data, out=out)
        case Evaluate():
            base, worlds = _absolute(job.base), _absolute(job.scenarios)
            return replace(job, base=base, scenarios=worlds, out=_absolute(job.out))
        case FindRate() | MeasureLosses():
            return replace(job, base=_absolute(job.base), data=_absolute(job.data))
        case Load() | Prepare() | HandBack() | Export():
            return replace(job, base=_absolute(job.base))
        case Attach() | Swap() | Drop() | Rename() | Setup():
            return job
        case Status() | Cancel() | Checkpoint() | Pause() | Resume() | Move():
            return job
        case _:
            assert_never(job)


def _absolute(path: str) -> str:
    """``path`` as an absolute path if it exists; else unchanged: it is a Hub id or a known name."""
    if not path or not Path(path).expanduser().exists():
        return path
    return str(Path(path).expanduser().absolute())
