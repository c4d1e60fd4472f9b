"""Runs of one experiment, improvement or sweep, listed under it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sekft_engine.records.runs import RunInfo

#: Runs that have runs of their own, whose ids begin with theirs.
_WHOLE = ("experiment", "improve", "sweep")


class ListedRun(NamedTuple):
    """A run in the list: ``depth`` is how many runs it is part of, ``name`` what it adds to the id
    of the run that it is part of, and ``whole`` the id of the outermost of them."""

    run: RunInfo
    name: str
    depth: int
    whole: str

    def short(self, text: str) -> str:
        """``text`` without the beginning that the ids of all runs of one whole share."""
        return text.replace(f"{self.whole}-", "") if self.depth else text


def grouped(runs: Sequence[RunInfo]) -> list[ListedRun]:
    """The runs, newest first; those that are part of another follow it in the order of their
    beginning.

    Args:
        runs: all of them, oldest first.
    """
    parts: dict[str, list[RunInfo]] = {}
    alone: list[RunInfo] = []
    wholes = [run.id for run in runs if run.kind in _WHOLE]
    for run in runs:
        owners = [whole for whole in wholes if run.id.startswith(f"{whole}-")]
        if owners:
            parts.setdefault(max(owners, key=len), []).append(run)
        else:
            alone.append(run)
    out: list[ListedRun] = []

    def add(run: RunInfo, owner: str, depth: int, whole: str) -> None:
        name = run.id.removeprefix(f"{owner}-") if owner else run.id
        out.append(ListedRun(run, name, depth, whole))
        for part in sorted(parts.get(run.id, ()), key=lambda each: (each.created, each.id)):
            add(part, run.id, depth + 1, whole)

    for run in reversed(alone):
        add(run, "", 0, run.id)
    return out
