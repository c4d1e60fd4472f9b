"""The jobs about what is resident: prepare, load, attach, swap, drop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sekft_engine import events, jobs
from sekft_engine.base import ResidentBase
from sekft_engine.bases import base_digest, resolve_base
from sekft_engine.bases.store import digest_memo
from sekft_engine.context import Context
from sekft_engine.runs import ADAPTER
from sekft_engine.threads import compute_threads


def find_base(context: Context, spec: str) -> Path:
    """The folder of the base called ``spec``, converted first where it is a GGUF file."""
    return resolve_base(spec, context.workspace, report=context.progress)


def is_resident(
    resident: ResidentBase, folder: Path, load_4bit: bool, sharded: bool = False
) -> bool:
    """Whether what is loaded is what lies in ``folder`` now."""
    if (resident.path, resident.quantised, resident.sharded) != (folder, load_4bit, sharded):
        return False
    return resident.digest == base_digest(folder, digest_memo())


def load_base(
    context: Context, folder: Path, load_4bit: bool, sharded: bool = False
) -> ResidentBase:
    """Load the base in ``folder`` and tell so."""
    context.progress("loading the base", 0, 0, folder.name)
    loaded = ResidentBase.load(folder, load_4bit=load_4bit, sharded=sharded)
    context.emit(
        events.BaseLoaded(
            job="",
            base=str(folder),
            digest=loaded.digest,
            parameters=loaded.parameters,
            dtype="nf4" if load_4bit else str(loaded.model.dtype).removeprefix("torch."),
            device=str(loaded.device),
            seconds=round(loaded.seconds, 3),
            memory=loaded.memory(),
            quantised=load_4bit,
            threads=compute_threads(loaded.device),
        )
    )
    return loaded


def run_load(job: jobs.Load, context: Context) -> dict[str, Any]:
    return context.load_base(job.base, job.load_4bit).describe()


def run_prepare(job: jobs.Prepare, context: Context) -> dict[str, Any]:
    return {"base": job.base, "path": str(find_base(context, job.base))}


def run_attach(job: jobs.Attach, context: Context) -> dict[str, Any]:
    base = context.resident
    folder = Path(job.path).expanduser()
    name = job.name or (folder.parent.name if folder.name == ADAPTER else folder.name)
    digest = base.attach(name, folder)
    if doubt := base.doubt(name):
        context.log(f"{folder}: {doubt}", "warning")
    context.emit(events.AdapterAttached(job="", name=name, digest=digest, path=str(folder)))
    return {"name": name, "digest": digest}


def run_swap(job: jobs.Swap, context: Context) -> dict[str, Any]:
    base = context.resident
    base.activate(job.name or None)
    return {"active": base.active, "digest": base.adapters.get(job.name, "")}


def run_drop(job: jobs.Drop, context: Context) -> dict[str, Any]:
    base = context.resident
    base.drop(job.name)
    context.emit(events.AdapterDropped(job="", name=job.name))
    return {"adapters": base.adapters, "active": base.active}
