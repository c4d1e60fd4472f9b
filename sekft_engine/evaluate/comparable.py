"""Which scores may stand beside each other: evals are compared only where they asked the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.errors import BadInput
from sekft_engine.evaluate.episode import Finished
from sekft_engine.evaluate.report import comparisons
from sekft_engine.evaluate.store import episodes_of
from sekft_engine.runs import RunInfo

#: What makes another task of the same name: the fact, and how to call it.
_MUST_AGREE = {
    "userland": "other programs stand in their worlds",
    "dialect": "their prompts differ",
    "step_cap": "they allowed other numbers of commands",
    "turn_tokens": "they allowed commands of other lengths",
    "context": "they allowed sessions of other lengths",
    "temperature": "they were sampled at other temperatures",
}
_UNKNOWN = "not recorded"


class Worlds(msgspec.Struct, frozen=True, kw_only=True):
    """What two evals met, by the names of the worlds.

    Attributes:
        both: the same world in both.
        other: worlds of one name that hold something else.
        unknown: of one name, but an older sekft did not record what they hold.
        only_a, only_b: how many only one of them met.
    """

    both: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    only_a: int = 0
    only_b: int = 0

    def told(self) -> list[str]:
        """What cannot be paired, in lines for a person."""
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
                f"left out: {self.only_a} worlds that only the first met, "
                f"{self.only_b} that only the second met"
            )
        return lines


def unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Why the scores of two evals (their ``about``) are not of one kind; empty where they are."""
    must_agree = dict(_MUST_AGREE)
    if a.get("temperature") and b.get("temperature"):
        # Greedy episodes draw nothing.
        must_agree["seed"] = "they were sampled with other seeds"
    reasons = []
    for fact, why in must_agree.items():
        of_a, of_b = a.get(fact, _UNKNOWN), b.get(fact, _UNKNOWN)
        # What neither eval recorded cannot be said to agree where it is the userland.
        if of_a != of_b or (fact == "userland" and of_a == _UNKNOWN):
            named = f" ({of_a}; {of_b})" if isinstance(of_a, str | int | float) else ""
            reasons.append(f"{why}{named}")
    return reasons


def compare_runs(a: RunInfo, b: RunInfo, *, anyway: bool = False) -> dict[str, Any]:
    """Every subject of ``a`` against every subject of ``b``, on the worlds that both met.

    Worlds are the same where their content is, not where only their name is.

    Args:
        anyway: compare also what is not of one kind, and pair by name what older evals met; the
            reasons are in ``unlike``.

    Raises:
        BadInput: the scores are not of one kind, or the runs share no world.
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
    notes = worlds.told() + [
        f"{info.id} was stopped before its end: what ends early is no fair choice of its worlds"
        for info in (a, b)
        if info.status != "done"
    ]
    # Who stops when it is decided has chosen the number of worlds by what they showed.
    any_time = any(info.about.get("until_decided") or info.status != "done" for info in (a, b))
    pairs = [
        pair
        for one, of_one in left.items()
        for other, of_other in right.items()
        for pair in comparisons(
            {one: _within(shared, of_one), other: _within(shared, of_other)}, any_time=any_time
        )
        if pair["pairs"]
    ]
    if not pairs:
        why = f"; {'; '.join(worlds.told())}" if worlds.other else ""
        raise BadInput(
            f"the runs share no world{why}", where=f"{a.id}, {b.id}", mend="name two others"
        )
    return {
        "a": a.id,
        "b": b.id,
        "unlike": reasons,
        "worlds": msgspec.to_builtins(worlds),
        "notes": notes,
        "comparisons": pairs,
    }


def _worlds(
    a: RunInfo,
    of_a: Mapping[str, Sequence[Finished]],
    b: RunInfo,
    of_b: Mapping[str, Sequence[Finished]],
) -> Worlds:
    left, right = _digests(of_a), _digests(of_b)
    shared = sorted(left.keys() & right.keys())
    # Older evals recorded a digest of all their worlds together, which may settle it.
    whole = a.about.get("scenarios_digest")
    same_set = whole is not None and whole == b.about.get("scenarios_digest")
    known = [name for name in shared if left[name] and right[name]]
    unknown = [name for name in shared if not (left[name] and right[name])]
    return Worlds(
        both=(
            *(name for name in known if left[name] == right[name]),
            *(unknown if same_set else ()),
        ),
        other=tuple(name for name in known if left[name] != right[name]),
        unknown=() if same_set else tuple(unknown),
        only_a=len(left.keys() - right.keys()),
        only_b=len(right.keys() - left.keys()),
    )


def _digests(episodes: Mapping[str, Sequence[Finished]]) -> dict[str, str]:
    """What the worlds of a run held, by their names; '' where it was not recorded."""
    return {
        one.trajectory.scenario: str(one.trajectory.meta.get("scenario_digest", ""))
        for done in episodes.values()
        for one in done
    }


def _within(worlds: set[str], done: Iterable[Finished]) -> list[Finished]:
    return [one for one in done if one.trajectory.scenario in worlds]


def _names(worlds: Sequence[str]) -> str:
    return "name" if len(worlds) == 1 else "names"


def _some(worlds: Sequence[str]) -> str:
    """``3 worlds (a, b, ...)``."""
    named = ", ".join(worlds[:2]) + (", ..." if len(worlds) > 2 else "")
    return f"{len(worlds)} world{'' if len(worlds) == 1 else 's'} ({named})"


def _episodes(info: RunInfo) -> dict[str, list[Finished]]:
    found = episodes_of(Path(info.path) / "episodes")
    return {f"{info.id}/{subject}": done for subject, done in found.items()}
