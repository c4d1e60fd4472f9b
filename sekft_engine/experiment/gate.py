"""A gate for CI: do the bounds of a run's rates reach what is asked for?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.episodes.verdict import KINDS, MEASURES
from sekft_engine.experiment.presets import HELD_OUT, HOLDOUT
from sekft_engine.records.evals import EvalResult, Interval, SubjectFacts
from sekft_engine.records.experiments import ExperimentResult
from sekft_engine.records.runs import RunInfo

#: Measures by the names that a gate takes; ``clean`` is short for a clean termination.
NAMES: Mapping[str, str] = {
    **{name: name for name in (*KINDS, *MEASURES)},
    "clean": "clean_termination",
    "commands_only": "clean",
}
BASE = "base"


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: the lower bound of a measure's interval is at least ``value`` (``min``),
    or the upper bound at most (``max``)."""

    measure: str
    kind: str
    value: float


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a bound holds.

    Attributes:
        subject: whose rate it is; with its split, where there are several.
        measure, kind, wanted: what is asked for.
        count, n: of episodes; n = 0 means that there is nothing to judge by, which fails.
        interval: of the rate, 95 %.
        short: by how much the bound is missed; 0 = it holds.
    """

    subject: str
    measure: str
    kind: str
    wanted: float
    count: int
    n: int
    interval: Interval
    short: float

    @property
    def holds(self) -> bool:
        return self.short == 0.0

    @property
    def in_words(self) -> str:
        low, high = self.interval
        bound, side = (low, "lower") if self.kind == "min" else (high, "upper")
        rate = f"{self.count}/{self.n}" if self.n else "no episodes"
        text = f"{self.subject}: {self.measure.replace('_', ' ')} {rate} [{low:.2f}, {high:.2f}]"
        asked = f"{'at least' if self.kind == 'min' else 'at most'} {self.wanted:g}"
        if self.holds:
            return f"ok      {text}: the {side} bound {bound:.3f} is {asked}"
        return f"failed  {text}: the {side} bound {bound:.3f} is not {asked}, by {self.short:.3f}"


def bound_of(text: str, kind: str) -> Bound:
    """The bound in ``solved=.5``.

    Raises:
        BadInput: it is no measure, or no rate.
    """
    name, _, value = text.partition("=")
    where = f"--{kind}"
    if name not in NAMES:
        raise BadInput(f"{name!r} is no measure", where=where, mend=f"known are {', '.join(NAMES)}")
    try:
        rate = float(value)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        raise BadInput(f"{value!r} is no rate", where=where, mend=f"say {name}=.5, from 0 to 1")
    return Bound(measure=name, kind=kind, value=rate)


def judge(
    run: RunInfo,
    bounds: Sequence[Bound],
    *,
    subjects: Sequence[str] = (),
    splits: Sequence[str] = (),
) -> list[Verdict]:
    """Whether each bound holds for each subject of a run.

    Args:
        run: an eval or an experiment that has come to its end.
        bounds: what is asked for.
        subjects: only these; empty = the adapters of an eval, the adapter of an experiment.
        splits: of an experiment, only these; empty = the held-out ones.

    Raises:
        BadInput: the run has no such rates.
    """
    if run.status != "done":
        raise BadInput(
            f"this run is {run.status}: its rates are not final", where=run.path, mend="resume it"
        )
    result = run.result
    if isinstance(result, EvalResult):
        found = _of_eval(result, subjects)
    elif isinstance(result, ExperimentResult):
        found = _of_experiment(result, subjects, splits)
    else:
        raise BadInput(
            f"a run of {run.kind} has no rates", where=run.path, mend="name an eval or experiment"
        )
    if not found:
        named = f": {', '.join(subjects)}" if subjects else ""
        raise BadInput(
            f"nobody to judge{named}", where=run.path, mend="name somebody with --subject"
        )
    return [_verdict(name, facts, bound) for name, facts in found for bound in bounds]


def _of_eval(result: EvalResult, wanted: Sequence[str]) -> list[tuple[str, SubjectFacts]]:
    return [
        (facts.name, facts)
        for facts in result.subjects
        if (facts.name in wanted if wanted else not facts.control and facts.name != BASE)
    ]


def _of_experiment(
    result: ExperimentResult, wanted: Sequence[str], splits: Iterable[str]
) -> list[tuple[str, SubjectFacts]]:
    known = {row.split for row in result.rows}
    chosen = [*splits] or [each for each in (*HELD_OUT, HOLDOUT) if each in known]
    for split in chosen:
        if split not in known:
            raise BadInput(
                f"no such split: {split}", where="--split", mend=f"there are {', '.join(known)}"
            )
    return [
        (f"{row.name} in {row.split}", row.facts)
        for row in result.rows
        if row.split in chosen and (row.name in wanted if wanted else row.kind == "adapter")
    ]


def _verdict(name: str, facts: SubjectFacts, bound: Bound) -> Verdict:
    count, n, interval = _rate(facts, NAMES[bound.measure])
    low, high = interval
    short = bound.value - low if bound.kind == "min" else high - bound.value
    if not n:
        short = max(short, bound.value if bound.kind == "min" else 1 - bound.value) or 1.0
    return Verdict(
        subject=name,
        measure=bound.measure,
        kind=bound.kind,
        wanted=bound.value,
        count=count,
        n=n,
        interval=interval,
        short=round(max(0.0, short), 4),
    )


def _rate(facts: SubjectFacts, measure: str) -> tuple[int, int, Interval]:
    """Count, number of episodes and interval of a measure."""
    if measure not in KINDS:
        return facts.count(measure), facts.n, facts.intervals.get(measure, [0.0, 1.0])
    kinds = facts.kinds
    if not kinds:
        return 0, 0, [0.0, 1.0]
    n = kinds.doable if KINDS[measure].terminal == "exit" else kinds.blocked
    return getattr(kinds, measure), n, kinds.intervals.get(measure, [0.0, 1.0])
