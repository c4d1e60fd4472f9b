"""The job that measures token losses of a run, whenever someone wants to see them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine import events, jobs
from sekft_engine.adapters import adapter_digest
from sekft_engine.base import ResidentBase
from sekft_engine.context import Context, Stopped
from sekft_engine.errors import BadInput
from sekft_engine.render import Dropped, build_row
from sekft_engine.render.load import load_tokenizer
from sekft_engine.render.tokenizer import ChatTokenizer
from sekft_engine.runs import RunInfo, run_of
from sekft_engine.sft.data import TrainRow, load_data, train_row
from sekft_engine.sft.measure import choose_measured, measure
from sekft_engine.sft.recorded import Recorded, recorded
from sekft_engine.sft.token_loss import (
    Part,
    Totals,
    read_token_losses,
    write_token_losses,
)
from sekft_engine.sources.sessions import Sessions

#: Rows are made again to tell what they were to a run up to so many.
MANY = 2000

Rows = list[tuple[TrainRow, Part]]


def run_measure(job: jobs.MeasureLosses, context: Context) -> dict[str, Any]:
    """Measure what is not known yet; everything that can be refused is, before the base loads."""
    info = run_of(job.run, context.workspace.runs if context.workspace else None)
    given = recorded(info).with_given(base=job.base, data=job.data, hub=job.hub)
    if not info.adapter:
        raise BadInput("this run has no adapter", where=info.id, mend="name one that has")
    tokenizer = load_tokenizer(given.base, context.workspace)
    chosen = _named(job, given, tokenizer) if job.ids else _chosen(job, given, tokenizer, context)
    losses = read_token_losses(info.path)
    known = []
    wanted: Rows = []
    for row, part in chosen:
        old = losses.get(row.id)
        if old is not None and old.of(row, tokenizer.render_digest):
            known.append(row.id)
        else:
            wanted.append((row, part))
    result: dict[str, Any] = {"run": info.id, "path": info.path, "known": _plain(known)}
    totals = Totals()
    if wanted:
        base = context.load_base(given.base, given.load_4bit)
        with _adapter_on(base, info, context) as (name, digest):
            totals = measure_rows(wanted, base, name, digest, info, context)
    result |= {"measured": _plain(totals.ids), **totals.to_json()}
    if len(totals.ids) < len(wanted):
        left = len(wanted) - len(totals.ids)
        raise Stopped(f"stopped with {left} to go; what was measured is kept", result=result)
    return result


def measure_rows(
    rows: Rows, base: ResidentBase, name: str, adapter: str, info: RunInfo, context: Context
) -> Totals:
    """Measure ``rows`` under the adapter ``name`` and keep each result with the run when it
    comes. A job that is asked to stop stops between two forward passes."""
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
        facts = totals.to_json()
        facts.pop("parts")
        context.emit(events.LossesMeasured(job="", run=info.id, path=info.path, **facts))
    return totals


def _chosen(
    job: jobs.MeasureLosses, given: Recorded, tokenizer: ChatTokenizer, context: Context
) -> Rows:
    recipe = msgspec.structs.replace(given.recipe, token_losses=job.n)
    data = load_data(
        given.data,
        given.hub,
        tokenizer,
        recipe,
        lambda done, total: context.progress("rendering", done, total),
    )
    chosen = choose_measured(data, recipe)
    if data.digest == given.data_digest:
        return chosen
    # Other data than the run had: nobody knows what it was trained on.
    return [(row, "") for row, _ in chosen]


def _named(job: jobs.MeasureLosses, given: Recorded, tokenizer: ChatTokenizer) -> Rows:
    sessions = Sessions(given.data, given.hub)
    rows = []
    for identity in job.ids:
        row = build_row(sessions.get(identity), tokenizer, max_length=given.recipe.max_length)
        if isinstance(row, Dropped):
            raise BadInput(
                f"cannot be measured, since it is dropped as {row.reason}: {row.detail}",
                where=row.id,
            )
        rows.append(train_row(row))
    parts = _parts(given, tokenizer, len(sessions))
    return [(row, parts.get(row.id, "")) for row in rows]


def _parts(given: Recorded, tokenizer: ChatTokenizer, count: int) -> dict[str, Part]:
    """What each trajectory was to the run: found out by making its rows again, so it stays
    unknown where they are many or not what they were."""
    if count > MANY:
        return {}
    try:
        data = load_data(given.data, given.hub, tokenizer, given.recipe)
    except BadInput:  # nothing to train on: not what the run had
        return {}
    if data.digest != given.data_digest:
        return {}
    parts: dict[str, Part] = {row.id: "heldout" for row in data.heldout}
    return parts | {row.id: "train" for row in data.train}


@contextlib.contextmanager
def _adapter_on(base: ResidentBase, info: RunInfo, context: Context) -> Iterator[tuple[str, str]]:
    """The name on the base, and the digest, of the run's adapter; one that was not there before
    is gone afterwards."""
    digest = adapter_digest(Path(info.adapter))
    for name, there in base.adapters.items():
        if there == digest:
            yield name, digest
            return
    active = base.active
    name = _free(f"{info.id} (to measure)", base.adapters)
    base.attach(name, info.adapter)
    if doubt := base.doubt(name):
        context.log(f"{info.adapter}: {doubt}", "warning")
    try:
        yield name, digest
    finally:
        base.drop(name)
        base.activate(active)


def _plain(ids: list[str]) -> list[str]:
    """Ids that any writer of JSON takes."""
    return [identity.encode("utf-8", "backslashreplace").decode() for identity in ids]


def _free(wanted: str, taken: Iterable[str]) -> str:
    while wanted in taken:
        wanted += "+"
    return wanted
