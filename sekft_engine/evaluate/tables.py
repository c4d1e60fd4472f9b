"""The report of an eval as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sekft_engine.evaluate.endings import ENDINGS
from sekft_engine.evaluate.report import OUTCOMES
from sekft_engine.evaluate.verdict import MEASURES
from sekft_engine.visible import visible


def tables(report: Mapping[str, Any], by: str = "archetype") -> str:
    """The rates, their breakdown, how episodes ended, and the comparisons."""
    subjects = report["subjects"]
    return "\n\n".join(
        part
        for part in (
            "\n".join(warning_lines(report)),
            partial_line(report),
            rates_table(subjects),
            breakdown_table(subjects, by),
            endings_table(subjects),
            confusion_table(subjects),
            "\n".join(map(pass_line, (one for one in subjects if "pass_at" in one))),
            "\n".join(map(comparison_line, report.get("comparisons", ()))),
            "\n".join(decision_lines(report)),
        )
        if part
    )


def warning_lines(report: Mapping[str, Any]) -> list[str]:
    """What to know before the rates are read."""
    return [f"WARNING: {one['text']}" for one in report.get("warnings", ())]


def partial_line(report: Mapping[str, Any]) -> str:
    """How far an eval came that was stopped; '' for one that is whole."""
    partial = report.get("partial")
    if not partial:
        return ""
    return (
        f"PARTIAL: stopped after {partial['episodes']} of {partial['of']} episodes; "
        "the short ones end first, so these rates are not those of all"
    )


def rates_table(subjects: Sequence[Mapping[str, Any]]) -> str:
    """Counts, and under them the 95 % Wilson intervals of the rates."""
    rows = [["", "n", *(measure.replace("_", " ") for measure in MEASURES)]]
    for subject in subjects:
        n = subject["n"]
        rows.append([subject["name"], str(n), *(f"{subject[name]}/{n}" for name in MEASURES)])
        spans = (subject["intervals"][name] for name in MEASURES)
        left_out = f"{subject['invalid']} invalid" if subject["invalid"] else ""
        rows.append([left_out, "", *(f"[{_share(low)}, {_share(high)}]" for low, high in spans)])
    return _columns(rows) + "\n(95 % Wilson intervals)"


def breakdown_table(subjects: Sequence[Mapping[str, Any]], by: str = "archetype") -> str:
    """Clean terminations per subject, broken down by archetype, channel, depth, ..."""
    groups = [one["by_archetype"] if by == "archetype" else one["by"][by] for one in subjects]
    rows = [[f"clean termination by {by}", *(subject["name"] for subject in subjects)]]
    for name in sorted({name for group in groups for name in group}):
        cells = []
        for group in groups:
            facts = group.get(name)
            cells.append(group_cell(facts) if facts else "-")
        rows.append([visible(name) or f"(no {by})", *cells])
    return _columns(rows)


def group_cell(facts: Mapping[str, Any], measure: str = "clean_termination") -> str:
    """The count of one group in a breakdown, with its interval where it is known."""
    text = f"{facts[measure]}/{facts['n']}"
    span = facts.get("intervals", {}).get(measure)  # older evals did not tell it
    return f"{text} [{_share(span[0])}, {_share(span[1])}]" if span else text


def endings_table(subjects: Sequence[Mapping[str, Any]]) -> str:
    """How many episodes ended in which way, and what that means."""
    rows = [["how episodes ended", *(subject["name"] for subject in subjects), ""]]
    for name, meaning in ENDINGS.items():
        cells = [subject["endings"].get(name, 0) for subject in subjects]
        if any(cells):
            rows.append([name, *(str(cell or "-") for cell in cells), meaning])
    return _columns(rows, last_left=True)


def confusion_table(subjects: Sequence[Mapping[str, Any]]) -> str:
    """How the scenarios should end, and how the episodes did."""
    rows = [["expected, and how it ended", "", *OUTCOMES]]
    for subject in subjects:
        for expected, ended in subject["confusion"].items():
            counts = (str(ended[outcome] or "-") for outcome in OUTCOMES)
            rows.append([subject["name"], expected, *counts])
    return _columns(rows) if len(rows) > 1 else ""


def pass_line(subject: Mapping[str, Any]) -> str:
    """pass@k of a subject with several draws per world."""
    shares = some_passes(subject["pass_at"]["clean_termination"])
    told = "  ".join(f"@{k} {share:.2f}" for k, share in shares)
    return f"{subject['name']}: clean termination in at least one of k draws: {told}"


def some_passes(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    """pass@k at as many k as fit into a line: all up to four, then the powers of two, and the
    last."""
    last = len(shares)
    return [
        (k, share)
        for k, share in shares.items()
        if int(k) <= 4 or int(k) == last or int(k).bit_count() == 1
    ]


def decision_lines(report: Mapping[str, Any]) -> list[str]:
    """What became of each comparison of an eval that stops when it is decided."""
    subjects = report["subjects"]
    first = subjects[0]["name"] if subjects else ""
    return [
        f"until decided, {name} against {first}: {decision_text(decision)}"
        for name, decision in report.get("decisions", {}).items()
    ]


def decision_text(decision: Mapping[str, Any]) -> str:
    """Where one such comparison stands, in words."""
    p = f"p = {decision['p']:.2g} at any time"
    if decision["state"] == "decided":
        return f"decided: {decision['better']} is better ({p})"
    if decision["state"] == "out of reach":
        return f"not decided, and no longer within reach of the worlds that were left ({p})"
    return f"not decided so far ({p})"


def comparison_line(pair: Mapping[str, Any]) -> str:
    """Who was better in how many worlds, and how sure that is."""
    test = "exact, paired" if pair["test"] == "exact" else "valid at any time"
    return (
        f"{pair['a']} against {pair['b']}, {pair['pairs']} worlds: clean termination more often by "
        f"{pair['a']} in {pair['only_a']}, by {pair['b']} in {pair['only_b']}, "
        f"p = {pair['p']:.3g} ({test})"
    )


def _share(value: float) -> str:
    return f"{value:.2f}"


def _columns(rows: Sequence[Sequence[str]], *, last_left: bool = False) -> str:
    """Aligned columns; all but the first (and the last if ``last_left``) to the right."""
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
