"""Print rows and reports for a person; nothing that a session printed reaches the terminal raw."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sekft_engine.core.text import count, visible
from sekft_engine.data.dropped import Dropped
from sekft_engine.data.read_report import REJECTIONS, note_lines, passed_over_text
from sekft_engine.data.reasons import WAYS, as_shown
from sekft_engine.maskview.report import Inspect
from sekft_engine.render.rows.row import Row

#: Trained spans are marked by brackets, gutter and weight; colour only adds to that.
TRAINED, MASKED_STYLE, CONTROL, UNTRAINED = "bold green", "dim", "cyan", "yellow"
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
        ("untrained commands", f"{report.untrained_commands:,}"),
        ("length min", f"{length.min:,}"),
        ("length median", f"{length.median:,}"),
        ("length p95", f"{length.p95:,}"),
        ("length max", f"{length.max:,}"),
    ):
        table.add_row(name, value)
    console.print(table)
    _counts("kept by archetype", report.by_archetype, console)
    _counts("dropped by reason", report.dropped, console)
    for reason, example in report.examples.items():
        if reason in REJECTIONS:
            line = f"{reason}, the first: {example}"
            console.print(Text(visible(line)), soft_wrap=True)
    _print_ways(report.dropped, console)
    print_notes(report.notes, report.passed_over, console)
    print_remarks(report.remarks, console)
    for fact in (report.adapted, report.base_problem):
        if fact is not msgspec.UNSET:
            console.print()
            console.print(Text(visible(str(fact))), soft_wrap=True)


def _print_ways(reasons: Iterable[str], console: Console) -> None:
    """The way out for each reason, once."""
    known = [(reason, WAYS[reason]) for reason in reasons if reason in WAYS]
    if known:
        console.print("\nways out (docs/refusals.md)", style="bold")
    for reason, way in known:
        console.print(Text(f"  {reason}: {way}"), soft_wrap=True)


def print_notes(notes: Mapping[str, int], passed_over: Mapping[str, int], console: Console) -> None:
    """What was read in another form or is not used, and the files that are not read."""
    if notes:
        console.print()
        console.print("noted while reading", style="bold")
    for line in note_lines(dict(sorted(notes.items(), key=lambda item: -item[1]))):
        console.print(Text(f"  {visible(line)}"), soft_wrap=True)
    if passed_over:
        text = f"passed over in the folder: {visible(passed_over_text(passed_over))}"
        console.print(Text(text), soft_wrap=True)


def print_remarks(remarks: Iterable[str], console: Console) -> None:
    """What a person should know of the tokenizer and the template."""
    for remark in remarks:
        console.print(Text(f"\nnote: {visible(remark)}"), soft_wrap=True)


def _counts(title: str, counts: dict[str, int], console: Console) -> None:
    if not counts:
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for name, number in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(Text(visible(name) or "(none)"), f"{number:,}")
    console.print()
    console.print(title, style="bold")
    console.print(table)


def print_listing(
    rows: Iterable[Row | Dropped], skipped: Iterable[Dropped], console: Console
) -> None:
    """One line per trajectory as it comes, then those that were dropped with the reason, then the
    sums. Any number of rows passes in little memory."""
    listing = _Listing(console)
    for item in skipped:
        listing.drop(item)
    for row in rows:
        if isinstance(row, Dropped):
            listing.drop(row)
        else:
            listing.add(row)
    listing.end()


class _Listing:
    """Lines in columns whose widths the first rows decide; what is wider later shifts its line.

    Lines of dropped trajectories wait on the disk where they are many.
    """

    HEAD = ("trajectory", "archetype", "turns", "tokens", "trained", "share", "certificate")
    LEFT = (0, 1, 6)
    FIRST = 100

    def __init__(self, console: Console) -> None:
        self._console = console
        self._waiting: list[tuple[str, ...]] = []
        self._widths: tuple[int, ...] = ()
        self._dropped = tempfile.SpooledTemporaryFile(1 << 20, "w+", encoding="utf-8")  # noqa: SIM115
        self._reasons: Counter[str] = Counter()
        self._rows = self._tokens = self._trained = 0

    def add(self, row: Row) -> None:
        self._rows += 1
        self._tokens += len(row)
        self._trained += row.trained_tokens
        line = (
            visible(row.id),
            visible(row.archetype),
            f"{len(row.turns)}",
            f"{len(row):,}",
            f"{row.trained_tokens:,}",
            f"{row.trained_tokens / len(row):.0%}",
            "ok",
        )
        if self._widths:
            self._print(line)
        else:
            self._waiting.append(line)
            if len(self._waiting) == self.FIRST:
                self._flush()

    def drop(self, item: Dropped) -> None:
        self._reasons[item.reason] += 1
        text = f"  {item.id}  {item.reason}: {as_shown(item.detail)}"
        self._dropped.write(visible(text) + "\n")

    def end(self) -> None:
        if self._waiting:
            self._flush()
        with self._dropped as file:
            if self._reasons:
                self._console.print("\n" * bool(self._rows), end="")
                self._console.print(f"dropped: {self._reasons.total():,}", style="bold")
                file.seek(0)
                for line in file:
                    self._console.print(Text(line.rstrip("\n")), soft_wrap=True)
                _print_ways(self._reasons, self._console)
        if self._rows + self._reasons.total() < 2:
            return
        share = self._trained / max(1, self._tokens)
        reasons = ", ".join(f"{number:,} {name}" for name, number in self._reasons.most_common())
        trajectories = f"{self._rows:,} trajector" + ("y" if self._rows == 1 else "ies")
        self._console.print(
            f"\n{trajectories}, {count(self._tokens, 'token')}, {self._trained:,} trained "
            f"({share:.1%})" + (f"; dropped: {reasons}" if reasons else ""),
            soft_wrap=True,
        )

    def _flush(self) -> None:
        lines = [self.HEAD, *self._waiting]
        self._widths = tuple(max(cell_len(line[n]) for line in lines) for n in range(7))
        self._print(self.HEAD, "bold")
        for line in self._waiting:
            self._print(line)
        self._waiting = []

    def _print(self, line: tuple[str, ...], style: str = "") -> None:
        parts = []
        for n, (text, width) in enumerate(zip(line, self._widths, strict=True)):
            room = " " * max(0, width - cell_len(text))
            parts.append(text + room if n in self.LEFT else room + text)
        self._console.print(Text("  ".join(parts).rstrip(), style=style), soft_wrap=True)


def print_row(row: Row, console: Console) -> None:
    """One trajectory: each line of the render with a gutter, trained spans in brackets."""
    head = Text(visible(row.id), style="bold")
    share = row.trained_tokens / len(row)
    head.append(
        f"  {count(len(row), 'token')}, {row.trained_tokens:,} trained ({share:.1%}), "
        f"{count(len(row.turns), 'turn')}",
        style="not bold",
    )
    console.print(head)
    untrained = ("  ", ("⟪not to be trained⟫", UNTRAINED)) if row.untrained else ()
    console.print(
        Text.assemble(
            ("┃ ", TRAINED), ("⟦trained⟧", TRAINED), "  ", ("masked", MASKED_STYLE), "  ",
            ("‹control token›", CONTROL), *untrained, "\n",
        )
    )  # fmt: skip
    for line, trained in _lines(row):
        console.print(Text.assemble(_GUTTER[trained], line), soft_wrap=True)
    console.print("\ncertificate", style="bold")
    for name, holds in row.certificate.lines.items():
        console.print(
            Text.assemble(
                ("  ✓ ", "green") if holds else ("  ✗ ", "bold red"),
                f"{name.replace('_', ' '):<18}",
                (_CERTIFIED[name], "dim"),
            ),
            soft_wrap=True,
        )
    if row.lost:
        console.print(f"{row.lost} characters of the environment have no token in this vocabulary")


#: What each line of the certificate has checked.
_CERTIFIED = {
    "additive": "at every command, the prompt's tokens are how the whole row begins",
    "decodes": "the trained tokens give back exactly the commands",
    "terminal_whole": "the last command is there up to its end-of-turn token",
    "no_forged_control": "no control token comes from what was said",
    "single_bos": "the row does not open with two BOS tokens",
    "template_faithful": "the template neither trimmed nor rewrote what was said",
    "within_limit": "the row is no longer than the limit",
}


def _lines(row: Row) -> list[tuple[Text, bool]]:
    """The render as (line, does it hold a trained token)."""
    edges = {span.start for span in row.spans}, {span.end - 1 for span in row.spans}
    others = {span.start for span in row.untrained}, {span.end - 1 for span in row.untrained}
    trained = row.trained.tolist()
    lines, line, mark = [], Text(), False
    for token, piece in enumerate(row.pieces()):
        style = TRAINED if trained[token] else MASKED_STYLE
        mark = mark or trained[token]
        if token in edges[0]:
            line.append("⟦", TRAINED)
        if token in others[0]:
            line.append("⟪", UNTRAINED)
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
        if token in others[1]:
            line.append("⟫", UNTRAINED)
    if line.plain:
        lines.append((line, mark))
    return lines
