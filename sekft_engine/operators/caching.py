"""Batched decoding for requests that come and go: finished rows stay as a cache of prompts.

A client of a server sends the whole session each time. So the keys and values of a finished row
are kept, and a new row takes over those of the longest beginning that it has in common with one of
them. What may be shared is decided by the digest of the adapter and by the ids alone, never by a
name. Long prompts go in pieces, one in each step, so that no step takes long.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from sekft_engine.operators.decode import SHARED, BatchedDecoder, BatchRow, common_prefix
from sekft_engine.operators.decoder import Acting, SampledTurn, Sampling, Top, likeliest

if TYPE_CHECKING:
    from torch import Tensor

#: Most ids of prompts that one step feeds.
PIECE = 256


class Scores(msgspec.Struct):
    """The log-probabilities of the ids of a prompt, from the second on.

    Attributes:
        top: number of likeliest ids that are wanted at each place.
        logprobs: of each id.
        likeliest: the likeliest ids at each place.
    """

    top: int
    logprobs: list[float] = msgspec.field(default_factory=list)
    likeliest: list[Top] = msgspec.field(default_factory=list)


class CachedRow(BatchRow):
    """A row of a :class:`CachingDecoder`.

    Attributes:
        ids: all that are in the cache.
        scores: those of its prompt; None = they are not wanted.
        shared: number of ids that were taken over from other rows.
    """

    def __init__(self, at: int, acting: Acting, sampling: Sampling, seed: int) -> None:
        super().__init__(at, acting, sampling, seed)
        self.ids: list[int] = []
        self.scores: Scores | None = None
        self.shared = 0


class CachingDecoder(BatchedDecoder):
    """Decodes rows that come and go, and keeps finished ones as a cache.

    Args:
        model, options: as of :class:`~sekft_engine.operators.decoder.Decoder`.
        rows: most rows, those that are kept included.
    """

    def __init__(self, model: Any, *, rows: int, **options: Any) -> None:
        super().__init__(model, **options)
        self._most = rows
        self._names = itertools.count()
        self._kept: list[str] = []  # in the order in which they were used

    def drop(self, keys: Sequence[str]) -> None:
        self._kept = [key for key in self._kept if key not in keys]
        super().drop(keys)

    def retire(self, key: str) -> None:
        """End row ``key``, and keep what is in the cache for rows that begin alike."""
        if key not in self._rows:
            return
        row = self._row_of(key)
        if row.length < SHARED:
            self.drop([key])
            return
        del self._rows[key]
        row.room, row.pending, row.turn = 0, [], []
        name = f"kept {next(self._names)}"
        self._rows[name] = row
        self._kept.append(name)

    def feed(self, key: str, ids: Sequence[int], room: int) -> None:
        row = self._row_of(key)
        super().feed(key, ids, room)
        if not row.length:
            if row.scores is None:
                self._take_over(row)
            self._make_room(row)

    def score(self, key: str, ids: Sequence[int], room: int, top: int) -> None:
        """Open a turn of the empty row ``key`` as :meth:`feed`, and score the prompt ``ids``.

        Args:
            room: most ids of the turn; 0 = none, only the prompt is scored.
            top: number of likeliest ids that are wanted at each place.
        """
        self._row_of(key).scores = Scores(top)
        self.feed(key, ids, room)

    def scored(self, key: str) -> Scores | None:
        """The scores of the prompt of row ``key``; None = there are more to come, or none."""
        row = self._row_of(key)
        return row.scores if row.scores is not None and len(row.pending) <= 1 else None

    def shared(self, key: str) -> int:
        """The number of ids of row ``key`` that did not go through the model again."""
        return self._row_of(key).shared

    def _row(self, acting: Acting, sampling: Sampling, seed: int) -> CachedRow:
        row = super()._row(acting, sampling, seed)
        return CachedRow(row.at, acting, sampling, seed)

    def _row_of(self, key: str) -> CachedRow:
        row = self._rows[key]
        if not isinstance(row, CachedRow):
            raise TypeError(key)
        return row

    def _known(self, row: BatchRow) -> Sequence[int]:
        return row.ids if isinstance(row, CachedRow) else row.prompt

    def _take_over(self, row: CachedRow) -> None:
        """Let ``row`` have the place of the kept row that begins most alike.

        Where less than half of that row is of use, it stays, and its beginning is copied later.
        """
        alike = {
            key: common_prefix(row.prompt, self._row_of(key).ids)
            for key in self._kept
            if self._rows[key].acting.digest == row.acting.digest
        }
        best = max(alike, key=lambda key: alike[key], default=None)
        if best is None or alike[best] < SHARED:
            return
        kept = self._row_of(best)
        if 2 * alike[best] < kept.length:
            return
        count = row.length = row.shared = min(alike[best], kept.length)
        row.at, row.ids = kept.at, kept.ids[:count]
        del row.pending[:count]
        self.drop([best])

    def _make_room(self, row: CachedRow) -> None:
        """Let go of kept rows where there are too many, and of the place of one for ``row``."""
        while self._kept and len(self._rows) > self._most:
            self.drop([self._kept[0]])
        if not row.length:
            row.at = -1
            row.at = self._free_place()

    def _share_prefix(self, key: str, fresh: Sequence[str]) -> None:
        row = self._row_of(key)
        if row.scores is not None:
            return  # each of its ids must go through the model
        before = len(row.pending)
        super()._share_prefix(key, fresh)
        if row.length and not row.ids:  # copied from another row
            row.shared = before - len(row.pending)
            row.ids = row.prompt[: row.length]

    def _due(self) -> list[str]:
        due, left = [], PIECE
        for key in [key for key in self._rows if key not in self._kept]:
            row = self._row_of(key)
            if row.room and row.turn:
                due.append(key)
                continue
            if row.scores is not None and len(row.pending) > 1:
                left -= self._score(key, row, min(left, len(row.pending) - 1))
                continue
            if not row.room:
                continue
            if not row.length and left:
                self._share_prefix(key, ())
            if len(row.pending) <= left:
                left -= len(row.pending)
                due.append(key)
            elif left:
                count = min(left, len(row.pending) - 1)
                self._check_cancelled()
                self._pass({key: self._take(key, len(row.pending) - count)})
                left -= count
        return due

    def _score(self, key: str, row: CachedRow, count: int) -> int:
        """Feed the next ``count`` ids of a prompt, and score the ids that follow them."""
        if count <= 0 or row.scores is None:
            return 0
        self._check_cancelled()
        ids = self._take(key, len(row.pending) - count)
        logits = self._forward({key: ids}, keep=count)[0]
        following = [*ids[1:], row.pending[0]]
        row.scores.logprobs += _logprobs(logits, following)
        if row.scores.top:
            row.scores.likeliest += likeliest(logits, row.scores.top)
        return count

    def _forward(self, ids: Any, keep: int = 1) -> Tensor:
        logits = super()._forward(ids, keep)
        for key, new in ids.items():
            self._row_of(key).ids += new
        return logits

    def step(self) -> dict[str, SampledTurn]:
        done = super().step()
        for key in [key for key in self._rows if key not in self._kept]:
            row = self._row_of(key)
            if row.scores is not None and not row.room and not row.turn and len(row.pending) == 1:
                done.setdefault(key, SampledTurn((), (), None))
        return done


def _logprobs(logits: Tensor, ids: Sequence[int]) -> list[float]:
    """The log-probability of each of ``ids`` by its row of ``logits``, ``[ids, vocabulary]``."""
    import torch

    index = torch.tensor(ids, device=logits.device)
    found: list[float] = (logits.gather(-1, index[:, None])[:, 0] - logits.logsumexp(-1)).tolist()
    return found
