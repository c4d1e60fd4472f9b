"""Jobs that wait for their turn, and what is left of them when the engine is gone.

Every change of the queue is told by an event, and so it is in the workspace's journal. The last
one there is what an engine that died had yet to do: it is offered again, held, at the next start.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sekft_engine import jobs
from sekft_engine.errors import BadInput
from sekft_engine.events import QueueChanged, Queued
from sekft_engine.jobs import Job
from sekft_engine.journal import decode_line
from sekft_engine.runs import read_run

#: Jobs worth doing later. The others are about what is resident at the moment.
LASTING = (jobs.Train, jobs.Evaluate, jobs.Sweep, jobs.MeasureLosses)


class Waiting:
    """Jobs in the order in which they will run. A held one lets others pass until it is released.

    Whoever uses it from several threads holds a lock.
    """

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self._held: set[str] = set()

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    def add(self, job: Job, *, held: bool = False) -> None:
        self._jobs.append(job)
        if held:
            self._held.add(job.id)

    def take(self) -> Job | None:
        """The next one that may run, which waits no more."""
        job = next((one for one in self._jobs if one.id not in self._held), None)
        return self.remove(job.id) if job is not None else None

    @property
    def ready(self) -> bool:
        """Whether :meth:`take` would give one."""
        return any(job.id not in self._held for job in self._jobs)

    def remove(self, job_id: str) -> Job | None:
        job = next((one for one in self._jobs if one.id == job_id), None)
        if job is not None:
            self._jobs.remove(job)
            self._held.discard(job_id)
        return job

    def move(self, job_id: str, by: int) -> bool:
        """Let the job run ``by`` places later, or earlier where it is negative."""
        at = next((place for place, one in enumerate(self._jobs) if one.id == job_id), None)
        if at is None:
            return False
        to = max(0, min(at + by, len(self._jobs) - 1))
        self._jobs.insert(to, self._jobs.pop(at))
        return to != at

    def hold(self, job_id: str, *, held: bool) -> bool:
        """Hold or release the job; False where it does not wait."""
        if all(one.id != job_id for one in self._jobs):
            return False
        (self._held.add if held else self._held.discard)(job_id)
        return True

    def told(self) -> list[Queued]:
        """What an event says of each."""
        return [queued(job, held=job.id in self._held) for job in self._jobs]


def queued(job: Job, *, held: bool = False) -> Queued:
    """The job as an event tells it, to be done from any folder."""
    changes = {}
    for name in ("base", "data", "scenarios", "out", "file"):
        value = getattr(job, name, "")
        if value and Path(value).expanduser().exists():
            changes[name] = str(Path(value).expanduser().absolute())
    return Queued(
        id=job.id,
        kind=jobs.kind_of(job),
        label=jobs.label_of(job),
        held=held,
        spec=msgspec.to_builtins(msgspec.structs.replace(job, **changes)),
    )


def going_on(job: Job, run: Path) -> Job:
    """The job that goes on with what ``job`` has begun in the folder ``run``."""
    if isinstance(job, jobs.Train | jobs.Evaluate):
        return msgspec.structs.replace(job, out=str(run), resume=True)
    if isinstance(job, jobs.Sweep):
        return msgspec.structs.replace(job, out=str(run))
    return job


def left_over(journal: Path) -> list[Job]:
    """What an engine on this journal had yet to do, what it was doing first; what has come to its
    end since is left out."""
    last = last_queue(journal)
    if last is None:
        return []
    told = ([last.running] if last.running is not None else []) + last.waiting
    found: list[Job] = []
    for one in told:
        # What another version of sekft queued may mean nothing to this one.
        with contextlib.suppress(msgspec.ValidationError):
            job = msgspec.convert(one.spec, jobs.AnyJob)
            if isinstance(job, LASTING) and not _is_done(job):
                found.append(job)
    return found


def _is_done(job: jobs.Train | jobs.Sweep | jobs.Evaluate | jobs.MeasureLosses) -> bool:
    """Whether the run that the job would go on with has come to its end meanwhile."""
    if isinstance(job, jobs.MeasureLosses) or not job.out:
        return False
    try:
        return read_run(Path(job.out)).status == "done"
    except (BadInput, OSError):
        return False


def last_number(left: list[Job]) -> int:
    """The greatest number in the ids of these jobs: new ones count on from it."""
    ends = (job.id.rpartition("-")[2] for job in left)
    return max((int(end) for end in ends if end.isdigit()), default=0)


def last_queue(journal: Path) -> QueueChanged | None:
    """The queue as the journal last tells it; None where it never does."""
    mark = b'{"event":"QueueChanged"'
    try:
        with (
            journal.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            end = len(data)
            while (at := data.rfind(mark, 0, end)) >= 0:
                starts_line = at == 0 or data[at - 1 : at] == b"\n"
                stop = data.find(b"\n", at)
                if starts_line and stop >= 0:
                    event = decode_line(data[at:stop])
                    if isinstance(event, QueueChanged):
                        return event
                end = at
    except (OSError, ValueError):  # not there, or empty
        return None
    return None
