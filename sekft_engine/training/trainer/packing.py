"""Rows packed into one sequence: no padding, and a shared prefix is stored once.

The tokens of a row are segments of the packed sequence: those of earlier rows that it begins with,
then its own. A token attends to the tokens before it in its row and to no others, so the result is
that of the row alone. (Packing without cross-contamination: Krell et al. 2021, arXiv 2107.02027;
shared prefixes make of it what is called tree training.)
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from sekft_engine.model.kernels.attention import Layout, Segment
from sekft_engine.render.rows.row import IntArray
from sekft_engine.training.trainer.data import TrainRow

Indices = npt.NDArray[np.int64]

#: Shorter shared prefixes are not worth the bookkeeping.
MIN_SHARED = 16


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """One forward pass over rows: B padded rows of T tokens, or one packed sequence (B = 1).

    Attributes:
        input_ids: [B, T].
        rows, columns: [N], the places of ``input_ids`` whose next token is trained; rows with a
            shared prefix may share a place.
        targets: [N], the trained tokens.
        owners: [N], the row of each.
        position_ids: [1, T] of a packed sequence, the places of its tokens in their rows.
        layout: where the rows lie in a packed sequence; None for padded rows.
    """

    input_ids: Indices
    rows: Indices
    columns: Indices
    targets: Indices
    owners: Indices
    position_ids: Indices | None = None
    layout: Layout | None = None


def pad(rows: Sequence[TrainRow]) -> Batch:
    """Rows as a batch padded on the right.

    Attention is causal, so padding changes no result and needs no attention mask.
    """
    longest = max(len(row) for row in rows)
    input_ids = np.zeros((len(rows), longest), dtype=np.int64)
    for number, row in enumerate(rows):
        input_ids[number, : len(row)] = row.ids
    owners, columns = _owners(rows), np.concatenate([row.at for row in rows]).astype(np.int64)
    return Batch(
        input_ids=input_ids[:, : longest - 1],  # the last token of the longest row is only a target
        rows=owners,
        columns=columns,
        targets=input_ids[owners, columns + 1],
        owners=owners,
    )


def pack(rows: Sequence[TrainRow], min_shared: int = MIN_SHARED) -> Batch:
    """Rows as one packed sequence.

    A prefix of at least ``min_shared`` tokens that a row shares with an earlier one is left out.
    """
    texts = [row.ids[:-1] for row in rows]  # the last token is only a target
    places: list[Indices] = []  # of each row's tokens in the packed sequence
    prefixes: list[tuple[Segment, ...]] = []
    own: list[int] = []
    for number, text in enumerate(texts):
        common = [common_tokens(text, other) for other in texts[:number]]
        longest = max(common, default=0)
        prefix: tuple[Segment, ...] = ()
        place = np.zeros(0, dtype=np.int64)
        if longest >= max(1, min_shared):
            other = common.index(longest)
            prefix = _first_tokens((*prefixes[other], Segment(other, 0, own[other])), longest)
            place = places[other][:longest]
        added = len(text) - len(place)
        places.append(np.concatenate([place, sum(own) + np.arange(added)]))
        prefixes.append(prefix)
        own.append(added)
    starts = [len(text) - added for text, added in zip(texts, own, strict=True)]
    columns = np.concatenate([place[row.at] for place, row in zip(places, rows, strict=True)])
    own_ids = [text[start:] for text, start in zip(texts, starts, strict=True)]
    positions = [np.arange(start, len(text)) for text, start in zip(texts, starts, strict=True)]
    return Batch(
        input_ids=np.concatenate(own_ids)[None].astype(np.int64),
        rows=np.zeros_like(columns),
        columns=columns,
        targets=np.concatenate([row.ids[row.at + 1] for row in rows]).astype(np.int64),
        owners=_owners(rows),
        position_ids=np.concatenate(positions)[None],
        layout=Layout(tuple(own), tuple(prefixes)),
    )


def _owners(rows: Sequence[TrainRow]) -> Indices:
    return np.repeat(np.arange(len(rows)), [row.trained for row in rows])


def common_tokens(ids: IntArray, other: IntArray) -> int:
    """The length of the common prefix of two rows of ids."""
    shorter = min(len(ids), len(other))
    different = np.flatnonzero(ids[:shorter] != other[:shorter])
    return int(different[0]) if len(different) else shorter


def _first_tokens(segments: tuple[Segment, ...], tokens: int) -> tuple[Segment, ...]:
    """The segments that make up the first ``tokens`` tokens of ``segments``."""
    found = []
    for row, start, end in segments:
        taken = min(tokens, end - start)
        if taken:
            found.append(Segment(row, start, start + taken))
        tokens -= taken
    return tuple(found)
