"""Print what a run is expected to take."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from sekft_engine.core.text import visible
from sekft_engine.training.planning.cards import GIB, Card
from sekft_engine.training.planning.plan import Plan, Way


def print_plan(plan: Plan, console: Console | None = None) -> None:
    """The tables of ``sekft plan``: what a step holds, and what follows from it."""
    console = console or Console(highlight=False)
    console.print(
        f"{visible(plan.base)}: {plan.family}, {_count(plan.weights)} weights in {plan.precision}, "
        f"on {visible(plan.place)}",
        markup=False,
        soft_wrap=True,
    )
    rows = "" if plan.rows == "data" else " (each as long as --max-length allows)"
    console.print(
        f"heaviest pass: {plan.micro_batch} rows{rows}, {plan.tokens:,} tokens, "
        f"{plan.trained:,} of them trained\n",
        markup=False,
        soft_wrap=True,
    )
    console.print(_memory(plan))
    console.print()
    verdict = plan.eval
    eval_fits = "fits" if verdict.fits else "does not fit"
    lines = [
        f"training: {plan.advice}",
        *(f"longest session{_named(way, plan)}: {_session(way)}" for way in plan.ways),
        (
            f"an eval of {verdict.rows} episodes of {verdict.tokens:,} tokens at once {eval_fits}: "
            f"{_gib(verdict.total)} GiB, of which {_gib(verdict.kv_cache)} of keys and values"
        ),
        *_speeds(plan),
    ]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def print_cards(cards: Mapping[str, Card], console: Console | None = None) -> None:
    """The table of ``sekft plan --cards``."""
    table = Table(box=None, pad_edge=False)
    for name in ("--gpu", "card", "GiB", "TFLOP/s", "GB/s", "published in"):
        table.add_column(name, justify="right" if name in ("GiB", "TFLOP/s", "GB/s") else "left")
    for key, card in cards.items():
        peak = f"{card.peak_tflops:g}" + ("" if card.bf16 else " (fp32)")
        table.add_row(
            key, card.name, f"{card.memory / GIB:g}", peak, f"{card.bandwidth_gbs:g}", card.source
        )
    (console or Console(highlight=False)).print(table)


def _memory(plan: Plan) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("GiB")
    for way in plan.ways:
        table.add_column("recomputed" if way.recompute else "as it is", justify="right")
    fixed = (
        (f"base ({plan.precision})", plan.base_bytes),
        ("adapter (float32)", plan.adapter),
        ("optimiser, and the last good weights", plan.optimiser),
        ("gradients", plan.gradients),
    )
    for name, size in fixed:
        table.add_row(name, *(_gib(size) for _ in plan.ways))
    table.add_row("activations", *(_gib(way.activations) for way in plan.ways))
    table.add_row("logits at trained tokens, or", *(_gib(way.logits) for way in plan.ways))
    table.add_row("the backward pass of a layer", *(_gib(way.backward) for way in plan.ways))
    table.add_row("together, at the peak", *(_gib(way.total) for way in plan.ways), style="bold")
    table.add_row("free", *(_gib(plan.free) for _ in plan.ways))
    return table


def _named(way: Way, plan: Plan) -> str:
    if len(plan.ways) == 1:
        return ""
    return " with recomputation" if way.recompute else " without recomputation"


def _session(way: Way) -> str:
    if not way.longest_session:
        return "none"
    return f"{way.longest_session:,} tokens, alone in its pass"


def _speeds(plan: Plan) -> list[str]:
    lines = [
        f"speed{_named(way, plan)}, an estimate: {way.speed.rounded(' to ')} tokens per second"
        for way in plan.ways
        if way.speed is not None
    ]
    sources = {way.speed.source for way in plan.ways if way.speed is not None}
    if sources:
        lines.append(f"  from peak and bandwidth: {', '.join(sources)}")
    return lines


def _gib(size: float) -> str:
    return f"{size / GIB:.2f}"


def _count(number: int) -> str:
    return f"{number / 1e9:.2f} billion" if number >= 1e9 else f"{number / 1e6:.1f} million"
