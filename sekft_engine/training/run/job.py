"""The train job: data in, a run with an adapter out."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from sekft_engine.bases import base_digest, refuse_unknown_targets
from sekft_engine.core.machine import usable_threads
from sekft_engine.core.text import count
from sekft_engine.data.clock import Clock
from sekft_engine.data.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.data.read_report import REJECTIONS, note_lines, passed_over_text
from sekft_engine.data.recipe import Recipe, recipe_from
from sekft_engine.model.device import device_of
from sekft_engine.model.family import expected_share
from sekft_engine.model.imports import import_torch, import_training
from sekft_engine.model.kernels.matmul import library
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import events, jobs
from sekft_engine.records.adapted import AdaptedShare
from sekft_engine.records.adapter_names import refuse_name
from sekft_engine.records.adapters import AdapterMeta
from sekft_engine.records.runs import (
    ADAPTER,
    BaseFacts,
    DataFacts,
    Run,
    RunFacts,
    RunInfo,
    WorldsFacts,
    refuse_place,
)
from sekft_engine.records.trainings import TrainResult
from sekft_engine.render import ChatTokenizer
from sekft_engine.training.run.checkpoint import Checkpoint, newest_checkpoint
from sekft_engine.training.run.early_stopping import refuse_blind_patience
from sekft_engine.training.run.follower import digests_of, lead, refuse_lone_shards
from sekft_engine.training.run.memory_plan import plan_memory
from sekft_engine.training.run.resume import (
    earlier_run,
    other_versions,
    recorded_clock,
    refuse_other,
)
from sekft_engine.training.run.session import Session
from sekft_engine.training.run.trials import Trials, choose_trials, refuse_undecodable
from sekft_engine.training.trainer.batches import plan_steps
from sekft_engine.training.trainer.data import Data, load_data
from sekft_engine.training.trainer.processes import joined
from sekft_engine.training.trainer.ranks import Ranks
from sekft_engine.work.context import Context

if TYPE_CHECKING:
    import torch


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A training run that passed all checks; nothing of it is written yet.

    Attributes:
        folder: the folder of the base.
        earlier: the run to continue; None = a new one.
        trials: the worlds in which the adapter is evaluated during training.
        meta: the adapter's metadata, without the name of the run.
        place: where the base computes.
    """

    job: jobs.Train
    recipe: Recipe
    ranks: Ranks
    folder: Path
    earlier: RunInfo | None
    trials: Trials | None
    tokenizer: ChatTokenizer
    data: Data
    meta: AdapterMeta
    facts: RunFacts
    place: Any  # a torch.device; structs resolve their annotations, and torch is imported late


def run_train(job: jobs.Train, context: Context) -> TrainResult:
    """Fine-tune an adapter. All checks are made before anything is written."""
    plan = _plan(job, context)
    recompute = _plan_memory(plan, context)
    run, checkpoint = _open_run(plan, context)
    _follow_me(plan, recompute)
    base, name = _new_adapter(plan, run, context)
    meta = msgspec.structs.replace(plan.meta, name=job.name or run.id, run=run.id)
    session = Session(
        context, run, base, name, plan.data, meta, plan.recipe, plan.trials, plan.ranks
    )
    session.trainer.recompute = recompute
    context.progress("the first step", 0)
    try:
        if plan.earlier is not None:
            session.resume(checkpoint)
        return session.train()
    finally:
        session.trainer.close()
        if not session.saved_step:  # an untrained adapter is of no use
            context.drop_adapter(name)


