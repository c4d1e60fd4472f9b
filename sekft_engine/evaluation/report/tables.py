"""The report of an eval as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sekft_engine.core.text import visible
from sekft_engine.data.trajectory import OUTCOMES
from sekft_engine.episodes.endings import ENDINGS
from sekft_engine.episodes.verdict import KINDS, MEASURES
from sekft_engine.records.evals import (
    Counts,
    DecisionFacts,
    EvalResult,
    PairedComparison,
    SubjectFacts,
)

#: The measures of doable and of blocked worlds.
_DOABLE, _BLOCKED = (
    [name for name, kind in KINDS.items() if kind.terminal == terminal]
    for terminal in ("exit", "panic")
)


def tables(report: EvalResult, by: str = "archetype") -> str:
    """The rates, their breakdown, how episodes ended, and the comparisons."""
    subjects = report.subjects
    return "\n\n".join(
        part
        for part in (
            "\n".join(warning_lines(report)),
            partial_line(report),
            rates_table(subjects),
            kinds_table(subjects),
            breakdown_table(subjects, by),
            endings_table(subjects),
            confusion_table(subjects),
            "\n".join(map(pass_line, (subject for subject in subjects if subject.pass_at))),
            "\n".join(map(comparison_line, report.comparisons)),
            "\n".join(decision_lines(report)),
        )
        if part
    )


def warning_lines(report: EvalResult) -> list[str]:
    """The warnings, which belong before the rates."""
    return [f"WARNING: {warning.text}" for warning in report.warnings]


def partial_line(report: EvalResult) -> str:
    """How far a stopped eval came; empty for a complete one."""
    partial = report.partial
    if not partial:
        return ""
    return (
        f"PARTIAL: stopped after {partial.episodes} of {partial.of} episodes; "
        "short episodes end first, so these rates are not those of all"
    )


def rates_table(subjects: Sequence[SubjectFacts]) -> str:
    """Counts, and under them the 95 % Wilson intervals of the rates."""
    rows = [["", "n", *(measure.replace("_", " ") for measure in MEASURES)]]
    for subject in subjects:
        n = subject.n
        rows.append([subject.name, str(n), *(f"{subject.count(name)}/{n}" for name in MEASURES)])
        spans = (subject.intervals[name] for name in MEASURES)
        left_out = f"{subject.invalid} invalid" if subject.invalid else ""
        rows.append([left_out, "", *(f"[{_share(low)}, {_share(high)}]" for low, high in spans)])
    return _columns(rows) + "\n(95 % Wilson intervals)"


def kinds_table(subjects: Sequence[SubjectFacts]) -> str:
    """Doable and blocked worlds apart; empty where they were not told apart."""
    rows = [["", "doable", *map(_title, _DOABLE), "blocked", *map(_title, _BLOCKED)]]
    for subject in subjects:
        kinds = subject.kinds
        if not kinds:
            continue
        rows.append(
            [
                subject.name,
                str(kinds.doable),
                *(str(getattr(kinds, name)) for name in _DOABLE),
                str(kinds.blocked),
                *(str(getattr(kinds, name)) for name in _BLOCKED),
            ]
        )
        spans = {
            name: f"[{_share(low)}, {_share(high)}]"
            for name, (low, high) in kinds.intervals.items()
        }
        rows.append(
            ["", "", *map(spans.__getitem__, _DOABLE), "", *map(spans.__getitem__, _BLOCKED)]
        )
    return _columns(rows) if len(rows) > 1 else ""


def _title(measure: str) -> str:
    return measure.replace("_", " ")


def breakdown_table(subjects: Sequence[SubjectFacts], by: str = "archetype") -> str:
    """Clean terminations per subject, broken down by archetype, channel, depth, ..."""
    groups = [subject.groups(by) for subject in subjects]
    rows = [[f"clean termination by {by}", *(subject.name for subject in subjects)]]
    for name in sorted({name for group in groups for name in group}):
        cells = []
        for group in groups:
            facts = group.get(name)
            cells.append(group_cell(facts) if facts else "-")
        rows.append([visible(name) or f"(no {by})", *cells])
    return _columns(rows)


def group_cell(facts: Counts, measure: str = "clean_termination") -> str:
    """The count of one group in a breakdown, with its interval where it is known."""
    text = f"{facts.count(measure)}/{facts.n}"
    span = facts.intervals.get(measure)  # older evals have none
    return f"{text} [{_share(span[0])}, {_share(span[1])}]" if span else text


def endings_table(subjects: Sequence[SubjectFacts]) -> str:
    """The number of episodes by ending, with its meaning."""
    rows = [["how episodes ended", *(subject.name for subject in subjects), ""]]
    for name, meaning in ENDINGS.items():
        cells = [subject.endings.get(name, 0) for subject in subjects]
        if any(cells):
            rows.append([name, *(str(cell or "-") for cell in cells), meaning])
    return _columns(rows, last_left=True)


def confusion_table(subjects: Sequence[SubjectFacts]) -> str:
    """The expected terminals against the outcomes."""
    rows = [["expected, and how it ended", "", *OUTCOMES]]
    for subject in subjects:
        for expected, ended in subject.confusion.items():
            counts = (str(ended[outcome] or "-") for outcome in OUTCOMES)
            rows.append([subject.name, expected, *counts])
    return _columns(rows) if len(rows) > 1 else ""


def pass_line(subject: SubjectFacts) -> str:
    """pass@k of a subject with several draws per world."""
    shares = some_passes((subject.pass_at or {})["clean_termination"])
    listed = "  ".join(f"@{k} {share:.2f}" for k, share in shares)
    return f"{subject.name}: clean termination in at least one of k draws: {listed}"


def some_passes(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    """pass@k for the k that fit in a line: up to four, the powers of two, and the last."""
    last = len(shares)
    return [
        (k, share)
        for k, share in shares.items()
        if int(k) <= 4 or int(k) == last or int(k).bit_count() == 1
    ]


def decision_lines(report: EvalResult) -> list[str]:
    """What became of each comparison of an eval that stops when it is decided."""
    first = report.subjects[0].name if report.subjects else ""
    return [
        f"until decided, {name} against {first}: {decision_text(decision)}"
        for name, decision in (report.decisions or {}).items()
    ]


def decision_text(decision: DecisionFacts) -> str:
    """Where one such comparison stands, in words."""
    p = f"p = {decision.p:.2g} at any time"
    if decision.state == "decided":
        return f"decided: {decision.better} is better ({p})"
    if decision.state == "out of reach":
        return f"not decided, and no longer within reach of the worlds that were left ({p})"
    return f"not decided so far ({p})"


def comparison_line(pair: PairedComparison) -> str:
    """Who was better in how many worlds, and how sure that is."""
    test = "exact, paired" if pair.test == "exact" else "valid at any time"
    return (
        f"{pair.a} against {pair.b}, {pair.pairs} worlds: {_title(pair.measure)} more often by "
        f"{pair.a} in {pair.only_a}, by {pair.b} in {pair.only_b}, p = {pair.p:.3g} ({test})"
    )


def _share(value: float) -> str:
    return f"{value:.2f}"


def _columns(rows: Sequence[Sequence[str]], *, last_left: bool = False) -> str:
    """Aligned columns, to the right but for the first (and with ``last_left`` the last)."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = {0, len(widths) - 1} if last_left else {0}
    lines = [
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]])
