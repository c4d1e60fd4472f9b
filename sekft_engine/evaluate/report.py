"""What an eval found, as the JSON document of ``sekft eval``: counts, intervals, comparisons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from sekft_engine.evaluate.endings import ENDINGS, ending_of
from sekft_engine.evaluate.episode import Finished, draw_of
from sekft_engine.evaluate.paired import evidence, sign_flip
from sekft_engine.evaluate.stats import pass_at, wilson_clustered
from sekft_engine.evaluate.verdict import MEASURES

Episodes = Mapping[str, Sequence[Finished]]

#: What rates are broken down by, beside the archetype.
BREAKDOWNS: Mapping[str, Callable[[Finished], str]] = {
    "channel": lambda one: one.trajectory.announcement,
    "provider": lambda one: one.trajectory.provider,
    "depth": lambda one: str(one.trajectory.meta.get("doc_depth", "")),
    "difficulty": lambda one: str(one.trajectory.meta.get("difficulty", "")),
    "terminal": lambda one: one.verdict.expected,
}
_OUTCOMES = ("exit", "panic", "cap", "error")


def document(
    episodes: Episodes, *, seconds: float, sequential: bool = False, **more: Any
) -> dict[str, Any]:
    """The JSON document of ``sekft eval``: subjects with counts and intervals, all episodes.

    Args:
        episodes: the finished episodes of each subject.
        seconds: how long the eval took.
        sequential: the eval stopped when it was decided, so that p must hold at any time.
    """
    return {
        "subjects": [subject_facts(name, done) for name, done in episodes.items()],
        "comparisons": comparisons(episodes, sequential=sequential),
        "episodes": [
            episode_facts(name, finished) for name, done in episodes.items() for finished in done
        ],
        "seconds": round(seconds, 2),
    } | more


def subject_facts(name: str, done: Sequence[Finished]) -> dict[str, Any]:
    """Counts over the episodes that count; ``n`` is their number, ``invalid`` that of the rest.

    Intervals know that several draws in one world are no independent trials.
    """
    counted = [finished for finished in done if not finished.verdict.invalid]
    counts = _counts(counted)
    draws = Counter(finished.trajectory.scenario for finished in counted)
    won = {measure: _won(counted, measure) for measure in (*MEASURES, "clean")}
    facts: dict[str, Any] = {
        "name": name,
        "n": len(counted),
        "worlds": len(draws),
        "invalid": len(done) - len(counted),
        **counts,
        "intervals": {
            measure: [
                round(bound, 4)
                for bound in wilson_clustered(
                    [won[measure][one] for one in draws], [*draws.values()]
                )
            ]
            for measure in won
        },
        "by_archetype": _broken_down(done, lambda one: one.trajectory.archetype),
        "by": {name: _broken_down(done, of) for name, of in BREAKDOWNS.items()},
        "outcomes": _tally(finished.verdict.outcome for finished in counted),
        "confusion": _confusion(counted),
        "endings": _endings(done),
    }
    most = max(draws.values(), default=0)
    if most > 1:
        facts["pass_at"] = {
            measure: {
                str(k): round(
                    pass_at(k, [won[measure][one] for one in draws], [*draws.values()]), 4
                )
                for k in range(1, most + 1)
            }
            for measure in ("verified", "clean_termination")
        }
    return facts


def comparisons(episodes: Episodes, *, sequential: bool = False) -> list[dict[str, Any]]:
    """Each pair of subjects on the worlds that count for both, world by world."""
    return [
        _compare(a, episodes[a], b, episodes[b], sequential)
        for a, b in combinations(episodes, 2)
        if episodes[a] and episodes[b]
    ]


def differences(
    of_a: Sequence[Finished], of_b: Sequence[Finished], measure: str = "clean_termination"
) -> dict[str, int]:
    """World -> successes of b minus those of a, over the draws that count for both."""
    a, b = _results(of_a, measure), _results(of_b, measure)
    out: dict[str, int] = {}
    for world, draw in a.keys() & b.keys():
        out[world] = out.get(world, 0) + b[world, draw] - a[world, draw]
    return out


def _compare(
    a: str, of_a: Sequence[Finished], b: str, of_b: Sequence[Finished], sequential: bool
) -> dict[str, Any]:
    by_world = differences(of_a, of_b)
    only_a = sum(one < 0 for one in by_world.values())
    only_b = sum(one > 0 for one in by_world.values())
    grade = evidence(only_a, only_b)
    p = min(1.0, 1 / grade) if sequential else sign_flip([*by_world.values()])
    return {
        "a": a,
        "b": b,
        "measure": "clean_termination",
        "pairs": len(by_world),
        "only_a": only_a,
        "only_b": only_b,
        "p": float(f"{p:.3g}"),
        "test": "any time" if sequential else "exact",
        "evidence": float(f"{grade:.3g}"),
    }


def _results(done: Sequence[Finished], measure: str) -> dict[tuple[str, int], bool]:
    return {
        (finished.trajectory.scenario, draw_of(finished)): getattr(finished.verdict, measure)
        for finished in done
        if not finished.verdict.invalid
    }


def _won(counted: Sequence[Finished], measure: str) -> Counter[str]:
    return Counter(
        finished.trajectory.scenario for finished in counted if getattr(finished.verdict, measure)
    )


def _counts(counted: Sequence[Finished]) -> dict[str, int]:
    return {
        measure: sum(getattr(finished.verdict, measure) for finished in counted)
        for measure in (*MEASURES, "clean")
    }


def _broken_down(
    done: Sequence[Finished], of: Callable[[Finished], str]
) -> dict[str, dict[str, int]]:
    groups: dict[str, list[Finished]] = {}
    for finished in done:
        groups.setdefault(of(finished), []).append(finished)
    return {name: _group_facts(groups[name]) for name in sorted(groups)}


def _group_facts(done: Sequence[Finished]) -> dict[str, int]:
    counted = [finished for finished in done if not finished.verdict.invalid]
    return {"n": len(counted), "invalid": len(done) - len(counted), **_counts(counted)}


def _confusion(counted: Sequence[Finished]) -> dict[str, dict[str, int]]:
    """Expected terminal -> how it ended -> episodes."""
    found: Counter[tuple[str, str]] = Counter(
        (one.verdict.expected, one.verdict.outcome) for one in counted
    )
    return {
        expected: {outcome: found[expected, outcome] for outcome in _OUTCOMES}
        for expected in ("exit", "panic")
        if any(found[expected, outcome] for outcome in _OUTCOMES)
    }


def _endings(done: Sequence[Finished]) -> dict[str, int]:
    found = Counter(map(ending_of, done))
    return {name: found[name] for name in ENDINGS if found[name]}


def _tally(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names))


def episode_facts(subject: str, finished: Finished) -> dict[str, Any]:
    """One episode in the document; ``turns`` is their number."""
    trajectory, verdict = finished.trajectory, finished.verdict
    return {
        "id": trajectory.id,
        "scenario": trajectory.scenario,
        "archetype": trajectory.archetype,
        "subject": subject,
        "draw": draw_of(finished),
        "steps": verdict.steps,
        "turns": len(trajectory.turns),
        "outcome": verdict.outcome,
        "expected": verdict.expected,
        "ending": ending_of(finished),
        "clean": verdict.clean,
        "operates": verdict.operates,
        "terminates": verdict.terminates,
        "verified": verdict.verified,
        "clean_termination": verdict.clean_termination,
        "invalid": verdict.invalid,
        "seconds": round(finished.seconds, 2),
    }
