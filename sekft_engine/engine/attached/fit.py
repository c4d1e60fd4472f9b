"""Whether the living engine of a workspace can do a job, and what the job would wait for there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeGuard

import msgspec

from sekft_engine import __version__
from sekft_engine.bases import base_digest, ready_base
from sekft_engine.core.errors import SekftError
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.remote import RemoteEngine
from sekft_engine.engine.attached.where import Where
from sekft_engine.records import jobs
from sekft_engine.records.events import Queued
from sekft_engine.records.jobs import Job
from sekft_engine.records.results import LoadResult
from sekft_engine.records.runs import run_of
from sekft_engine.work.residence import is_same_folder

#: Jobs that act on the resident base.
OnBase = (
    jobs.Train
    | jobs.Sweep
    | jobs.FindRate
    | jobs.Evaluate
    | jobs.MeasureLosses
    | jobs.Experiment
    | jobs.Improve
)


class Offer(msgspec.Struct, frozen=True):
    """The engine that does a job, and a line about that; None = the command does it by itself."""

    engine: RemoteEngine | None
    text: str = ""
    job: Job | None = None


class Held(msgspec.Struct, frozen=True):
    """The base that an engine has, or will have when it comes to the job. None = either."""

    base: str
    digest: str = ""
    quantised: bool | None = None
    device: str = ""


def offer(job: Job, workspace: Workspace | None) -> Offer:
    """Look for the living engine of the workspace, and whether it can do the job.

    Returns:
        The engine, not started yet, and the job for it; or none, with the reason where there is an
        engine that cannot.
    """
    if workspace is None or not needs_base(job) or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return Offer(None)
    where = Where(workspace)
    if not where.is_there():
        return Offer(None)
    try:
        engine = RemoteEngine(where).start()
    except SekftError as error:
        return Offer(None, f"the engine of this workspace is not used: {error.what}")
    said = engine.greeting
    queue = engine.queue()
    why = ""
    if (stuck := engine.silence) is not None:
        engine.close(0.0)
        return Offer(None, f"the engine of this workspace is not used: {stuck}")
    if said.engine != f"sekft {__version__}":
        why = f"is {said.engine}, and this is {__version__}"
    else:
        job, why = fitted(job, workspace, held_base(_facts(engine), queue.running, queue.waiting))
    if why:
        engine.close(0.0)
        return Offer(None, f"the engine of this workspace (pid {said.pid}) {why}: not used")
    return Offer(engine, _about(engine), job)


def needs_base(job: Job) -> TypeGuard[OnBase]:
    """Whether the job acts on a resident base, so that it may share one."""
    if isinstance(job, jobs.Evaluate):
        return not job.endpoints and (job.with_base or bool(job.adapters))
    return isinstance(job, OnBase)


def held_base(
    resident: LoadResult | None, running: Queued | None, waiting: list[Queued]
) -> Held | None:
    """What will be resident once all that waits is done; None = nothing yet. A job that is held
    does not count: nobody knows whether it will ever run."""
    held = None
    if resident is not None:
        device = resident.device
        held = Held(resident.base, resident.digest, resident.quantised, device)
    for entry in [*([running] if running is not None else []), *waiting]:
        if entry.held:
            continue
        try:
            job = msgspec.convert(entry.spec, jobs.AnyJob)
        except msgspec.ValidationError:
            continue
        if isinstance(job, jobs.Load) or (
            held is None and isinstance(job, OnBase) and needs_base(job) and job.base
        ):
            asked = None if isinstance(job, jobs.MeasureLosses) else job.load_4bit
            held = Held(job.base, quantised=asked, device=job.device)
    return held


def fitted(job: OnBase, workspace: Workspace, held: Held | None) -> tuple[OnBase, str]:
    """The job as it is said to an engine that has this base, and why the engine cannot do it.

    A job without a base means the workspace's, as ever; where that has none, the engine's.
    """
    if isinstance(job, jobs.Train | jobs.Sweep) and job.shard_base:
        return job, "holds a base that is not spread over processes"
    spec = job.base or _recorded_base(job, workspace) or workspace.base
    if not isinstance(job, jobs.MeasureLosses):
        job = msgspec.structs.replace(job, base=spec)
    if held is None or not spec:
        return job, ""
    try:
        folder, has = ready_base(spec, workspace), ready_base(held.base, workspace)
    except SekftError:
        return job, ""  # the engine refuses it as any other does
    name = Path(held.base).name
    if folder is None or has is None:
        same = spec == held.base
    else:
        same = is_same_folder(folder, has)
        if same and held.digest and base_digest(folder) != held.digest:
            return job, f"holds {name} as its files were before they changed"
    if not same:
        return job, f"holds {name}, and not {Path(spec).name}"
    asked = None if isinstance(job, jobs.MeasureLosses) else job.load_4bit
    if None not in (asked, held.quantised) and asked != held.quantised:
        return job, f"holds {name} {'in 4 bits' if held.quantised else 'in full precision'}"
    if not _same_device(job.device, held.device):
        return job, f"holds {name} on {held.device}, and not on {job.device}"
    return job, ""


def _recorded_base(job: OnBase, workspace: Workspace) -> str:
    """The base that the job takes from what it is about."""
    if not isinstance(job, jobs.MeasureLosses):
        return ""
    try:
        about = run_of(job.run, workspace.runs).about
    except (SekftError, OSError):
        return ""
    return str(about.get("base") or "")


def _same_device(asked: str, held: str) -> bool:
    if "auto" in (asked, held) or not asked or not held:
        return True
    return asked == held or {asked, held} == {"cuda", "cuda:0"}


def _facts(engine: RemoteEngine) -> LoadResult | None:
    resident = engine.status().resident
    return resident if isinstance(resident, LoadResult) and resident.base else None


def _about(engine: RemoteEngine) -> str:
    """Which engine does the job, and what the job waits for there."""
    pid, now = engine.greeting.pid, engine.greeting.busy
    status = engine.status()
    line = f"on the engine of this workspace (pid {pid})"
    waiting = [job for job in status.queued if not job.held]
    if status.running is None and not waiting:
        return line
    first = status.running.id if status.running is not None else waiting[0].id
    far = ""
    if now is not None and now.id == first:
        first = f"{first} ({now.label})" if now.label else first
        count = f" {now.done}" if now.done or now.total else ""
        far = f", {now.doing}{count}" + (f" of {now.total}" if now.total else "")
        far += ", which is paused" if now.paused else ""
    others = len(waiting) - (status.running is None)
    more = f" and {others} more" if others else ""
    return f"{line}; waits for {first}{far if now is not None and now.doing else ''}{more}"