def _plan(job: jobs.Train, context: Context) -> Plan:
    """Read the data and make all checks that do not need the base's weights."""
    workspace, recipe = context.workspace, recipe_from(msgspec.to_builtins(job.recipe))
    refuse_blind_patience(recipe)
    ranks = joined()
    refuse_lone_shards(job, ranks)
    earlier = earlier_run(job)
    if earlier is None:
        refuse_place(workspace.runs if workspace else None, job.out)
    folder = context.find_base(job.base)
    refuse_unknown_targets(folder, recipe.targets)
    context.progress("importing torch", 0)
    import_torch()
    adapted = expected_share(folder, recipe.targets)
    _refuse_name(job, earlier, context)
    before = earlier.facts.base.load_4bit if earlier is not None else None
    asked = before if job.load_4bit is None else job.load_4bit
    job = msgspec.structs.replace(
        job,
        load_4bit=context.four_bits(str(folder), asked),
    )
    place = context.device(str(folder), job.device)  # a wrong one is refused before data is read
    trials = choose_trials(job, context)
    tokenizer = ChatTokenizer.load(folder, recorded_clock(earlier))
    for note in tokenizer.notes:
        context.log(note, "warning")
    context.progress("reading the data", 0)
    data = load_data(
        job.data,
        job.hub,
        tokenizer,
        recipe,
        lambda done, total: context.progress("rendering", done, total),
        strict=job.strict,
    )
    dialect = workspace.dialect if workspace else DEFAULT_DIALECT
    meta = AdapterMeta(
        name=job.name,
        base=folder.name,
        base_digest=base_digest(folder),
        render=tokenizer.digest.by_name,
        dialect=msgspec.to_builtins(dialect),
        recipe=msgspec.to_builtins(recipe),
        load_4bit=job.load_4bit,
        data={"from": job.data or job.hub, "sha256": data.digest, "kept": len(data.train)},
        versions=versions(place),
    )
    facts = _facts(
        meta, folder, data, job, dialect, trials, tokenizer.recorded_clock, adapted, place
    )
    if earlier is not None:
        refuse_other(earlier, facts, recipe, folder)
    return Plan(
        job=job,
        recipe=recipe,
        ranks=ranks,
        folder=folder,
        earlier=earlier,
        trials=trials,
        tokenizer=tokenizer,
        data=data,
        meta=meta,
        facts=facts,
        place=place,
    )


def _refuse_name(job: jobs.Train, earlier: RunInfo | None, context: Context) -> None:
    """Refuse a name that is none, or that another adapter has.

    The adapter that the run itself left on the base is replaced, and a run that an older version
    began keeps its name, whatever that is.
    """
    if not job.name:
        return
    if earlier is None or job.name != earlier.name:
        refuse_name(job.name, "--name")
    own = Path(job.out).expanduser() / ADAPTER if job.out else None
    if context.base is not None:
        context.base.refuse_name(job.name, own=own)


def _plan_memory(plan: Plan, context: Context) -> bool:
    """Load the base and refuse a run that does not fit into memory.

    Returns:
        whether to recompute activations in the backward pass.
    """
    job = plan.job
    if job.shard_base:  # all processes would have to load it before this is known
        return plan.recipe.recompute == "always"
    before = context.base  # the other processes keep a base from run to run as well
    if before is None:
        context.progress("loading the base", 0)
    base = context.load_base(str(plan.folder), job.load_4bit, device=job.device)
    refuse_undecodable(plan.trials, base)
    context.progress("preparing the adapter", 0)
    import_training()
    fit = plan_memory(
        base,
        plan.data.train,
        plan.recipe,
        plan.ranks,
        others_load=base is not before,
        report=lambda done, total: context.progress("measuring memory", done, total),
    )
    context.log(fit.summary)
    return fit.recompute


