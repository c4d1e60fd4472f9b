"""The job that measures token losses of a finished run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.data.reasons import as_shown
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import events, jobs
from sekft_engine.records.adapters import adapter_digest
from sekft_engine.records.runs import RunInfo, run_of
from sekft_engine.records.trainings import MeasureResult
from sekft_engine.render import Dropped, build_row
from sekft_engine.render.template.tokenizer import ChatTokenizer, load_tokenizer
from sekft_engine.sources.index.sessions import Sessions
from sekft_engine.training.token_losses.losses import (
    Part,
    Totals,
    read_token_losses,
    write_token_losses,
)
from sekft_engine.training.token_losses.measure import choose_measured, measure
from sekft_engine.training.token_losses.recorded import Recorded, recorded
from sekft_engine.training.trainer.data import TrainRow, load_data, train_row
from sekft_engine.work.context import Context, Stopped

#: Up to so many trajectories, rows are made again to find out what they were to a run.
MANY = 2000

Rows = list[tuple[TrainRow, Part]]


def run_measure(job: jobs.MeasureLosses, context: Context) -> MeasureResult:
    """Measure the losses that are not known yet. All checks are made before the base loads."""
    info = run_of(job.run, context.workspace.runs if context.workspace else None)
    source = recorded(info).overridden_by(base=job.base, data=job.data, hub=job.hub)
    if not info.adapter:
        raise BadInput("this run has no adapter", where=info.id, mend="name a run that has one")
    tokenizer = load_tokenizer(source.base, context.workspace, source.clock)
    chosen = _named(job, source, tokenizer) if job.ids else _chosen(job, source, tokenizer, context)
    losses = read_token_losses(info.path)
    known = []
    wanted: Rows = []
    for row, part in chosen:
        old = losses.get(row.id)
        if old is not None and old.of(row, tokenizer.render_digest):
            known.append(row.id)
        else:
            wanted.append((row, part))
    totals = Totals()
    if wanted:
        base = context.load_base(source.base, source.load_4bit, device=job.device)
        with _adapter_on(base, info, context) as (name, digest):
            totals = measure_rows(wanted, base, name, digest, info, context)
    means = totals.means()
    result = MeasureResult(
        run=info.id,
        path=info.path,
        known=_plain(known),
        measured=_plain(totals.ids),
        trajectories=means.trajectories,
        tokens=means.tokens,
        before=means.before,
        after=means.after,
        parts=totals.parts(),
    )
    if len(totals.ids) < len(wanted):
        left = len(wanted) - len(totals.ids)
        raise Stopped(f"stopped with {left} to go; what was measured is saved", result=result)
    return result


def measure_rows(
    rows: Rows, base: ResidentBase, name: str, adapter: str, info: RunInfo, context: Context
) -> Totals:
    """Measure ``rows`` with the adapter ``name``, and store each result with the run at once.

    If the job is asked to stop, it stops between two forward passes.
    """
    totals = Totals()
    label = "measuring token losses"
    context.progress(label, 0, len(rows))
    groups = measure(
        base,
        name,
        [row for row, _ in rows],
        adapter=adapter,
        parts={row.id: part for row, part in rows},
        leave=context.cancelled,
    )
    for group in groups:
        write_token_losses(Path(info.path), group)
        totals.add(group)
        context.progress(label, len(totals.ids), len(rows))
        context.wait_while_paused()
    if totals.ids:
        means = totals.means()
        context.emit(
            events.LossesMeasured(
                job="",
                run=info.id,
                path=info.path,
                trajectories=means.trajectories,
                tokens=means.tokens,
                before=means.before or 0.0,
                after=means.after or 0.0,
            )
        )
    return totals


def _chosen(
    job: jobs.MeasureLosses, source: Recorded, tokenizer: ChatTokenizer, context: Context
) -> Rows:
    recipe = msgspec.structs.replace(source.recipe, token_losses=job.n)
    data = load_data(
        source.data,
        source.hub,
        tokenizer,
        recipe,
        lambda done, total: context.progress("rendering", done, total),
    )
    chosen = choose_measured(data, recipe)
    if data.digest == source.data_digest:
        return chosen
    # Other data than the run had: which of it was trained on is unknown.
    return [(row, "") for row, _ in chosen]


def _named(job: jobs.MeasureLosses, source: Recorded, tokenizer: ChatTokenizer) -> Rows:
    sessions = Sessions(source.data, source.hub)
    rows = []
    for identity in job.ids:
        row = build_row(sessions.get(identity), tokenizer, max_length=source.recipe.max_length)
        if isinstance(row, Dropped):
            raise BadInput(
                f"cannot be measured, since it is dropped as {row.reason}: {as_shown(row.detail)}",
                where=row.id,
            )
        rows.append(train_row(row))
    parts = _parts(source, tokenizer, len(sessions))
    return [(row, parts.get(row.id, "")) for row in rows]


def _parts(source: Recorded, tokenizer: ChatTokenizer, count: int) -> dict[str, Part]:
    """Which part of the run's data each trajectory was in, by building the rows again.

    Empty (unknown) if there are too many, or if the data has changed.
    """
    if count > MANY:
        return {}
    try:
        data = load_data(source.data, source.hub, tokenizer, source.recipe)
    except BadInput:  # nothing to train on, so not the data of the run
        return {}
    if data.digest != source.data_digest:
        return {}
    parts: dict[str, Part] = {row.id: "heldout" for row in data.heldout}
    return parts | {row.id: "train" for row in data.train}


@contextlib.contextmanager
def _adapter_on(base: ResidentBase, info: RunInfo, context: Context) -> Iterator[tuple[str, str]]:
    """Attach the run's adapter; gives its name on the base, and its digest.

    It is dropped afterwards unless it was attached before.
    """
    digest = adapter_digest(Path(info.adapter))
    for name, there in base.adapters.items():
        if there == digest:
            yield name, digest
            return
    active = base.active
    name = base.free_name(f"{info.id} (to measure)")
    base.attach(name, info.adapter)
    if doubt := base.doubt(name):
        context.log(f"{info.adapter}: {doubt}", "warning")
    try:
        yield name, digest
    finally:
        base.drop(name)
        base.activate(active)


def _plain(ids: list[str]) -> list[str]:
    """The ids with lone surrogates replaced, so that they can be written as JSON."""
    return [identity.encode("utf-8", "backslashreplace").decode() for identity in ids]
