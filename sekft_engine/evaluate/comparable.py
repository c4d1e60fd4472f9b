"""Which scores may stand beside each other: evals are compared only where they asked the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sekft_engine.errors import BadInput, SekftError
from sekft_engine.evaluate.episode import Finished
from sekft_engine.evaluate.report import comparisons
from sekft_engine.evaluate.store import read_episode
from sekft_engine.runs import RunInfo

#: What makes another task of the same name: the fact, and how to call it.
_MUST_AGREE = {
    "userland": "other programs stand in their worlds",
    "dialect": "their prompts differ",
    "step_cap": "they allowed other numbers of commands",
    "turn_tokens": "they allowed commands of other lengths",
}
_UNKNOWN = "not recorded"


def unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Why the scores of two evals (their ``about``) are not of one kind; empty where they are."""
    reasons = []
    for fact, why in _MUST_AGREE.items():
        of_a, of_b = a.get(fact, _UNKNOWN), b.get(fact, _UNKNOWN)
        # What neither eval recorded cannot be said to agree where it is the userland.
        if of_a != of_b or (fact == "userland" and of_a == _UNKNOWN):
            named = f" ({of_a}; {of_b})" if isinstance(of_a, str | int) else ""
            reasons.append(f"{why}{named}")
    return reasons


def compare_runs(a: RunInfo, b: RunInfo, *, anyway: bool = False) -> dict[str, Any]:
    """Every subject of ``a`` against every subject of ``b``, on the worlds that both met.

    Args:
        anyway: compare also what is not of one kind; the reasons are in ``unlike``.

    Raises:
        BadInput: the scores are not of one kind, or the runs share no world.
    """
    for info in (a, b):
        if info.kind != "eval":
            raise BadInput("is no eval", where=info.id, mend="name two evals")
    reasons = unlike(a.about, b.about)
    if reasons and not anyway:
        raise BadInput(
            f"these scores cannot be compared: {'; '.join(reasons)}",
            where=f"{a.id}, {b.id}",
            mend="run one of them again like the other, or say --anyway",
        )
    left, right = _episodes(a), _episodes(b)
    pairs = [
        pair
        for one, of_one in left.items()
        for other, of_other in right.items()
        for pair in comparisons({one: of_one, other: of_other})
        if pair["pairs"]
    ]
    if not pairs:
        raise BadInput("the runs share no world", where=f"{a.id}, {b.id}", mend="name two others")
    return {"a": a.id, "b": b.id, "unlike": reasons, "comparisons": pairs}


def _episodes(info: RunInfo) -> dict[str, Sequence[Finished]]:
    out: dict[str, list[Finished]] = {}
    for path in sorted((Path(info.path) / "episodes").glob("*.json")):
        try:
            finished = read_episode(path)
        except SekftError:
            continue  # half of an episode decides nothing
        subject = str(finished.trajectory.meta.get("subject", ""))
        out.setdefault(f"{info.id}/{subject}", []).append(finished)
    return dict(out)
