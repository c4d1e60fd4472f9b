"""What an eval says in the end: one document for programs, tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from sekft_engine.evaluate.episode import Finished
from sekft_engine.evaluate.stats import mcnemar, wilson
from sekft_engine.evaluate.verdict import MEASURES

Episodes = Mapping[str, Sequence[Finished]]


def document(episodes: Episodes, *, seconds: float, **more: Any) -> dict[str, Any]:
    """The JSON document of ``sekft eval``: subjects with counts and intervals, all episodes."""
    return {
        "subjects": [subject_facts(name, done) for name, done in episodes.items()],
        "comparisons": comparisons(episodes),
        "episodes": [
            _episode_facts(name, finished) for name, done in episodes.items() for finished in done
        ],
        "seconds": round(seconds, 2),
    } | more


def subject_facts(name: str, done: Sequence[Finished]) -> dict[str, Any]:
    """Counts over the episodes that count; ``n`` is their number, ``invalid`` that of the rest."""
    counted = [finished for finished in done if not finished.verdict.invalid]
    archetypes = sorted({finished.trajectory.archetype for finished in done})
    counts = _counts(counted)
    return {
        "name": name,
        "n": len(counted),
        "invalid": len(done) - len(counted),
        **counts,
        "intervals": {
            measure: [round(bound, 4) for bound in wilson(counts[measure], len(counted))]
            for measure in (*MEASURES, "clean")
        },
        "by_archetype": {
            archetype: _archetype_facts(
                [one for one in done if one.trajectory.archetype == archetype]
            )
            for archetype in archetypes
        },
        "outcomes": _tally(finished.verdict.outcome for finished in counted),
    }


def comparisons(episodes: Episodes) -> list[dict[str, Any]]:
    """Each pair of subjects on the worlds that count for both, by the exact McNemar test."""
    return [
        _compare(a, episodes[a], b, episodes[b])
        for a, b in combinations(episodes, 2)
        if episodes[a] and episodes[b]
    ]


def _compare(a: str, of_a: Sequence[Finished], b: str, of_b: Sequence[Finished]) -> dict[str, Any]:
    ended_a, ended_b = _clean_terminations(of_a), _clean_terminations(of_b)
    shared = ended_a.keys() & ended_b.keys()
    only_a = sum(ended_a[key] and not ended_b[key] for key in shared)
    only_b = sum(ended_b[key] and not ended_a[key] for key in shared)
    return {
        "a": a,
        "b": b,
        "measure": "clean_termination",
        "pairs": len(shared),
        "only_a": only_a,
        "only_b": only_b,
        "p": float(f"{mcnemar(only_a, only_b):.3g}"),
    }


def _clean_terminations(done: Sequence[Finished]) -> dict[str, bool]:
    return {
        finished.trajectory.scenario: finished.verdict.clean_termination
        for finished in done
        if not finished.verdict.invalid
    }


def _counts(counted: Sequence[Finished]) -> dict[str, int]:
    return {
        measure: sum(getattr(finished.verdict, measure) for finished in counted)
        for measure in (*MEASURES, "clean")
    }


def _archetype_facts(done: Sequence[Finished]) -> dict[str, int]:
    counted = [finished for finished in done if not finished.verdict.invalid]
    return {"n": len(counted), "invalid": len(done) - len(counted), **_counts(counted)}


def _tally(names: Iterable[str]) -> dict[str, int]:
    out: dict[str, int] = {}
    for name in names:
        out[name] = out.get(name, 0) + 1
    return out


def _episode_facts(subject: str, finished: Finished) -> dict[str, Any]:
    trajectory, verdict = finished.trajectory, finished.verdict
    return {
        "id": trajectory.id,
        "scenario": trajectory.scenario,
        "archetype": trajectory.archetype,
        "subject": subject,
        "steps": verdict.steps,
        "turns": len(trajectory.turns),
        "outcome": verdict.outcome,
        "expected": verdict.expected,
        "clean": verdict.clean,
        "operates": verdict.operates,
        "terminates": verdict.terminates,
        "verified": verdict.verified,
        "clean_termination": verdict.clean_termination,
        "invalid": verdict.invalid,
        "seconds": round(finished.seconds, 2),
    }


def tables(report: Mapping[str, Any]) -> str:
    """The rates table, the table per archetype and the comparison, as plain text."""
    return "\n\n".join(
        part
        for part in (
            rates_table(report["subjects"]),
            archetype_table(report["subjects"]),
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


def archetype_table(subjects: Sequence[Mapping[str, Any]]) -> str:
    """Clean terminations per archetype and subject."""
    archetypes = sorted({name for subject in subjects for name in subject["by_archetype"]})
    rows = [["clean termination", *(subject["name"] for subject in subjects)]]
    for archetype in archetypes:
        cells = []
        for subject in subjects:
            facts = subject["by_archetype"].get(archetype)
            cells.append(f"{facts['clean_termination']}/{facts['n']}" if facts else "-")
        rows.append([archetype or "(no archetype)", *cells])
    return _columns(rows)


def comparison_line(pair: Mapping[str, Any]) -> str:
    return (
        f"{pair['a']} against {pair['b']}, {pair['pairs']} worlds: clean termination only by "
        f"{pair['a']} {pair['only_a']}, only by {pair['b']} {pair['only_b']}, "
        f"p = {pair['p']:.3g} (exact McNemar)"
    )


def _share(value: float) -> str:
    return f"{value:.2f}"


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]])
