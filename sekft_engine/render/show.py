"""Print rows and reports for a person; nothing that a session printed reaches the terminal raw."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sekft_engine.render.report import Inspect
from sekft_engine.render.row import Row
from sekft_engine.render.visible import visible
from sekft_engine.sources.dropped import Dropped

#: Trained spans are told apart by brackets, gutter and weight, and by hue only after that.
TRAINED, MASKED_STYLE, CONTROL = "bold green", "dim", "cyan"
_GUTTER = {True: ("┃ ", TRAINED), False: ("  ", MASKED_STYLE)}


def print_inspect(report: Inspect, console: Console | None = None) -> None:
    """The table of ``sekft train --inspect``."""
    console = console or Console(highlight=False)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    length = report.length
    for name, value in (
        ("trajectories", f"{report.trajectories:,}"),
        ("kept", f"{report.kept:,}"),
        ("dropped", f"{sum(report.dropped.values()):,}"),
        ("tokens", f"{report.tokens:,}"),
        ("trained tokens", f"{report.trained_tokens:,}"),
        ("trained share", f"{report.trained_share:.1%}"),
        ("length min", f"{length.min:,}"),
        ("length median", f"{length.median:,}"),
        ("length p95", f"{length.p95:,}"),
        ("length max", f"{length.max:,}"),
    ):
        table.add_row(name, value)
    console.print(table)
    _counts("kept by archetype", report.by_archetype, console)
    _counts("dropped by reason", report.dropped, console)


def _counts(title: str, counts: dict[str, int], console: Console) -> None:
    if not counts:
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(Text(visible(name) or "(none)"), f"{count:,}")
    console.print()
    console.print(title, style="bold")
    console.print(table)


def print_listing(
    rows: Iterable[Row | Dropped], skipped: Iterable[Dropped], console: Console
) -> None:
    """One line per trajectory, then those that were dropped with the reason."""
    dropped = list(skipped)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("trajectory", overflow="fold")
    table.add_column("archetype", overflow="fold")
    for name in ("turns", "tokens", "trained", "share"):
        table.add_column(name, justify="right")
    table.add_column("certificate")
    for row in rows:
        if isinstance(row, Dropped):
            dropped.append(row)
            continue
        table.add_row(
            Text(visible(row.id)),
            Text(visible(row.archetype)),
            f"{len(row.turns)}",
            f"{len(row):,}",
            f"{row.trained_tokens:,}",
            f"{row.trained_tokens / len(row):.0%}",
            "ok",
        )
    if table.row_count:
        console.print(table)
    if dropped:
        console.print(f"\ndropped: {len(dropped)}", style="bold")
        for item in dropped:
            console.print(Text(visible(f"  {item.id}  {item.reason}: {item.detail}")))


def print_row(row: Row, console: Console) -> None:
    """One trajectory: each line of the render with a gutter, trained spans in brackets."""
    head = Text(visible(row.id), style="bold")
    share = row.trained_tokens / len(row)
    head.append(
        f"  {len(row):,} tokens, {row.trained_tokens:,} trained ({share:.1%}), "
        f"{len(row.turns)} turns",
        style="not bold",
    )
    console.print(head)
    console.print(
        Text.assemble(
            ("┃ ", TRAINED), ("⟦trained⟧", TRAINED), "  ", ("masked", MASKED_STYLE), "  ",
            ("‹control token›", CONTROL), "\n",
        )
    )  # fmt: skip
    for line, trained in _lines(row):
        console.print(Text.assemble(_GUTTER[trained], line), soft_wrap=True)
    lines = ", ".join(
        f"{'✓' if holds else '✗'} {name}" for name, holds in row.certificate.lines.items()
    )
    console.print(Text(f"\ncertificate: {lines}"))
    if row.lost:
        console.print(f"{row.lost} characters of the environment have no token in this vocabulary")


def _lines(row: Row) -> list[tuple[Text, bool]]:
    """The render as (line, does it hold a trained token)."""
    edges = {span.start for span in row.spans}, {span.end - 1 for span in row.spans}
    trained = row.trained.tolist()
    lines, line, mark = [], Text(), False
    for token, piece in enumerate(row.pieces()):
        style = TRAINED if trained[token] else MASKED_STYLE
        mark = mark or trained[token]
        if token in edges[0]:
            line.append("⟦", TRAINED)
        if row.control[token]:
            line.append(f"‹{visible(piece)}›", f"{CONTROL} {'bold' if trained[token] else ''}")
        else:
            first, *more = visible(piece, keep_newlines=True).split("\n")
            line.append(first, style)
            for text in more:
                lines.append((line, mark))
                line, mark = Text(text, style), trained[token] and bool(text)
        if token in edges[1]:
            line.append("⟧", TRAINED)
    if line.plain:
        lines.append((line, mark))
    return lines