def _open_run(plan: Plan, context: Context) -> tuple[Run, Checkpoint | None]:
    """Create the run, or continue the earlier one after its newest checkpoint."""
    job, data = plan.job, plan.data
    checkpoint = None
    if plan.earlier is None:
        about = {"recipe": plan.meta.recipe, "data": job.data or job.hub}
        run = context.open_run("train", about=about, facts=plan.facts, out=job.out, name=job.name)
    else:
        if changed := other_versions(plan.earlier, plan.meta.versions):
            context.log(f"{changed}: it may not end in the same bits", "warning")
        checkpoint = newest_checkpoint(Path(plan.earlier.path))
        run = context.reopen_run(Path(plan.earlier.path))
    context.emit(
        events.RowsReady(
            job="",
            kept=len(data.train) + len(data.heldout),
            dropped=data.dropped,
            tokens=data.tokens,
            trained_tokens=data.trained_tokens,
            heldout=len(data.heldout),
            steps=len(plan_steps(len(data.train), plan.recipe)),
            notes=data.notes,
            passed_over=data.passed_over,
            untrained_commands=data.untrained_commands,
        )
    )
    for level, line in _about_reading(data):
        context.log(line, level)
    return run, checkpoint


def _about_reading(data: Data) -> Iterator[tuple[Literal["info", "warning"], str]]:
    """What is worth a line about how the data was read."""
    for reason, number in data.dropped.items():
        if reason in REJECTIONS:
            yield "warning", f"{number:,} dropped as {reason}; the first is {data.examples[reason]}"
    if passed_over := passed_over_text(data.passed_over):
        yield "warning", f"passed over in the folder: {passed_over}"
    for line in note_lines(data.notes):
        yield "info", line
    if data.untrained_commands:
        commands = count(data.untrained_commands, "command")
        yield "info", f"no loss on {commands}: marked in the data as not to be learned"


def _follow_me(plan: Plan, recompute: bool) -> None:
    """Send the other processes, if any, what is trained."""
    digests = digests_of(plan.meta.base_digest, plan.tokenizer, plan.data)
    lead(plan.ranks, plan.job, plan.folder, digests, recompute, plan.tokenizer.clock, plan.place)


def _new_adapter(plan: Plan, run: Run, context: Context) -> tuple[ResidentBase, str]:
    """The base with a fresh adapter on it, and the adapter's name there."""
    job = plan.job
    with plan.ranks.together():
        base = context.load_base(
            str(plan.folder), job.load_4bit, device=job.device, sharded=job.shard_base
        )
    base.set_clock(plan.tokenizer.clock)  # worlds are tried with the same prompts
    name = job.name or base.free_name(run.id, own=run.adapter)
    base.new_adapter(name, plan.recipe, folder=run.adapter)
    reach = base.reach(name)
    context.log(str(reach), "warning" if reach.experts else "info")
    if job.shard_base:
        plan.ranks.shard(base.model, plan.place)
        base.spread()
    return base, name


def versions(place: torch.device) -> dict[str, str]:
    """What can change the numbers of a run: library versions, the device, the matmul library, the
    threads."""
    threads = os.environ.get("OMP_NUM_THREADS") or str(usable_threads())
    found = {"python": platform.python_version(), "threads": threads, "products": library()}
    found["device"] = device_of(place).description
    for package in ("torch", "transformers", "peft", "tokenizers", "bitsandbytes"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _facts(
    meta: AdapterMeta,
    base: Path,
    data: Data,
    job: jobs.Train,
    dialect: Dialect,
    trials: Trials | None,
    clock: Clock | None,
    adapted: AdaptedShare,
    place: torch.device,
) -> RunFacts:
    """The record by which a resumed run is compared with the original."""
    return RunFacts(
        base=BaseFacts(
            path=str(base),
            digest=meta.base_digest,
            load_4bit=bool(job.load_4bit),
            device=str(place),
            adapted=adapted,
        ),
        data=DataFacts(
            source=job.data or job.hub,
            sha256=data.digest,
            kept=len(data.train),
            order=data.order,
            heldout=len(data.heldout),
            dropped=data.dropped,
            path="" if job.hub else str(Path(job.data).expanduser().absolute()),
            hub=job.hub,
            notes=data.notes,
            passed_over=data.passed_over,
            untrained_commands=data.untrained_commands,
        ),
        worlds=trials.facts if trials else WorldsFacts(),
        render=meta.render,
        clock=clock or msgspec.UNSET,
        dialect=dialect,
        versions=meta.versions,
    )
