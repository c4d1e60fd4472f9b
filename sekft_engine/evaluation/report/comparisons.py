"""Comparing subjects in pairs, world by world, with exact paired tests."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from itertools import combinations

from sekft_engine.episodes.episode import FinishedEpisode, draw_of
from sekft_engine.episodes.verdict import KINDS, fulfils
from sekft_engine.evaluation.statistics.paired import Comparison, compare, settled
from sekft_engine.records.evals import PairedComparison

Episodes = Mapping[str, Sequence[FinishedEpisode]]
#: A scenario, and the number of a draw in it.
Trial = tuple[str, int]


def comparisons(
    episodes: Episodes,
    *,
    any_time: bool = False,
    order: Sequence[Trial] | None = None,
    controls: Container[str] = (),
) -> list[PairedComparison]:
    """Compare each pair of subjects on the worlds that count for both.

    Controls are not compared with each other. Where there are any, the worlds that were solved are
    compared too.

    Args:
        episodes: the finished episodes of each subject.
        any_time: use the test that is valid at any time.
        order: the trials of an eval that is not at its end, in the order fixed beforehand: only
            worlds :func:`~sekft_engine.evaluation.statistics.paired.settled` for both are taken.
    """
    measures = ["clean_termination"]
    if any(name in controls for name in episodes):
        measures.append("solved")
    return [
        _compare(a, b, episodes, measure, any_time, order)
        for measure in measures
        for a, b in combinations(episodes, 2)
        if episodes[a] and episodes[b] and not (a in controls and b in controls)
    ]


def differences(
    of_a: Sequence[FinishedEpisode],
    of_b: Sequence[FinishedEpisode],
    measure: str = "clean_termination",
) -> dict[str, int]:
    """World -> the successes of b minus those of a, over the draws that count for both."""
    a, b = _results(of_a, measure), _results(of_b, measure)
    out: dict[str, int] = {}
    for world, draw in a.keys() & b.keys():
        out[world] = out.get(world, 0) + b[world, draw] - a[world, draw]
    return out


def _compare(
    a: str,
    b: str,
    episodes: Episodes,
    measure: str,
    any_time: bool,
    order: Sequence[Trial] | None,
) -> PairedComparison:
    by_world = differences(episodes[a], episodes[b], measure)
    if order is not None:
        done = [
            {(each.trajectory.scenario, draw_of(each)) for each in episodes[name]}
            for name in (a, b)
        ]
        worlds = settled((trial[0], all(trial in trials for trials in done)) for trial in order)
        by_world = {world: by for world, by in by_world.items() if world in worlds}
    return paired(a, b, measure, compare([*by_world.values()], any_time=any_time))


def paired(a: str, b: str, measure: str, found: Comparison) -> PairedComparison:
    """The facts of ``found``, the comparison of subjects ``a`` and ``b``, with three digits."""
    return PairedComparison(
        a=a,
        b=b,
        measure=measure,
        pairs=found.pairs,
        only_a=found.only_a,
        only_b=found.only_b,
        p=float(f"{found.p:.3g}"),
        test=found.test,
        evidence=float(f"{found.evidence:.3g}"),
    )


def _results(done: Sequence[FinishedEpisode], measure: str) -> dict[tuple[str, int], bool]:
    kind = KINDS.get(measure)
    return {
        (finished.trajectory.scenario, draw_of(finished)): holds(finished, measure)
        for finished in done
        if not finished.verdict.invalid
        and (kind is None or finished.verdict.expected == kind.terminal)
    }


def holds(finished: FinishedEpisode, measure: str) -> bool:
    """Whether an episode counts as a success by a measure."""
    if measure in KINDS:
        return fulfils(finished.verdict, measure)
    held: bool = getattr(finished.verdict, measure)
    return held
