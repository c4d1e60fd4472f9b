"""What an eval found, as the JSON document of ``sekft eval``: counts, intervals, comparisons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import msgspec

from sekft_engine.evaluate.caveats import causes_of, caveats, limits_of
from sekft_engine.evaluate.endings import ENDINGS, ending_of
from sekft_engine.evaluate.episode import Finished, draw_of
from sekft_engine.evaluate.paired import compare, settled
from sekft_engine.evaluate.stats import pass_at, wilson_clustered
from sekft_engine.evaluate.verdict import MEASURES

Episodes = Mapping[str, Sequence[Finished]]
#: A scenario, and the number of the draw in it.
Trial = tuple[str, int]

#: What rates are broken down by, beside the archetype.
BREAKDOWNS: Mapping[str, Callable[[Finished], str]] = {
    "channel": lambda one: one.trajectory.announcement,
    "provider": lambda one: one.trajectory.provider,
    "depth": lambda one: str(one.trajectory.meta.get("doc_depth", "")),
    "difficulty": lambda one: str(one.trajectory.meta.get("difficulty", "")),
    "terminal": lambda one: one.verdict.expected,
}
#: What is counted: the measures, and whether nothing was prose.
_COUNTED = (*MEASURES, "clean")
#: How an episode can end, in the order of the tables.
OUTCOMES = ("exit", "panic", "cap", "error")


def document(
    episodes: Episodes,
    *,
    seconds: float,
    any_time: bool = False,
    order: Sequence[Trial] | None = None,
    doubts: Mapping[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The JSON document of ``sekft eval``: subjects with counts and intervals, all episodes.

    Args:
        episodes: the finished episodes of each subject.
        seconds: how long the eval took.
        any_time: the eval stopped when it was decided, or before its end, so that p must hold at
            any time.
        order: as :func:`comparisons` has it.
        doubts: why it is not certain that a subject was trained on this base, '' where it is;
            where this is given, each subject says so as ``base_confirmed``.
        more: further facts; ``context`` and ``served`` may give rise to ``warnings``, which a
            reader should see before the rates.
    """
    doubts = doubts or {}
    warnings = caveats(episodes, context=more.get("context"), served=more.get("served", ()))
    warnings += [
        {"name": "base_not_confirmed", "subject": name, "text": f"{name}: {doubts[name]}"}
        for name in episodes
        if doubts.get(name)
    ]
    return {
        "subjects": [
            subject_facts(name, done)
            | ({"base_confirmed": not doubts[name]} if name in doubts else {})
            for name, done in episodes.items()
        ],
        "comparisons": comparisons(episodes, any_time=any_time, order=order),
        "episodes": [
            episode_facts(name, finished) for name, done in episodes.items() for finished in done
        ],
        "seconds": round(seconds, 2),
        "warnings": warnings,
    } | more


def subject_facts(name: str, done: Sequence[Finished]) -> dict[str, Any]:
    """Counts over the episodes that count; ``n`` is their number, ``invalid`` that of the rest.

    Intervals know that several draws in one world are no independent trials.
    """
    counted = _valid(done)
    draws = Counter(finished.trajectory.scenario for finished in counted)
    facts: dict[str, Any] = {
        "name": name,
        "n": len(counted),
        "worlds": len(draws),
        "invalid": len(done) - len(counted),
        "invalid_by": causes_of(done),
        "limits": limits_of(counted),
        **_counts(counted),
        "intervals": _intervals(counted),
        "by_archetype": _broken_down(done, lambda one: one.trajectory.archetype),
        "by": {name: _broken_down(done, of) for name, of in BREAKDOWNS.items()},
        "outcomes": _tally(finished.verdict.outcome for finished in counted),
        "confusion": _confusion(counted),
        "endings": _endings(done),
    }
    most = max(draws.values(), default=0)
    if most > 1:
        facts["pass_at"] = {
            measure: _pass_at(most, *_by_world(counted, measure))
            for measure in ("verified", "clean_termination")
        }
    return facts


def _pass_at(most: int, won: Sequence[int], draws: Sequence[int]) -> dict[str, float]:
    return {str(k): round(pass_at(k, won, draws), 4) for k in range(1, most + 1)}


def comparisons(
    episodes: Episodes, *, any_time: bool = False, order: Sequence[Trial] | None = None
) -> list[dict[str, Any]]:
    """Each pair of subjects on the worlds that count for both, world by world.

    Args:
        order: the trials of an eval that is not at its end, in the order fixed beforehand: only
            worlds :func:`~sekft_engine.evaluate.paired.settled` for both are taken.
    """
    return [
        _compare(a, b, episodes, any_time, order)
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
    a: str, b: str, episodes: Episodes, any_time: bool, order: Sequence[Trial] | None
) -> dict[str, Any]:
    by_world = differences(episodes[a], episodes[b])
    if order is not None:
        met = [
            {(one.trajectory.scenario, draw_of(one)) for one in episodes[name]} for name in (a, b)
        ]
        fair = settled((trial[0], all(trial in of_one for of_one in met)) for trial in order)
        by_world = {world: by for world, by in by_world.items() if world in fair}
    found = compare([*by_world.values()], any_time=any_time)
    facts: dict[str, Any] = msgspec.to_builtins(found)
    rounded = {name: float(f"{facts[name]:.3g}") for name in ("p", "evidence")}
    return {"a": a, "b": b, "measure": "clean_termination"} | facts | rounded


def _results(done: Sequence[Finished], measure: str) -> dict[tuple[str, int], bool]:
    return {
        (finished.trajectory.scenario, draw_of(finished)): getattr(finished.verdict, measure)
        for finished in done
        if not finished.verdict.invalid
    }


def _valid(done: Sequence[Finished]) -> list[Finished]:
    return [finished for finished in done if not finished.verdict.invalid]


def _counts(counted: Sequence[Finished]) -> dict[str, int]:
    return {
        measure: sum(getattr(finished.verdict, measure) for finished in counted)
        for measure in _COUNTED
    }


def _by_world(counted: Sequence[Finished], measure: str) -> tuple[list[int], list[int]]:
    """Successes and draws, world by world."""
    won: dict[str, list[int]] = {}
    for one in counted:
        won.setdefault(one.trajectory.scenario, []).append(getattr(one.verdict, measure))
    return [sum(results) for results in won.values()], [len(results) for results in won.values()]


def _intervals(counted: Sequence[Finished]) -> dict[str, list[float]]:
    return {
        measure: [round(bound, 4) for bound in wilson_clustered(*_by_world(counted, measure))]
        for measure in _COUNTED
    }


def _broken_down(
    done: Sequence[Finished], of: Callable[[Finished], str]
) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[Finished]] = {}
    for finished in done:
        groups.setdefault(of(finished), []).append(finished)
    return {name: _group_facts(groups[name]) for name in sorted(groups)}


def _group_facts(done: Sequence[Finished]) -> dict[str, Any]:
    counted = _valid(done)
    return {
        "n": len(counted),
        "invalid": len(done) - len(counted),
        **_counts(counted),
        "intervals": _intervals(counted),
    }


def _confusion(counted: Sequence[Finished]) -> dict[str, dict[str, int]]:
    """Expected terminal -> how it ended -> episodes."""
    found: Counter[tuple[str, str]] = Counter(
        (one.verdict.expected, one.verdict.outcome) for one in counted
    )
    return {
        expected: {outcome: found[expected, outcome] for outcome in OUTCOMES}
        for expected in ("exit", "panic")
        if any(found[expected, outcome] for outcome in OUTCOMES)
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
