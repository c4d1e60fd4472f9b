"""Resume a run that was stopped, was killed or failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.bases import current_digest
from sekft_engine.core.errors import BadInput, DigestMismatch
from sekft_engine.data.clock import Clock
from sekft_engine.data.recipe import Recipe, recipe_from
from sekft_engine.data.workspace import Workspace
from sekft_engine.records import jobs
from sekft_engine.records.runs import (
    MANIFEST,
    RunFacts,
    RunInfo,
    WorldsFacts,
    list_runs,
    read_run,
    refuse_reopening,
)


def completed(
    job: jobs.Train, workspace: Workspace | None, flags: dict[str, Any] | None = None
) -> jobs.Train:
    """Complete ``job`` from the run that it resumes.

    Args:
        job: without ``out`` it resumes the newest unfinished training run of the workspace.
        flags: recipe fields that were set explicitly; the others come from the run.
    """
    info = _resumable(job, workspace)
    if info is None:
        return job
    base, data, worlds = info.facts.base, info.facts.data, info.facts.worlds
    recipe = recipe_from(info.about.get("recipe", {}) | (flags or {}), str(info.path))
    named = bool(job.data or job.hub)
    return msgspec.structs.replace(
        job,
        out=info.path,
        base=job.base or base.path,
        scenarios=job.scenarios or (worlds.path if worlds else ""),
        data=job.data if named else data.path,
        hub=job.hub if named else data.hub,
        load_4bit=base.load_4bit if job.load_4bit is None else job.load_4bit,
        recipe=recipe,
        name=job.name or info.name,
    )


def earlier_run(job: jobs.Train) -> RunInfo | None:
    """The run that ``job`` continues; None = there is none yet, so it starts one.

    Raises:
        BadInput: the folder holds another kind of run, or a finished one.
        Unavailable: another process is still writing it.
        OSError: nothing can be written into its folder.
    """
    if not job.resume or not job.out:
        return None
    folder = Path(job.out).expanduser().absolute()
    if not (folder / MANIFEST).is_file():
        return None
    info = read_run(folder)
    if info.kind != "train":
        raise BadInput(f"a run of {info.kind}, not of training", where=str(folder))
    if info.status == "done":
        raise BadInput(
            "this run is finished", where=str(folder), mend="start another without --resume"
        )
    refuse_reopening(info)  # before data and base are read, which takes long
    return info


def recorded_clock(info: RunInfo | None) -> Clock | None:
    """What the chat template was told is now when the run began; None = it is not recorded."""
    clock = info.facts.clock if info is not None else None
    return clock if isinstance(clock, Clock) else None


def refuse_other(info: RunInfo, facts: RunFacts, recipe: Recipe, folder: Path) -> None:
    """Refuse to continue a run with another base, data, render or recipe than it began with.

    Args:
        info: the run.
        facts: what it would continue with.
        recipe: the same.
        folder: the base's.

    Raises:
        DigestMismatch: something differs; the error names all of it.
    """
    before = msgspec.to_builtins(recipe_from(info.about.get("recipe", {}), info.path))
    now = msgspec.to_builtins(recipe)
    differs = [
        f"{name} was {before[name]}, now {now[name]}" for name in now if before[name] != now[name]
    ]
    was, here = _identity(info.facts), _identity(facts)
    digest = current_digest(info.facts.base.digest, folder, facts.base.digest)
    was["base"]["digest"] = digest
    for what in here:
        changed = [key for key in here[what] if was[what][key] != here[what][key]]
        if changed:
            differs.append(f"the {what} differs ({', '.join(changed)})")
    if not differs:
        return
    mend = "give what it began with, or start a new run"
    if facts.clock is not msgspec.UNSET and info.facts.clock is msgspec.UNSET:
        mend = (
            "its chat template prints the date, and an older version of sekft did not record "
            "which: start a new run"
        )
    raise DigestMismatch(
        f"this run cannot continue: {'; '.join(differs)}", where=info.path, mend=mend
    )


def _identity(facts: RunFacts) -> dict[str, dict[str, object]]:
    """What must stay the same for a run to continue, by its name in errors."""
    worlds = facts.worlds or WorldsFacts()
    return {
        "base": {"digest": facts.base.digest, "load_4bit": facts.base.load_4bit},
        "data": {"sha256": facts.data.sha256, "order": facts.data.order},
        "render": {name: facts.render.get(name) for name in _RENDER},
        "set of worlds": {"sha256": worlds.sha256},
    }


_RENDER = ("tokenizer", "template", "normaliser")


def other_versions(info: RunInfo, versions: dict[str, str]) -> str:
    """The versions that changed since the run began; '' = none."""
    was = info.facts.versions
    return ", ".join(
        f"{name} was {was[name]}, now {version}"
        for name, version in versions.items()
        if was.get(name, version) != version
    )


def _resumable(job: jobs.Train, workspace: Workspace | None) -> RunInfo | None:
    if job.out:
        folder = Path(job.out).expanduser().absolute()
        if (folder / MANIFEST).is_file():
            return read_run(folder)
        base = job.base or (workspace.base if workspace is not None else "")
        data = job.data or job.hub or (workspace is not None and workspace.trajectories.is_dir())
        if not base or not data:  # which only a run could tell
            raise BadInput(
                "no run to resume there",
                where=str(folder),
                mend="check --out, or leave --resume out and name --base and --data",
            )
        return None
    runs = list_runs(workspace.runs) if workspace is not None else ()
    unfinished = [run for run in runs if run.kind == "train" and run.status not in _FINISHED]
    if not unfinished:
        raise BadInput(
            "no training run to continue",
            where=str(workspace.runs) if workspace else "--resume",
            mend="name its folder with --out",
        )
    return unfinished[-1]


#: Statuses of runs that need not or must not be resumed.
_FINISHED = ("done", "running")
