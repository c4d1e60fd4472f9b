"""Statistics of what would be trained on, as far as the data set is certified."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from sekft_engine.maskview.report import Lengths
from sekft_tui.library.scan import UNKNOWN
from sekft_tui.library.verdicts import PASSES, Verdicts, dropped

if TYPE_CHECKING:
    from sekft_engine.sources import Index

#: Archetypes or providers that are listed, the most frequent first.
MOST_KINDS = 200
#: Bars of the histogram of lengths.
BARS = 8


class Kind(msgspec.Struct, frozen=True):
    """How many trajectories of one kind there are, and how many of them are trained on."""

    name: str
    total: int
    kept: int


class Bar(msgspec.Struct, frozen=True):
    """Kept rows of ``low`` to ``high`` tokens, ``high`` excluded."""

    low: int
    high: int
    count: int


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts over the ``certified`` of ``total`` trajectories, what could not be read among both.

    Lengths are those of kept rows, in tokens; they, ``tokens`` and ``trained`` are 0 if no row is
    kept.
    """

    total: int
    certified: int
    kept: int
    dropped: dict[str, int]
    tokens: int
    trained: int
    length: Lengths
    lengths: tuple[Bar, ...]
    archetypes: tuple[Kind, ...]
    providers: tuple[Kind, ...]
    notes: dict[str, int] = {}
    passed_over: dict[str, int] = {}


def statistics(index: Index, verdicts: Verdicts) -> Statistics:
    """Statistics of what is certified so far."""
    total = min(len(index), len(verdicts.codes))
    codes = verdicts.codes[:total]
    passes = codes == PASSES
    lengths = np.sort(verdicts.tokens[:total][passes])
    kept = len(lengths)
    unread = sum(index.dropped.values()) if index.complete else 0
    return Statistics(
        total=len(index) + unread,
        certified=int(np.count_nonzero(codes != UNKNOWN)) + unread,
        kept=kept,
        dropped=dropped(index, verdicts),
        tokens=int(lengths.sum(dtype=np.int64)),
        trained=int(verdicts.trained[:total][passes].sum(dtype=np.int64)),
        length=Lengths.of(lengths),
        lengths=histogram(lengths),
        archetypes=_kinds(index, "archetype", codes),
        providers=_kinds(index, "provider", codes),
        notes=dict(verdicts.notes.most_common()),
        passed_over=index.passed_over,
    )


def histogram(lengths: npt.NDArray[np.int32]) -> tuple[Bar, ...]:
    """Sorted ``lengths`` in at most :data:`BARS` bars of a round width."""
    if not len(lengths):
        return ()
    low, high = int(lengths[0]), int(lengths[-1]) + 1
    step = _round_up((high - low) / BARS)
    start = low - low % step
    edges = list(range(start, high + step, step))
    places = np.searchsorted(lengths, edges)
    return tuple(
        Bar(left, right, int(b - a))
        for left, right, a, b in zip(edges, edges[1:], places, places[1:], strict=False)
        if left < high
    )


def _round_up(width: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50 …"""
    unit = 1
    while True:
        for factor in (1, 2, 5):
            if factor * unit >= width:
                return factor * unit
        unit *= 10


def _kinds(index: Index, field: str, codes: npt.NDArray[np.uint8]) -> tuple[Kind, ...]:
    kinds, words = index.codes(field)
    kinds = kinds[: len(codes)]
    codes = codes[: len(kinds)]
    totals = np.bincount(kinds[codes != UNKNOWN], minlength=len(words))
    kept = np.bincount(kinds[codes == PASSES], minlength=len(words))
    counts: dict[str, tuple[int, int]] = {}
    for code in np.argsort(-totals, kind="stable")[:MOST_KINDS].tolist():
        if totals[code]:
            total, passing = counts.get(words[code], (0, 0))  # a word may have two codes
            counts[words[code]] = (total + int(totals[code]), passing + int(kept[code]))
    found = [Kind(name, total, passing) for name, (total, passing) in counts.items()]
    return tuple(sorted(found, key=lambda kind: (-kind.total, kind.name)))
