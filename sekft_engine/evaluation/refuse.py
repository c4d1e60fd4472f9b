"""What an eval is refused for before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sekft_engine.core.errors import BadInput
from sekft_engine.evaluation.resume import named_run, refuse_other_eval, refuse_other_models
from sekft_engine.model.family import family_of
from sekft_engine.operators.subjects import BASE
from sekft_engine.records.adapter_names import name_of_folder
from sekft_engine.records.adapters import adapter_digest
from sekft_engine.records.jobs import Evaluate
from sekft_engine.records.runs import adapter_folder, read_run, refuse_place, refuse_reopening
from sekft_engine.work.context import Context


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


def refuse_no_place(job: Evaluate, context: Context) -> None:
    """Raise :class:`SekftError` where there is no place for the run, or another process writes the
    one that it would go on with."""
    folder = named_run(job) if job.resume else None
    if folder is None:
        refuse_place(context.workspace.runs if context.workspace else None, job.out)
    else:
        refuse_reopening(read_run(folder))


def refuse_what_cannot_be_kept(job: Evaluate, context: Context, asked: Mapping[str, Any]) -> None:
    """Raise :class:`BadInput` where an adapter is not there, or another eval would be gone on with.

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
        return
    refuse_other_eval(folder, asked)
    before = read_run(folder).about
    if job.endpoints or "base" not in before:
        return
    refuse_other_eval(folder, {**asked, "base": str(context.find_base(job.base))})
    models = [(BASE, "")] if job.with_base else []
    for spec in job.adapters:
        there = folders.get(spec)
        name = spec if there is None else name_of_folder(there)
        models.append((name, attached[spec] if there is None else adapter_digest(there)))
    refuse_other_models(folder, before, models)
