"""What an eval is refused for before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sekft_engine.bases import current_digest
from sekft_engine.core.errors import BadInput
from sekft_engine.model.family import family_of
from sekft_engine.operators.endpoints import identity
from sekft_engine.records.adapters import adapter_digest
from sekft_engine.records.jobs import Evaluate
from sekft_engine.records.runs import MANIFEST, adapter_folder, read_run, refuse_place
from sekft_engine.work.context import Context

#: Options that a run records only where they are not these: older runs had none of them.
DEFAULTS: Mapping[str, Any] = {
    "seeds": 1,
    "until_decided": False,
    "exact": False,
    "context": 0,
    "controls": [],
}

#: The adapters that could not act, by name with their digests, in what a run is about.
REFUSED = "refused"


def refuse_what_shows_nothing(job: Evaluate) -> None:
    """Raise :class:`BadInput` for an eval whose own words contradict each other."""
    if job.seeds > 1 and job.temperature <= 0:
        raise BadInput(
            "a greedy model does the same whatever the seed",
            where="--seeds",
            mend="give a --temperature, or leave --seeds out",
        )
    subjects = len(job.models) if job.endpoints else len(job.adapters) + job.with_base
    if not subjects and not job.endpoints and not job.controls:
        raise BadInput(
            "nobody to evaluate",
            where="--no-base",
            mend="name an adapter with --adapter, or a --control",
        )
    if job.until_decided and subjects < 2:
        raise BadInput(
            "one model alone decides nothing",
            where="--until-decided",
            mend="compare an adapter with the base, or two models",
        )
    if job.endpoints and job.context:
        raise BadInput(
            "how long sessions may be is up to the server",
            where="--context",
            mend="leave it out, and serve with the context that you want",
        )
    if job.endpoints and (job.adapters or job.exact):
        raise BadInput(
            "a server has its own adapters and its own arithmetic",
            where="--endpoint",
            mend="name its models with --model, and leave --adapter and --exact out",
        )


def needs_base(job: Evaluate) -> bool:
    """Whether somebody acts on a base here: not a server's model, and not a control."""
    return not job.endpoints and bool(job.with_base or job.adapters)


def refuse_unsuited_base(job: Evaluate, context: Context) -> None:
    """Raise :class:`BadInput` where the base cannot be loaded at all, judged by its files."""
    if needs_base(job) and context.base is None:  # a resident one has been loaded
        family_of(context.find_base(job.base))


def refuse_what_cannot_be_kept(job: Evaluate, context: Context, asked: Mapping[str, Any]) -> None:
    """Raise :class:`BadInput` where there is no place for the run, where it would go on with
    another eval, or where an adapter is not there.

    Args:
        asked: what is known of the eval without its base.
    """
    attached = context.base.adapters if context.base is not None else {}
    folders = {
        spec: adapter_folder(spec)
        for spec in (() if job.endpoints else job.adapters)
        if spec not in attached
    }
    folder = named_run(job) if job.resume else None
    if folder is None:
        refuse_place(context.workspace.runs if context.workspace else None, job.out)
        return
    refuse_other_eval(folder, asked)
    before = read_run(folder).about
    if job.endpoints or "base" not in before:
        return
    refuse_other_eval(folder, {**asked, "base": str(context.find_base(job.base))})
    digests = [attached.get(spec) or adapter_digest(folders[spec]) for spec in job.adapters]
    subjects = {**before.get("subjects", {}), **before.get(REFUSED, {})}
    known = [digest for digest in subjects.values() if digest]
    if sorted(digests) != sorted(known):
        raise _another("models", folder)


def named_run(job: Evaluate) -> Path | None:
    """The run in the folder that the job names; None where there is none."""
    folder = Path(job.out).expanduser().absolute() if job.out else None
    return folder if folder is not None and (folder / MANIFEST).is_file() else None


def refuse_other_eval(folder: Path, asked: Mapping[str, Any]) -> None:
    """Raise :class:`BadInput` where the run in ``folder`` was not the eval that is asked for."""
    before = {**DEFAULTS, **identity(read_run(folder).about)}
    if (digest := asked.get("base_digest")) and (recorded := before.get("base_digest")):
        before["base_digest"] = current_digest(recorded, Path(asked["base"]), digest)
    for name, value in {**DEFAULTS, **identity(asked)}.items():
        if before.get(name) != value:
            raise _another(name, folder)


def _another(fact: str, folder: Path) -> BadInput:
    differs = "differ" if fact.endswith("s") else "differs"
    return BadInput(
        f"this run was another eval: its {fact.replace('_', ' ')} {differs}",
        where=str(folder),
        mend="ask for the same eval, or choose another --out",
    )
