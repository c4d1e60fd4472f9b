"""Rows as one stream of tokens: no padding, and what rows begin with in common is there once.

A row is a path through the stream: the pieces that it shares with rows before it, then its own. A
token sees the tokens before it on its path, and no others, so the result is that of the row alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from sekft_engine.render.row import IntArray
from sekft_engine.sft.data import TrainRow

Indices = npt.NDArray[np.int64]

#: Shorter beginnings are not worth the bookkeeping.
LEAST_SHARED = 16


class Piece(NamedTuple):
    """Tokens ``start`` to ``end`` of what row ``owner`` adds to the stream."""

    owner: int
    start: int
    end: int


class Paths(msgspec.Struct, frozen=True):
    """Where the rows of a stream lie in it: how many tokens each adds, and the pieces of others
    that come before these."""

    own: tuple[int, ...]
    shared: tuple[tuple[Piece, ...], ...]

    def length(self, row: int) -> int:
        return self.own[row] + sum(piece.end - piece.start for piece in self.shared[row])


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """One forward pass over rows.

    ``ids`` are [B, T]; the trained tokens are ``targets`` [N], predicted at ``rows``, ``columns``
    [N] of ``ids``, and belong to the rows ``owners`` [N]. Of a stream (B = 1), ``positions`` [1, T]
    are the places of its tokens in their rows.
    """

    ids: Indices
    rows: Indices
    columns: Indices
    targets: Indices
    owners: Indices
    positions: Indices | None = None
    paths: Paths | None = None


def pad(rows: Sequence[TrainRow]) -> Batch:
    """Rows side by side, padded on the right: no token looks ahead, so padding changes no result
    and needs no attention mask."""
    longest = max(len(row) for row in rows)
    ids = np.zeros((len(rows), longest), dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row.ids
    owners, columns = _owners(rows), np.concatenate([row.at for row in rows]).astype(np.int64)
    return Batch(
        ids=ids[:, : longest - 1],  # the last token of the longest row is only ever a target
        rows=owners,
        columns=columns,
        targets=ids[owners, columns + 1],
        owners=owners,
    )


def pack(rows: Sequence[TrainRow], least_shared: int = LEAST_SHARED) -> Batch:
    """Rows one after another, each without what it begins with in common with one before it."""
    texts = [row.ids[:-1] for row in rows]  # the last token is only ever a target
    places: list[Indices] = []
    shared: list[tuple[Piece, ...]] = []
    own: list[int] = []
    for number, text in enumerate(texts):
        commons = [common_tokens(text, other) for other in texts[:number]]
        common = max(commons, default=0)
        before: tuple[Piece, ...] = ()
        place = np.zeros(0, dtype=np.int64)
        if common >= max(1, least_shared):
            other = commons.index(common)
            before = _first((*shared[other], Piece(other, 0, own[other])), common)
            place = places[other][:common]
        added = len(text) - len(place)
        places.append(np.concatenate([place, sum(own) + np.arange(added)]))
        shared.append(before)
        own.append(added)
    new = [text[len(text) - added :] for text, added in zip(texts, own, strict=True)]
    starts = [len(text) - added for text, added in zip(texts, own, strict=True)]
    columns = np.concatenate([place[row.at] for place, row in zip(places, rows, strict=True)])
    return Batch(
        ids=np.concatenate(new)[None].astype(np.int64),
        rows=np.zeros_like(columns),
        columns=columns,
        targets=np.concatenate([row.ids[row.at + 1] for row in rows]).astype(np.int64),
        owners=_owners(rows),
        positions=np.concatenate(
            [np.arange(start, start + added) for start, added in zip(starts, own, strict=True)]
        )[None],
        paths=Paths(tuple(own), tuple(shared)),
    )


def _owners(rows: Sequence[TrainRow]) -> Indices:
    return np.repeat(np.arange(len(rows)), [row.trained for row in rows])


def common_tokens(one: IntArray, other: IntArray) -> int:
    """How many tokens both begin with."""
    least = min(len(one), len(other))
    differ = np.flatnonzero(one[:least] != other[:least])
    return int(differ[0]) if len(differ) else least


def _first(pieces: tuple[Piece, ...], tokens: int) -> tuple[Piece, ...]:
    """The pieces that make up the first ``tokens`` tokens of a path."""
    found = []
    for owner, start, end in pieces:
        taken = min(tokens, end - start)
        if taken:
            found.append(Piece(owner, start, start + taken))
        tokens -= taken
    return tuple(found)
