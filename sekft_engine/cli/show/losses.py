"""Print token losses for a person; nothing that a session printed reaches the terminal raw.

Each token is shaded by how likely the model held it; the numbers stand there too, so the meaning
is there without any colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sekft_engine.core.text import visible
from sekft_engine.render.rows.row import Row, Span
from sekft_engine.training.token_losses.report import Measured, Summary, Unshown

#: From this probability on, a token is shown so. Weight and inversion distinguish the shades
#: without colours.
SHADES = (
    (0.9, "green", "p ≥ 90%"),
    (0.5, "cyan", "p ≥ 50%"),
    (0.1, "bold yellow", "p ≥ 10%"),
    (0.0, "bold reverse red", "p < 10%"),
)
#: Tokens named under "learnt" and "still off", and the loss from which one is off: p = 60%.
NAMED, OFF = 4, 0.5
PARTS = {"heldout": "held out", "train": "trained on", "": "other data"}
PLACES = {"first": "first token", "inside": "rest of it", "end": "end of turn"}


def print_losses(
    title: str, measured: Iterable[Measured | Unshown], console: Console, *, tokens: bool = False
) -> None:
    """A block per trajectory, then the means over all of them; with ``tokens`` every token.

    Args:
        title: printed above the first trajectory.
        measured: what was measured, or why a trajectory was not.
        console: where to print.
        tokens: print every trained token with its losses.
    """
    summary, unshown = Summary(), []
    for item in measured:
        if isinstance(item, Unshown):
            unshown.append(item)
            continue
        if not summary.totals.ids:  # not before there is something to show
            console.print(Text(visible(title), style="bold"), soft_wrap=True)
            console.print(_legend(), soft_wrap=True)
        summary.add(item)
        console.print()
        _head(item, console)
        if tokens:
            _gloss(item, console)
            console.print()
        else:
            for span in item.row.spans:
                console.print(_turn(item, span, console.width), no_wrap=True, crop=True)
        _named(item, console)
    _summary(summary.to_json(), console)
    for left_out in unshown:
        console.print(Text(visible(f"not shown: {left_out.id}: {left_out.reason}")), soft_wrap=True)


def style_of(loss: float) -> str:
    """The shade of a token of this loss."""
    likely = math.exp(-loss)
    return next(style for least, style, _ in SHADES if likely >= least)


def _legend() -> Text:
    parts: list[Any] = ["nats per trained token, base → adapter"]
    for _, style, name in SHADES:
        parts += ["  ", (name, style)]
    return Text.assemble(*parts)


def _arrow(before: float, after: float) -> str:
    return f"{before:6.2f} → {after:5.2f}"


def _head(item: Measured, console: Console) -> None:
    losses = item.losses
    head = Text(visible(item.row.id), style="bold")
    what = f"{PARTS[losses.part]}, " if losses.part else ""
    head.append(f"  {what}{len(losses.positions)} trained tokens", style="not bold")
    numbers = _arrow(losses.mean_before, losses.mean_after)
    head.append(" " * max(2, console.width - head.cell_len - len(numbers)))
    head.append(numbers, style="bold")
    console.print(head, soft_wrap=True)


def _turn(item: Measured, span: Span, width: int) -> Text:
    """A command on one line, its tokens shaded as the adapter sees them, with its means."""
    numbers = _arrow(*item.means(span))
    room = max(8, width - len(numbers) - 11)
    line = Text.assemble((f"  turn {span.turn:<3} ", "dim"))
    command = Text()
    for place in range(span.start, span.end - 1):
        command.append(visible(item.row.piece(place)), style_of(float(item.after[place])))
    end = _token(item.row, span.end - 1)
    command.append(end, style_of(float(item.after[span.end - 1])))
    command.truncate(room, overflow="ellipsis", pad=True)
    return line.append_text(command).append(numbers)


def _named(item: Measured, console: Console) -> None:
    """The tokens that say most: what was learnt, what is still off, what got worse."""
    gain = item.before - item.after
    for label, by, holds in (
        ("learnt", "improved", gain > OFF),
        ("still off", "worst", item.after > OFF),
        ("worse now", "worsened", gain < -OFF),
    ):
        line = Text.assemble((f"  {label:<9}", "dim"))
        named: set[str] = set()
        for place in item.ranked(len(item.row), by=by):
            text = _token(item.row, place)
            if not holds[place] or len(named) == NAMED:
                break
            if text in named:  # the end of every turn looks the same: once is enough
                continue
            before, after = float(item.before[place]), float(item.after[place])
            turn = int(item.row.turn_of[place])
            entry = Text.assemble(
                "  ", (text, style_of(after)), f" {before:.1f}→{after:.1f}", (f" @{turn}", "dim")
            )
            if named and line.cell_len + entry.cell_len > console.width:
                break
            named.add(text)
            line.append_text(entry)
        if named:
            console.print(line, soft_wrap=True)


def _gloss(item: Measured, console: Console) -> None:
    """Every trained token with its losses beneath it, in as many lines as it takes."""
    row = item.row
    for span in row.spans:
        environment = row.turns[span.turn - 1].content if span.turn else ""
        before = _arrow(*item.means(span))
        head = Text(f"\nturn {span.turn}  ", style="bold").append(before.strip())
        console.print(head)
        if environment:
            console.print(_context(environment, console.width))
        _cells(item, span, console)


def _context(content: str, width: int) -> Text:
    """The end of an environment turn, on one line."""
    shown = visible(content.strip())
    room = max(8, width - 4)
    text = Text("  … " if cell_len(shown) > room else "    ", style="dim")
    while cell_len(shown) > room:
        shown = shown[max(1, (cell_len(shown) - room) // 2) :]
    return text.append(shown, style="dim")


def _cells(item: Measured, span: Span, console: Console) -> None:
    def fresh() -> list[Text]:
        return [Text.assemble((f"  {label:<9}", "dim")) for label in ("", "base", "adapter")]

    def flush() -> None:
        for line in lines:
            line.rstrip()
            console.print(line, soft_wrap=True)

    lines = fresh()
    empty = lines[0].cell_len

    for place in range(span.start, span.end):
        before, after = float(item.before[place]), float(item.after[place])
        shown = _token(item.row, place)
        width = max(cell_len(shown), 5)
        if empty < lines[0].cell_len > console.width - width:
            flush()
            lines = fresh()
        for line, text, loss in (
            (lines[0], shown, after),
            (lines[1], f"{before:.2f}", before),
            (lines[2], f"{after:.2f}", after),
        ):
            line.append(text, style_of(loss))
            line.append(" " * (width - cell_len(text) + 1))
    flush()


def _token(row: Row, place: int) -> str:
    """The token's text with visible spaces; a control token in its brackets."""
    piece = visible(row.piece(place)).replace(" ", "␣")
    if row.control[place]:
        return f"‹{piece}›"
    return piece or "·"


def _summary(facts: dict[str, Any], console: Console) -> None:
    """Means by part of the data and by place in the command; ``p`` is the probability that stands
    for the mean loss."""
    if not facts["trajectories"]:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("mean over")
    for name in ("tokens", "base", "adapter", "p base", "p adapter"):
        table.add_column(name, justify="right")
    parts = facts["parts"] if facts["trajectories"] > 1 else {}
    for name, sums in (
        *((f"{sums['trajectories']} {PARTS[part]}", sums) for part, sums in parts.items()),
        (f"all {facts['trajectories']}" if facts["trajectories"] > 1 else "this one", facts),
        *((f"  {PLACES[place]}", sums) for place, sums in facts["places"].items()),
    ):
        before, after = sums["before"], sums["after"]
        table.add_row(
            name,
            f"{sums['tokens']:,}",
            f"{before:.3f}",
            Text(f"{after:.3f}", style_of(after)),
            f"{math.exp(-before):.1%}",
            f"{math.exp(-after):.1%}",
        )
    console.print()
    console.print(table)
