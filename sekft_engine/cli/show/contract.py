"""Print a contract report: a line per prompt, then each cause once, then the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Console
from rich.text import Text

from sekft_engine.contract.causes import CAUSES
from sekft_engine.contract.check import ContractReport, RawTurns
from sekft_engine.contract.compare import PromptComparison, PromptDifference
from sekft_engine.core.cells import clip_left, ending
from sekft_engine.core.text import visible
from sekft_engine.data.reasons import as_shown

GOOD, BAD, FAINT = "green", "bold red", "dim"
_WIDEST = 100
#: Widths of the columns for which command, our tokens, their tokens; each opens with a gap.
_COLUMNS = 11, 8, 8
_STRENGTH = {
    "tokens": "every token is compared",
    "text": "the text is compared, not how it is cut into tokens",
    "counts": "only numbers of tokens are compared, which is weaker",
}


def print_report(report: ContractReport, console: Console) -> None:
    """The whole report, at most as wide as the console."""
    width = min(console.width, _WIDEST)
    for line in _lines(report, width):
        console.print(line, soft_wrap=True)


def _lines(report: ContractReport, width: int) -> Iterator[Text]:
    yield from _head(report, width)
    yield Text()
    yield from _table(report.sessions, width)
    for group in _by_cause(report.differing):
        yield Text()
        yield from _cause(group, len(report.sessions), width)
    yield Text()
    yield from _remarks(report, width)
    mark, style = ("✓", GOOD) if report.equal else ("✗", BAD)
    head, *more = _folded(report.summary(), width - 2)
    yield Text.assemble((f"{mark} {head}", style))
    for line in more:
        yield Text(f"  {line}", style)


def _head(report: ContractReport, width: int) -> Iterator[Text]:
    for name, value in (
        ("endpoint", report.endpoint),
        ("model", report.model or "(the server does not name one)"),
        ("route", f"{report.route}: {_STRENGTH[report.strength]}"),
    ):
        first, *more = _folded(visible(value), width - 10)
        yield Text.assemble((f"{name:<10}", FAINT), first)
        for line in more:
            yield Text(f"{'':<10}{line}")


def _table(verdicts: Sequence[PromptComparison], width: int) -> Iterator[Text]:
    cause = max((len(_title(verdict)) for verdict in verdicts), default=0)
    wanted = max(cell_len(visible(verdict.id)) for verdict in verdicts)
    room = width - 2 - sum(_COLUMNS) - (cause + 2 if cause else 0)
    column = max(7, min(wanted, room))
    place, ours, theirs = _COLUMNS
    yield Text(
        f"  {'session':<{column}}{'command':>{place}}{'ours':>{ours}}{'theirs':>{theirs}}", "bold"
    )
    shown = ""
    for verdict in verdicts:
        name = "" if verdict.id == shown else _middle(visible(verdict.id), column)
        shown = verdict.id
        count = "-" if verdict.theirs is None else f"{verdict.theirs:,}"
        line = Text("✓ ", GOOD) if verdict.equal else Text("✗ ", BAD)
        line.append(set_cell_size(name, column), "not bold default")
        which = f"{verdict.command} of {verdict.commands}"
        line.append(f"{which:>{place}}{verdict.ours:>{ours},}{count:>{theirs}}", "not bold default")
        if not verdict.equal:
            line.append(f"  {_title(verdict)}")
        yield line


def _by_cause(verdicts: Sequence[PromptComparison]) -> list[list[PromptComparison]]:
    groups: dict[str, list[PromptComparison]] = {}
    for verdict in verdicts:
        groups.setdefault(verdict.cause, []).append(verdict)
    return sorted(groups.values(), key=len, reverse=True)


def _cause(group: Sequence[PromptComparison], total: int, width: int) -> Iterator[Text]:
    """A cause: its name, the first place, what it means and the way out."""
    first = group[0]
    cause = CAUSES[first.cause]
    sure = "" if first.certain or first.said else "likely "
    yield Text.assemble(
        (f"{sure}{cause.title}", "bold"), (f"  in {len(group)} of {total} prompts", FAINT)
    )
    place = f"first in {visible(first.id)}, before command {first.command}"
    if first.difference is not None:
        place += f", at {first.difference.unit} {first.difference.index}"
    yield from _indented(place + ":" if first.difference or first.said else place, width)
    if first.said:
        yield from _indented(f"  {visible(first.said)}", width)
    if first.difference is not None:
        yield from _sides(first.difference, width)
    yield from _indented(cause.meaning, width)
    head, *more = _folded(cause.mend, width - 4)
    yield Text(f"  → {head}")
    for line in more:
        yield Text(f"    {line}")


def _sides(difference: PromptDifference, width: int) -> Iterator[Text]:
    for name, pieces, style in (
        ("both", difference.before, FAINT),
        ("ours", difference.ours, GOOD),
        ("theirs", difference.theirs, BAD),
    ):
        if name == "both" and not pieces:
            continue
        line = Text(f"    {name:<8}", FAINT)
        quoted = " ".join(f"'{piece}'" for piece in pieces) if pieces else "(ends here)"
        room = width - 12
        # What both have in common is worth most where it ends.
        line.append(clip_left(quoted, room) if name == "both" else _start(quoted, room), style)
        yield line


def _remarks(report: ContractReport, width: int) -> Iterator[Text]:
    remarks: list[str] = []
    if report.raw is not None:
        remarks.append(_raw(report.raw))
    if report.chat is not None:
        remarks.append(
            f"its chat route feeds as many tokens as {report.route} shows ({report.chat.fed})"
            if report.chat.equal
            else f"its chat route feeds {report.chat.fed} tokens where {report.route} shows "
            f"{report.chat.shown}: another prompt than the one compared"
        )
    if report.differing and all(verdict.id.startswith("built-in") for verdict in report.differing):
        remarks.append("all prompts of your data are equal; only built-in hard sessions differ")
    remarks += [
        f"not asked: {visible(item.id)}: {visible(as_shown(item.detail))}"
        for item in report.skipped
    ]
    remarks += report.note.split("; ") if report.note else []
    for text in remarks:
        head, *more = _folded(text, width - 2)
        yield Text(f"· {head}", FAINT)
        for line in more:
            yield Text(f"  {line}", FAINT)


def _raw(raw: RawTurns) -> str:
    what = f"turns as recorded, with a system turn for example ({raw.asked} tried)"
    if raw.refused:
        return f"{what}: {CAUSES[raw.cause].title} ({visible(raw.said)}); normalise them first"
    if raw.equal == raw.asked:
        return f"{what}: the server makes the same of them as training does"
    return f"{what}: the server makes something else of them; normalise them first"


def _title(verdict: PromptComparison) -> str:
    return CAUSES[verdict.cause].title if verdict.cause else ""


def _indented(text: str, width: int) -> Iterator[Text]:
    lead = "    " if text.startswith("  ") else "  "
    for line in _folded(text.strip(), width - len(lead)):
        yield Text(lead + line)


def _folded(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` cells, longer words cut."""
    width = max(20, width)
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= width:
            lines[-1] = joined
            continue
        pieces = chop_cells(word, width)
        lines = lines + pieces if lines[-1] else pieces
    return lines


def _start(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def _middle(text: str, width: int) -> str:
    """``text`` cut in its middle: ids of one kind often differ at their end."""
    if cell_len(text) <= width:
        return text
    half = (width - 1) // 2
    return set_cell_size(text, width - 1 - half).rstrip() + "…" + ending(text, half)
