"""The jobs about the resident base: prepare, load, attach, swap, drop, rename."""

from __future__ import annotations

from pathlib import Path

from sekft_engine.records import events, jobs
from sekft_engine.records.adapter_names import name_of_folder, refuse_name
from sekft_engine.records.results import (
    AttachResult,
    DropResult,
    LoadResult,
    PrepareResult,
    RenameResult,
    SwapResult,
)
from sekft_engine.work.context import Context


def run_load(job: jobs.Load, context: Context) -> LoadResult:
    base = context.load_base(job.base, job.load_4bit, device=job.device, replace=True)
    return base.describe()


def run_prepare(job: jobs.Prepare, context: Context) -> PrepareResult:
    return PrepareResult(base=job.base, path=str(context.find_base(job.base)))


def run_attach(job: jobs.Attach, context: Context) -> AttachResult:
    base = context.resident
    folder = Path(job.path).expanduser()
    if job.name:
        refuse_name(job.name, "name")
    name = job.name or name_of_folder(folder)
    digest = base.attach(name, folder)
    if doubt := base.doubt(name):
        context.log(f"{folder}: {doubt}", "warning")
    context.emit(events.AdapterAttached(job="", name=name, digest=digest, path=str(folder)))
    return AttachResult(name=name, digest=digest)


def run_swap(job: jobs.Swap, context: Context) -> SwapResult:
    base = context.resident
    base.activate(job.name or None)
    return SwapResult(active=base.active, digest=base.adapters.get(job.name, ""))


def run_drop(job: jobs.Drop, context: Context) -> DropResult:
    base = context.resident
    context.drop_adapter(job.name)
    return DropResult(adapters=base.adapters, active=base.active)


def run_rename(job: jobs.Rename, context: Context) -> RenameResult:
    base = context.resident
    refuse_name(job.to, "to")
    base.rename(job.name, job.to)
    digest, active = base.adapters[job.to], base.active == job.to
    context.emit(events.AdapterDropped(job="", name=job.name))
    folder = str(base.folder(job.to) or "")
    context.emit(
        events.AdapterAttached(job="", name=job.to, digest=digest, path=folder, active=active)
    )
    return RenameResult(adapters=base.adapters, active=base.active)
