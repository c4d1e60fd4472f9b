"""Taking up a run that was stopped, killed or failed, as the very run that it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from sekft_engine import jobs
from sekft_engine.errors import BadInput, DigestMismatch
from sekft_engine.recipe import Recipe, recipe_from
from sekft_engine.runs import MANIFEST, RunInfo, list_runs, read_run
from sekft_engine.workspace import Workspace


def completed(
    job: jobs.Train, workspace: Workspace | None, flags: dict[str, Any] | None = None
) -> jobs.Train:
    """``job`` with the run that it resumes, and what it leaves open taken from that run.

    Args:
        job: without ``out`` the newest unfinished training run of the workspace is meant.
        flags: recipe fields that were asked for by name; the others are the run's own.
    """
    info = _meant(job, workspace)
    if info is None:
        return job
    base, data = info.facts.get("base", {}), info.facts.get("data", {})
    recipe = recipe_from(info.about.get("recipe", {}) | (flags or {}), str(info.path))
    named = bool(job.data or job.hub)
    return msgspec.structs.replace(
        job,
        out=info.path,
        base=job.base or base.get("path", ""),
        scenarios=job.scenarios or info.facts.get("worlds", {}).get("path", ""),
        data=job.data if named else data.get("path", ""),
        hub=job.hub if named else data.get("hub", ""),
        load_4bit=job.load_4bit or bool(base.get("load_4bit")),
        recipe=recipe,
        name=job.name or info.name,
    )


def earlier_run(job: jobs.Train) -> RunInfo | None:
    """The run that ``job`` goes on with; None = there is nothing yet, so it begins.

    Raises:
        BadInput: what is there is no training run, or has come to its end.
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
            "this run has come to its end", where=str(folder), mend="start another without --resume"
        )
    return info


def refuse_other(info: RunInfo, facts: dict[str, Any], recipe: Recipe) -> None:
    """A run goes on with the base, data, render and recipe that it began with, or not at all.

    Raises:
        DigestMismatch: names everything that differs.
    """
    before = msgspec.to_builtins(recipe_from(info.about.get("recipe", {}), info.path))
    now = msgspec.to_builtins(recipe)
    differs = [
        f"{name} was {before[name]}, now {now[name]}" for name in now if before[name] != now[name]
    ]
    for what, part, keys in (
        ("base", "base", ("digest", "load_4bit")),
        ("data", "data", ("sha256", "order")),
        ("render", "render", ("tokenizer", "template", "normaliser")),
        ("set of worlds", "worlds", ("sha256",)),
    ):
        was, here = info.facts.get(part, {}), facts.get(part, {})
        changed = [key for key in keys if was.get(key) != here.get(key)]
        if changed:
            differs.append(f"the {what} is another one ({', '.join(changed)})")
    if differs:
        raise DigestMismatch(
            f"this run cannot go on: {'; '.join(differs)}",
            where=info.path,
            mend="give what it began with, or start a new run",
        )


def other_versions(info: RunInfo, versions: dict[str, str]) -> str:
    """What has another version than when the run began; '' = nothing."""
    was = info.facts.get("versions", {})
    return ", ".join(
        f"{name} was {was[name]}, now {version}"
        for name, version in versions.items()
        if was.get(name, version) != version
    )


def _meant(job: jobs.Train, workspace: Workspace | None) -> RunInfo | None:
    if job.out:
        folder = Path(job.out).expanduser().absolute()
        return read_run(folder) if (folder / MANIFEST).is_file() else None
    runs = list_runs(workspace.runs) if workspace is not None else ()
    unfinished = [one for one in runs if one.kind == "train" and one.status not in _AT_REST]
    if not unfinished:
        raise BadInput(
            "no training run to go on with",
            where=str(workspace.runs) if workspace else "--resume",
            mend="name its folder with --out",
        )
    return unfinished[-1]


#: Runs that need not or must not be taken up.
_AT_REST = ("done", "running")
