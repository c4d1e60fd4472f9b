"""The train job: data in, a run with an adapter out."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine import events, jobs
from sekft_engine.adapters import AdapterMeta
from sekft_engine.base import ResidentBase, render_digests
from sekft_engine.bases import base_digest, refuse_unknown_targets, resolve_base
from sekft_engine.bases.store import digest_memo
from sekft_engine.context import Context
from sekft_engine.dialect import DEFAULT_DIALECT
from sekft_engine.errors import BadInput
from sekft_engine.recipe import recipe_from
from sekft_engine.render import ChatTokenizer
from sekft_engine.runs import refuse_place
from sekft_engine.sft.batches import plan_steps
from sekft_engine.sft.behaviour import Trials, choose_trials, refuse_undecodable
from sekft_engine.sft.checkpoint import newest_checkpoint
from sekft_engine.sft.data import Data, load_data
from sekft_engine.sft.early import refuse_blind_patience
from sekft_engine.sft.follow import digests_of, lead, refuse_lone_shards
from sekft_engine.sft.probe import refuse_too_much
from sekft_engine.sft.processes import joined
from sekft_engine.sft.products import library
from sekft_engine.sft.resume import earlier_run, other_versions, refuse_other
from sekft_engine.sft.session import Session
from sekft_engine.threads import usable_threads


def run_train(job: jobs.Train, context: Context) -> dict[str, Any]:
    """Fine-tune an adapter; everything that can be refused is, before anything is written."""
    workspace, recipe = context.workspace, recipe_from(msgspec.to_builtins(job.recipe))
    refuse_blind_patience(recipe)
    ranks = joined()
    refuse_lone_shards(job, ranks)
    folder = resolve_base(job.base, workspace, report=context.progress)
    refuse_unknown_targets(folder, recipe.targets)
    _refuse_taken_name(job.name, context.base)
    earlier = earlier_run(job)
    if earlier is None:
        refuse_place(workspace.runs if workspace else None, job.out)
    trials = choose_trials(job, context)
    tokenizer = ChatTokenizer.load(folder)
    data = load_data(
        job.data,
        job.hub,
        tokenizer,
        recipe,
        lambda done, total: context.progress("rendering", done, total),
    )
    steps = plan_steps(len(data.train), recipe)
    about = {"recipe": msgspec.to_builtins(recipe), "data": job.data or job.hub}
    meta = AdapterMeta(
        name=job.name,
        base=folder.name,
        base_digest=base_digest(folder, digest_memo()),
        render=render_digests(tokenizer),
        dialect=msgspec.to_builtins(workspace.dialect if workspace else DEFAULT_DIALECT),
        recipe=about["recipe"],
        data={"from": job.data or job.hub, "sha256": data.digest, "kept": len(data.train)},
        versions=versions(),
    )
    facts = _facts(meta, str(folder), data, job, trials)
    if earlier is not None:
        refuse_other(earlier, facts, recipe)
    recompute = recipe.recompute == "always"
    if not job.shard_base:  # which would have to be loaded by all before it is known to fit
        before = context.base  # what this process keeps from run to run, the others keep too
        base = context.load_base(str(folder), job.load_4bit)
        refuse_undecodable(trials, base)
        fit = refuse_too_much(base, data.train, recipe, ranks, others_load=base is not before)
        context.log(fit.told)
        recompute = fit.recompute
    checkpoint = None
    if earlier is None:
        run = context.open_run("train", about=about, facts=facts, out=job.out, name=job.name)
    else:
        if changed := other_versions(earlier, meta.versions):
            context.log(f"{changed}: it may not end in the same bits", "warning")
        checkpoint = newest_checkpoint(Path(earlier.path))
        run = context.reopen_run(Path(earlier.path))
    meta = msgspec.structs.replace(meta, name=job.name or run.id, run=run.id)
    context.emit(
        events.RowsReady(
            job="",
            kept=len(data.train) + len(data.heldout),
            dropped=data.dropped,
            tokens=data.tokens,
            trained_tokens=data.trained_tokens,
            heldout=len(data.heldout),
            steps=len(steps),
        )
    )
    lead(ranks, job, folder, digests_of(meta.base_digest, tokenizer, data), recompute)
    with ranks.together():
        base = context.load_base(str(folder), job.load_4bit, sharded=job.shard_base)
    name = job.name or _free_name(run.id, base)
    base.new_adapter(name, recipe)
    if left_out := base.left_out(name):
        context.log(left_out, "warning")
    if job.shard_base:
        ranks.shard(base.model)
        base.spread()
    session = Session(context, run, base, name, data, meta, recipe, trials, ranks)
    session.trainer.recompute = recompute
    try:
        if earlier is not None:
            session.go_on(checkpoint)
        return session.train()
    finally:
        session.trainer.close()
        if not session.saved_step:  # weights that no one has trained are of no use to anyone
            base.drop(name)


def versions() -> dict[str, str]:
    """Versions of what decides a run's numbers, what multiplies, and in how many threads."""
    threads = os.environ.get("OMP_NUM_THREADS") or str(usable_threads())
    found = {"python": platform.python_version(), "threads": threads, "products": library()}
    for package in ("torch", "transformers", "peft", "tokenizers", "bitsandbytes"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _facts(
    meta: AdapterMeta, base: str, data: Data, job: jobs.Train, trials: Trials | None
) -> dict[str, Any]:
    """``data.path`` or ``data.hub`` is where the data can be found again from any folder."""
    path = "" if job.hub else str(Path(job.data).expanduser().absolute())
    return {
        "base": {"path": base, "digest": meta.base_digest, "load_4bit": job.load_4bit},
        "data": meta.data
        | {
            "order": data.order,
            "heldout": len(data.heldout),
            "dropped": data.dropped,
            "path": path,
            "hub": job.hub,
        },
        "worlds": trials.facts if trials else {},
        "render": meta.render,
        "dialect": meta.dialect,
        "versions": meta.versions,
    }


def _refuse_taken_name(name: str, base: ResidentBase | None) -> None:
    if name and base is not None and name in base.adapters:
        raise BadInput(
            "an adapter of this name is on the base", where=name, mend="drop it, or name another"
        )


def _free_name(wanted: str, base: ResidentBase) -> str:
    name = stem = wanted
    number = 2
    while name in base.adapters:
        name, number = f"{stem}-{number}", number + 1
    return name
