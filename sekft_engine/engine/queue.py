"""The job queue, and what can be recovered of it after the engine has ended.

Every change of the queue is an event, so it is in the workspace's journal. The last one there shows
what an engine that died had yet to do: these jobs are offered again, held, at the next start.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.records import jobs
from sekft_engine.records.events import QueueChanged, Queued
from sekft_engine.records.jobs import Job
from sekft_engine.records.jobs.paths import absolute
from sekft_engine.records.journal import decode_line
from sekft_engine.records.results import QueuedStatus
from sekft_engine.records.runs import read_run
from sekft_engine.work.residence import is_same_folder

#: Jobs worth doing later. The others concern what is resident at the moment.
LASTING = (
    jobs.Train,
    jobs.Evaluate,
    jobs.Sweep,
    jobs.MeasureLosses,
    jobs.Experiment,
    jobs.Improve,
)
#: Jobs that an engine which takes over is given anew. After a death they are not offered again: a
#: person sees what is missing.
CARRIED = (jobs.Setup, jobs.Prepare, jobs.Export, jobs.FindRate)
#: Jobs that train, so that a checkpoint may be asked of them.
TRAINING = (jobs.Train, jobs.Sweep, jobs.Experiment, jobs.Improve)


class JobQueue:
    """Jobs in the order in which they will run. Held jobs are passed over until they are released.

    Not thread-safe: the engine uses it under its lock.
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
        """Remove and return the next job that may run; None if there is none."""
        job = next((one for one in self._jobs if one.id not in self._held), None)
        return self.remove(job.id) if job is not None else None

    @property
    def ready(self) -> bool:
        """Whether :meth:`take` would return a job."""
        return any(job.id not in self._held for job in self._jobs)

    def remove(self, job_id: str) -> Job | None:
        job = next((job for job in self._jobs if job.id == job_id), None)
        if job is not None:
            self._jobs.remove(job)
            self._held.discard(job_id)
        return job

    def take_held(self, run: Path) -> list[Job]:
        """Take out the held jobs that would resume the run in the folder ``run``."""
        taken = [job for job in self._jobs if job.id in self._held and _resumes(job, run)]
        for job in taken:
            self.remove(job.id)
        return taken

    def clear(self) -> list[Job]:
        """Take all of them out, held ones too."""
        taken, self._jobs = self._jobs, []
        self._held.clear()
        return taken

    def move(self, job_id: str, by: int) -> bool:
        """Let the job run ``by`` places later, or earlier where it is negative."""
        at = next((place for place, job in enumerate(self._jobs) if job.id == job_id), None)
        if at is None:
            return False
        to = max(0, min(at + by, len(self._jobs) - 1))
        self._jobs.insert(to, self._jobs.pop(at))
        return to != at

    def hold(self, job_id: str, *, held: bool) -> bool:
        """Hold or release the job; False where it does not wait."""
        if all(job.id != job_id for job in self._jobs):
            return False
        (self._held.add if held else self._held.discard)(job_id)
        return True

    def entries(self) -> list[Queued]:
        """The jobs as events show them, in order."""
        return [queue_entry(job, held=job.id in self._held) for job in self._jobs]

    def statuses(self) -> list[QueuedStatus]:
        """The jobs as the engine's status shows them, in order."""
        return [
            QueuedStatus(
                id=job.id,
                kind=jobs.kind_of(job),
                label=jobs.label_of(job),
                held=job.id in self._held,
            )
            for job in self._jobs
        ]


def _resumes(job: Job, run: Path) -> bool:
    """Whether the job names the run in the folder ``run`` as its own."""
    out = getattr(job, "out", "")
    resumes = bool(getattr(job, "resume", True))  # a sweep always does
    named = isinstance(job, LASTING) and resumes and bool(out)
    return named and is_same_folder(Path(out), run)


def queue_entry(job: Job, *, held: bool = False, again: Job | None = None) -> Queued:
    """The job as events show it, ready to be submitted again from any folder.

    Args:
        again: what would be submitted in its place; None = the job itself.
    """
    return Queued(
        id=job.id,
        kind=jobs.kind_of(job),
        label=jobs.label_of(job),
        held=held,
        spec=msgspec.to_builtins(absolute(again or job)),
        resumes=bool(getattr(job, "resume", False)),
    )


def unfinished_jobs(journal: Path) -> list[Job]:
    """The jobs that an engine with this journal did not finish, the one that was running first.
    Those whose run has been finished since are left out."""
    last = last_queue(journal)
    if last is None:
        return []
    entries = ([last.running] if last.running is not None else []) + last.waiting
    found: list[Job] = []
    for entry in entries:
        # What another version of sekft queued may mean nothing to this one.
        with contextlib.suppress(msgspec.ValidationError):
            job = msgspec.convert(entry.spec, jobs.AnyJob)
            if isinstance(job, LASTING) and not _is_done(job):
                found.append(job)
    return found


def _is_done(job: Job) -> bool:
    """Whether the run that the job would resume is done."""
    out = getattr(job, "out", "")
    if not out:
        return False
    try:
        return read_run(Path(out)).status == "done"
    except (BadInput, OSError):
        return False


def last_number(unfinished: list[Job]) -> int:
    """The greatest number in the ids of these jobs: new ones count on from it."""
    ends = (job.id.rpartition("-")[2] for job in unfinished)
    return max((int(end) for end in ends if end.isdigit()), default=0)


def last_queue(journal: Path) -> QueueChanged | None:
    """The last queue in the journal; None if there is none."""
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
