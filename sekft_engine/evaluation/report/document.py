"""The JSON document of ``sekft eval``: counts, intervals, comparisons, episodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from sekft_engine.data.trajectory import OUTCOMES
from sekft_engine.episodes.endings import ENDINGS, ending_of
from sekft_engine.episodes.episode import FinishedEpisode, draw_of
from sekft_engine.episodes.verdict import KINDS, MEASURES, fulfils
from sekft_engine.evaluation.report.caveats import causes_of, caveats, limits_of
from sekft_engine.evaluation.report.comparisons import Episodes, Trial, comparisons, holds
from sekft_engine.evaluation.statistics.intervals import pass_at, wilson_clustered
from sekft_engine.evaluation.statistics.paired import Decision
from sekft_engine.records.evals import (
    ContextLimit,
    Counts,
    DecisionFacts,
    EpisodeFacts,
    EvalResult,
    EvalWarning,
    KindCounts,
    Partial,
    ServedFacts,
    SubjectFacts,
)

#: What rates are broken down by, besides the archetype.
BREAKDOWNS: Mapping[str, Callable[[FinishedEpisode], str]] = {
    "channel": lambda finished: finished.trajectory.announcement,
    "provider": lambda finished: finished.trajectory.provider,
    "depth": lambda finished: str(finished.trajectory.meta.get("doc_depth", "")),
    "difficulty": lambda finished: str(finished.trajectory.meta.get("difficulty", "")),
    "terminal": lambda finished: finished.verdict.expected,
    "split": lambda finished: str(finished.trajectory.meta.get("split", "")),
    "obstacle": lambda finished: str(finished.trajectory.meta.get("obstacle", "")),
}
#: What is counted: the measures, and clean episodes.
_COUNTED = (*MEASURES, "clean")


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """The conditions under which the subjects acted.

    Attributes:
        context: the limit of local episodes.
        served: facts about the servers, where models behind endpoints acted.
        doubts: why it is not certain that a subject was trained on this base; empty = it is.
        trained_4bit: whether a subject was trained on the base in 4 bits; None = unknown.
        precision: how the base was held otherwise than a subject was trained on; empty = it was
            not.
        refused: why adapters could not act.
    """

    context: ContextLimit | UnsetType = UNSET
    served: list[ServedFacts] | UnsetType = UNSET
    controls: frozenset[str] = frozenset()
    doubts: Mapping[str, str] = {}
    trained_4bit: Mapping[str, bool | None] = {}
    precision: Mapping[str, str] = {}
    refused: Mapping[str, str] = {}


def document(
    episodes: Episodes,
    *,
    seconds: float,
    any_time: bool = False,
    order: Sequence[Trial] | None = None,
    conditions: Conditions = Conditions(),  # noqa: B008 - frozen
    run: str = "",
    path: str = "",
    about: Mapping[str, Any] | None = None,
    decisions: Mapping[str, Decision] | None = None,
    partial: Partial | UnsetType = UNSET,
) -> EvalResult:
    """The document of ``sekft eval``: subjects with counts and intervals, all episodes.

    Args:
        episodes: the finished episodes of each subject.
        seconds: how long the eval took.
        any_time: the eval stopped when it was decided, or before its end, so that p must be valid
            at any time.
        order: see :func:`comparisons`.
        conditions: those of the eval; they may cause warnings, which belong before the rates. A
            subject with an entry in ``doubts`` has ``base_confirmed``.
        run, path: the run's id, and its folder.
        about: the facts that identify this eval.
        decisions: by subject, where the eval stops when it is decided.
        partial: how far a stopped eval came.
    """
    doubts = conditions.doubts
    warnings = caveats(episodes, context=conditions.context, served=conditions.served)
    for kind, texts in (
        ("base_not_confirmed", doubts),
        ("other_precision", conditions.precision),
    ):
        warnings += [
            EvalWarning(name=kind, subject=name, text=f"{name}: {texts[name]}")
            for name in episodes
            if texts.get(name)
        ]
    warnings[:0] = [
        EvalWarning(name="refused", subject=name, text=f"{name} could not act: {why}")
        for name, why in conditions.refused.items()
    ]
    return EvalResult(
        subjects=[
            subject_facts(
                name,
                done,
                control=name in conditions.controls,
                confirmed=not doubts[name] if name in doubts else UNSET,
                trained_4bit=conditions.trained_4bit.get(name),
            )
            for name, done in episodes.items()
        ],
        comparisons=comparisons(
            episodes, any_time=any_time, order=order, controls=conditions.controls
        ),
        episodes=[
            episode_facts(name, finished) for name, done in episodes.items() for finished in done
        ],
        seconds=round(seconds, 2),
        warnings=warnings,
        run=run,
        path=path,
        about=dict(about or {}),
        context=conditions.context,
        served=conditions.served,
        decisions=UNSET
        if decisions is None
        else {
            name: DecisionFacts(
                state=decision.state,
                evidence=decision.evidence,
                better=decision.better,
                p=decision.p,
            )
            for name, decision in decisions.items()
        },
        partial=partial,
    )


def subject_facts(
    name: str,
    done: Sequence[FinishedEpisode],
    *,
    control: bool = False,
    confirmed: bool | UnsetType = UNSET,
    trained_4bit: bool | None = None,
) -> SubjectFacts:
    """The counts of a subject; ``n`` is the number of valid episodes, ``invalid`` of the others.

    Intervals allow for several draws in one world not being independent.

    Args:
        name: of the subject.
        done: its finished episodes.
        control: whether it is a control.
        confirmed: whether the subject is known to be trained on this base.
        trained_4bit: whether it was trained on the base in 4 bits; None = unknown.
    """
    counted = _valid(done)
    draws = Counter(finished.trajectory.scenario for finished in counted)
    most = max(draws.values(), default=0)
    return SubjectFacts(
        name=name,
        control=control,
        n=len(counted),
        worlds=len(draws),
        invalid=len(done) - len(counted),
        invalid_by=causes_of(done),
        limits=limits_of(counted),
        **_counts(counted),
        intervals=_intervals(counted),
        kinds=kind_counts(counted),
        by_archetype=_broken_down(done, lambda finished: finished.trajectory.archetype),
        by={name: _broken_down(done, of) for name, of in BREAKDOWNS.items()},
        outcomes=_tally(finished.verdict.outcome for finished in counted),
        confusion=_confusion(counted),
        endings=_endings(done),
        pass_at=UNSET
        if most <= 1
        else {
            measure: _pass_at(most, *_by_world(counted, measure))
            for measure in ("verified", "clean_termination")
        },
        base_confirmed=confirmed,
        trained_4bit=UNSET if trained_4bit is None else trained_4bit,
    )


def kind_counts(counted: Sequence[FinishedEpisode]) -> KindCounts:
    """Doable and blocked worlds apart, of episodes that count."""
    by_terminal = {
        terminal: [each for each in counted if each.verdict.expected == terminal]
        for terminal in ("exit", "panic")
    }
    by_measure = {name: by_terminal[kind.terminal] for name, kind in KINDS.items()}
    return KindCounts(
        doable=len(by_terminal["exit"]),
        blocked=len(by_terminal["panic"]),
        **{
            name: sum(fulfils(each.verdict, name) for each in done)
            for name, done in by_measure.items()
        },
        intervals={name: _interval(done, name) for name, done in by_measure.items()},
    )


def _pass_at(most: int, won: Sequence[int], draws: Sequence[int]) -> dict[str, float]:
    return {str(k): round(pass_at(k, won, draws), 4) for k in range(1, most + 1)}


def _valid(done: Sequence[FinishedEpisode]) -> list[FinishedEpisode]:
    return [finished for finished in done if not finished.verdict.invalid]


def _counts(counted: Sequence[FinishedEpisode]) -> dict[str, int]:
    return {
        measure: sum(getattr(finished.verdict, measure) for finished in counted)
        for measure in _COUNTED
    }


def _by_world(counted: Sequence[FinishedEpisode], measure: str) -> tuple[list[int], list[int]]:
    """Successes and draws, world by world."""
    won: dict[str, list[int]] = {}
    for finished in counted:
        results = won.setdefault(finished.trajectory.scenario, [])
        results.append(holds(finished, measure))
    return [sum(results) for results in won.values()], [len(results) for results in won.values()]


def _intervals(counted: Sequence[FinishedEpisode]) -> dict[str, list[float]]:
    return {measure: _interval(counted, measure) for measure in _COUNTED}


def _interval(counted: Sequence[FinishedEpisode], measure: str) -> list[float]:
    return [round(bound, 4) for bound in wilson_clustered(*_by_world(counted, measure))]


def _broken_down(
    done: Sequence[FinishedEpisode], of: Callable[[FinishedEpisode], str]
) -> dict[str, Counts]:
    groups: dict[str, list[FinishedEpisode]] = {}
    for finished in done:
        groups.setdefault(of(finished), []).append(finished)
    return {name: _group_facts(groups[name]) for name in sorted(groups)}


def _group_facts(done: Sequence[FinishedEpisode]) -> Counts:
    counted = _valid(done)
    return Counts(
        n=len(counted),
        invalid=len(done) - len(counted),
        **_counts(counted),
        intervals=_intervals(counted),
    )


def _confusion(counted: Sequence[FinishedEpisode]) -> dict[str, dict[str, int]]:
    """Expected terminal -> how it ended -> episodes."""
    found: Counter[tuple[str, str]] = Counter(
        (finished.verdict.expected, finished.verdict.outcome) for finished in counted
    )
    return {
        expected: {outcome: found[expected, outcome] for outcome in OUTCOMES}
        for expected in ("exit", "panic")
        if any(found[expected, outcome] for outcome in OUTCOMES)
    }


def _endings(done: Sequence[FinishedEpisode]) -> dict[str, int]:
    found = Counter(map(ending_of, done))
    return {name: found[name] for name in ENDINGS if found[name]}


def _tally(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names))


def episode_facts(subject: str, finished: FinishedEpisode) -> EpisodeFacts:
    """One episode in the document."""
    trajectory, verdict = finished.trajectory, finished.verdict
    return EpisodeFacts(
        id=trajectory.id,
        scenario=trajectory.scenario,
        archetype=trajectory.archetype,
        subject=subject,
        draw=draw_of(finished),
        steps=verdict.steps,
        turns=len(trajectory.turns),
        outcome=verdict.outcome,
        expected=verdict.expected,
        ending=ending_of(finished),
        clean=verdict.clean,
        operates=verdict.operates,
        terminates=verdict.terminates,
        verified=verdict.verified,
        clean_termination=verdict.clean_termination,
        invalid=verdict.invalid,
        seconds=round(finished.seconds, 2),
    )
