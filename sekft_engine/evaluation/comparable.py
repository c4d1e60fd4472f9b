"""Compare two evals, only where their conditions and their worlds were the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.episodes.episode import FinishedEpisode
from sekft_engine.episodes.store import episodes_of
from sekft_engine.evaluation.report.comparisons import comparisons
from sekft_engine.records.evals import PairedComparison
from sekft_engine.records.runs import RunInfo

#: Facts of an eval that two evals must share to be compared, and what it means where they differ.
_MUST_AGREE = {
    "userland": "other programs stand in their worlds",
    "dialect": "their prompts differ",
    "step_cap": "they allowed other numbers of commands",
    "turn_tokens": "they cut commands off after other numbers of tokens",
    "context": "they allowed sessions of other lengths",
    "temperature": "they were sampled at other temperatures",
}
_UNKNOWN = "not recorded"


class SharedWorlds(msgspec.Struct, frozen=True, kw_only=True):
    """The worlds of two evals, by name.

    Attributes:
        both: names of worlds that are the same in both.
        other: names that stand for worlds of different content.
        unknown: names whose worlds may differ: an older sekft did not record their content.
        only_a, only_b: number of worlds that only one of the evals used.
    """

    both: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    only_a: int = 0
    only_b: int = 0

    def notes(self) -> list[str]:
        """What cannot be paired, or not for certain, as lines for a person."""
        lines = []
        if self.other:
            lines.append(
                f"{_some(self.other)}: the same {_names(self.other)}, but other content; left out"
            )
        if self.unknown:
            lines.append(
                f"{_some(self.unknown)}: paired by {_names(self.unknown)} alone, for at least one "
                "of the evals is older and did not record what its worlds held"
            )
        if self.only_a or self.only_b:
            lines.append(
                f"left out: {self.only_a} worlds of the first alone, "
                f"{self.only_b} of the second alone"
            )
        return lines


def unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Why the scores of two evals cannot be compared; empty where they can.

    Args:
        a, b: the ``about`` of their runs.
    """
    must_agree = dict(_MUST_AGREE)
    if a.get("temperature") and b.get("temperature"):
        # Greedy episodes do not depend on the seed.
        must_agree["seed"] = "they were sampled with other seeds"
    reasons = []
    for fact, why in must_agree.items():
        of_a, of_b = a.get(fact, _UNKNOWN), b.get(fact, _UNKNOWN)
        # A userland that neither eval recorded may differ.
        if of_a != of_b or (fact == "userland" and of_a == _UNKNOWN):
            named = f" ({of_a}; {of_b})" if isinstance(of_a, str | int | float) else ""
            reasons.append(f"{why}{named}")
    return reasons


class RunComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two evals side by side: the document of ``sekft runs compare``.

    Attributes:
        a, b: the runs' ids.
        unlike: why their scores are not of one kind; empty where they are.
        worlds: what they met.
        notes: what a reader must know, in lines.
        comparisons: every subject of ``a`` against every subject of ``b``.
    """

    a: str
    b: str
    unlike: list[str]
    worlds: SharedWorlds
    notes: list[str]
    comparisons: list[PairedComparison]


def compare_runs(a: RunInfo, b: RunInfo, *, anyway: bool = False) -> RunComparison:
    """Every subject of ``a`` against every subject of ``b``, on the worlds that both met.

    Worlds are the same where their content is the same; an equal name is not enough.

    Args:
        a, b: two evals.
        anyway: compare them also under different conditions, and pair the worlds of older evals by
            name; the reasons against it are in ``unlike`` of the result.

    Returns:
        The JSON document of the comparison.

    Raises:
        BadInput: the conditions differ, or the runs share no world.
    """
    for info in (a, b):
        if info.kind != "eval":
            raise BadInput("is no eval", where=info.id, mend="name two evals")
    reasons = unlike(a.about, b.about)
    left, right = _episodes(a), _episodes(b)
    worlds = _worlds(a, left, b, right)
    if worlds.unknown:
        reasons.append("whether worlds of one name are the same was not recorded")
    if reasons and not anyway:
        raise BadInput(
            f"these scores cannot be compared: {'; '.join(reasons)}",
            where=f"{a.id}, {b.id}",
            mend="run one of them again like the other, or say --anyway",
        )
    shared = {*worlds.both, *worlds.unknown}
    notes = worlds.notes() + [
        f"{info.id} was stopped before its end: the worlds that end early are a biased sample"
        for info in (a, b)
        if info.status != "done"
    ]
    # An eval that stops when it is decided has a number of worlds that depends on the results.
    any_time = any(info.about.get("until_decided") or info.status != "done" for info in (a, b))
    pairs = [
        pair
        for name_a, of_a in left.items()
        for name_b, of_b in right.items()
        for pair in comparisons(
            {name_a: _within(shared, of_a), name_b: _within(shared, of_b)}, any_time=any_time
        )
        if pair.pairs
    ]
    if not pairs:
        why = f"; {'; '.join(worlds.notes())}" if worlds.other else ""
        raise BadInput(
            f"the runs share no world{why}", where=f"{a.id}, {b.id}", mend="name two others"
        )
    return RunComparison(
        a=a.id, b=b.id, unlike=reasons, worlds=worlds, notes=notes, comparisons=pairs
    )


def _worlds(
    a: RunInfo,
    of_a: Mapping[str, Sequence[FinishedEpisode]],
    b: RunInfo,
    of_b: Mapping[str, Sequence[FinishedEpisode]],
) -> SharedWorlds:
    left, right = _digests(of_a), _digests(of_b)
    shared = sorted(left.keys() & right.keys())
    # Older evals recorded one digest of all their worlds, which may decide it.
    whole = a.about.get("scenarios_digest")
    same_set = whole is not None and whole == b.about.get("scenarios_digest")
    known = [name for name in shared if left[name] and right[name]]
    unknown = [name for name in shared if not (left[name] and right[name])]
    return SharedWorlds(
        both=(
            *(name for name in known if left[name] == right[name]),
            *(unknown if same_set else ()),
        ),
        other=tuple(name for name in known if left[name] != right[name]),
        unknown=() if same_set else tuple(unknown),
        only_a=len(left.keys() - right.keys()),
        only_b=len(right.keys() - left.keys()),
    )


def _digests(episodes: Mapping[str, Sequence[FinishedEpisode]]) -> dict[str, str]:
    """The digests of a run's worlds by their names; empty where they were not recorded."""
    return {
        finished.trajectory.scenario: str(finished.trajectory.meta.get("scenario_digest", ""))
        for done in episodes.values()
        for finished in done
    }


def _within(worlds: set[str], done: Iterable[FinishedEpisode]) -> list[FinishedEpisode]:
    return [finished for finished in done if finished.trajectory.scenario in worlds]


def _names(worlds: Sequence[str]) -> str:
    return "name" if len(worlds) == 1 else "names"


def _some(worlds: Sequence[str]) -> str:
    """``3 worlds (a, b, ...)``."""
    named = ", ".join(worlds[:2]) + (", ..." if len(worlds) > 2 else "")
    return f"{len(worlds)} world{'' if len(worlds) == 1 else 's'} ({named})"


def _episodes(info: RunInfo) -> dict[str, list[FinishedEpisode]]:
    found = episodes_of(Path(info.path) / "episodes")
    return {f"{info.id}/{subject}": done for subject, done in found.items()}
