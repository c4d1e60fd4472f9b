"""The report of an eval as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sekft_engine.evaluate.endings import ENDINGS
from sekft_engine.evaluate.verdict import MEASURES
from sekft_engine.visible import visible


def tables(report: Mapping[str, Any], by: str = "archetype") -> str:
    """The rates, their breakdown, where episodes ended, and the comparisons."""
    subjects = report["subjects"]
    return "\n\n".join(
        part
        for part in (
            rates_table(subjects),
            breakdown_table(subjects, by),
            endings_table(subjects),
            "\n".join(map(pass_line, (one for one in subjects if "pass_at" in one))),
            "\n".join(map(comparison_line, report.get("comparisons", ()))),
        )
        if part
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
            cells.append(f"{facts['clean_termination']}/{facts['n']}" if facts else "-")
        rows.append([visible(name) or f"(no {by})", *cells])
    return _columns(rows)


def endings_table(subjects: Sequence[Mapping[str, Any]]) -> str:
    """How many episodes ended in which way, and what that means."""
    rows = [["how episodes ended", *(subject["name"] for subject in subjects), ""]]
    for name, meaning in ENDINGS.items():
        cells = [subject["endings"].get(name, 0) for subject in subjects]
        if any(cells):
            rows.append([name, *(str(cell or "-") for cell in cells), meaning])
    return _columns(rows, last_left=True)


def pass_line(subject: Mapping[str, Any]) -> str:
    """pass@k of a subject with several draws per world."""
    shares = subject["pass_at"]["clean_termination"]
    told = "  ".join(f"@{k} {share:.2f}" for k, share in shares.items())
    return f"{subject['name']}: clean termination in at least one of k draws: {told}"


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
