"""Batched decoding of sessions: many rows share each step, each keeps its cache between turns.

Rows join and leave between any two steps (continuous batching). Only new ids are fed: those of an
environment turn, then one id per step and row; a prefix that two prompts have in common is fed
once. Every row has its true positions, whatever the batch around it. It works with any causal
language model of transformers that takes ``position_ids``, a 4-D mask and a cache, with adapters
and 4-bit bases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sekft_engine.core.errors import Unavailable
from sekft_engine.operators.decoder import Acting, Decoder, Row, SampledTurn, Sampling
from sekft_engine.operators.kv import SlotCache
from sekft_engine.operators.windows import windows_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BatchedDecoder", "SampledTurn"]

#: The fixed cost of a pass, in ids: rows are fed in separate passes where padding would cost more.
PASS_COST = 48
#: Most ids in one pass, padding included: bounds the memory of activations.
PASS_TOKENS = 2048
#: A common prefix of at least ``SHARED`` ids is copied from another row. For rows that start
#: together it is fed first, which takes one more pass, where that saves ``AHEAD`` ids or more.
SHARED, AHEAD = 8, 64


class BatchRow(Row):
    """One row of the batch.

    Attributes:
        at: its index in the cache.
        length: number of its ids in the cache.
        prompt: the ids that it was first fed.
    """

    def __init__(self, at: int, acting: Acting, sampling: Sampling, seed: int) -> None:
        super().__init__(acting, sampling, seed)
        self.at = at
        self.length = 0
        self.prompt: list[int] = []


class BatchedDecoder(Decoder[BatchRow]):
    """Decodes turns of any number of rows on one model, many rows in each pass.

    Args:
        model, options: as of :class:`Decoder`.
    """

    def __init__(self, model: Any, **options: Any) -> None:
        super().__init__(model, **options)
        kind = getattr(model.config.get_text_config(), "_attn_implementation", "sdpa")
        if kind not in ("sdpa", "eager"):
            raise Unavailable(
                f"attention {kind!r} takes no mask per row", mend="load the base with sdpa"
            )
        self._filler = min(self._stops)
        self._additive = kind == "eager"
        self._windows = windows_of(model.config)
        self._cache = SlotCache()

    def length(self, key: str) -> int:
        """The number of ids of row ``key`` so far, with those that are not yet in the cache."""
        row = self._rows.get(key)
        return row.length + len(row.pending) if row else 0

    def _row(self, acting: Acting, sampling: Sampling, seed: int) -> BatchRow:
        return BatchRow(self._free_place(), acting, sampling, seed)

    def _free_place(self) -> int:
        """The lowest index in the cache that no row has."""
        taken = {row.at for row in self._rows.values()}
        return next(at for at in range(len(taken) + 1) if at not in taken)

    def drop(self, keys: Sequence[str]) -> None:
        """Remove rows; later rows take their places. With the last row the cache is freed."""
        super().drop(keys)
        if not self._rows:
            self._cache = SlotCache()

    def feed(self, key: str, ids: Sequence[int], room: int) -> None:
        row = self._rows[key]
        if not row.length:
            row.prompt = list(ids)
        super().feed(key, ids, room)

    def _logits(self, keys: Sequence[str]) -> Mapping[str, Tensor]:
        logits = self._prefill([key for key in keys if not self._rows[key].turn])
        if others := [key for key in keys if key not in logits]:
            logits |= self._advance(others)
        return logits

    def _prefill(self, keys: list[str]) -> dict[str, Tensor]:
        """Feed all pending ids, in passes of rows of similar length.

        Returns:
            The logits at each row's last id, ``[vocabulary]``.
        """
        out: dict[str, Tensor] = {}
        for first in [key for key in keys if not self._rows[key].length]:
            self._share_prefix(first, keys)
        for group in _groups({key: len(self._rows[key].pending) for key in keys}):
            self._check_cancelled()
            logits = self._feed_all(group)
            out |= {key: logits[at] for at, key in enumerate(group)}
        return out

    def _share_prefix(self, key: str, fresh: Sequence[str]) -> None:
        """Copy the longest prefix that the prompt of row ``key`` has in common with another row of
        the same adapter.

        Where several rows start together, their common prefix is fed for the first alone.
        """
        row = self._rows[key]
        others = {
            other: common_prefix(row.prompt, self._known(self._rows[other]))
            for other in self._rows
            if other != key and self._rows[other].acting.digest == row.acting.digest
        }
        source = max(
            (other for other in others if self._rows[other].length),
            key=lambda other: others[other],
            default=None,
        )
        if source is not None and others[source] >= SHARED:
            row.length = min(others[source], self._rows[source].length)
            self._cache.copy(self._rows[source].at, row.at, row.length)
            del row.pending[: row.length]
            return
        alike = [others[other] for other in fresh if others.get(other, 0) >= SHARED]
        if sum(alike) >= AHEAD:
            count = min(alike)
            rest, row.pending = row.pending[count:], row.pending[:count]
            self._feed_all([key])
            row.pending = rest

    def _known(self, row: BatchRow) -> Sequence[int]:
        """The ids of ``row`` that another may begin with too."""
        return row.prompt

    def _feed_all(self, group: Sequence[str]) -> Tensor:
        """Feed all pending ids of ``group``, long ones in pieces.

        Returns:
            The logits at each row's last id, ``[rows, vocabulary]``.
        """
        width = max(len(self._rows[key].pending) for key in group)
        piece = max(1, PASS_TOKENS // len(group))
        for end in range(width % piece or piece, width + 1, piece):
            logits = self._pass({key: self._take(key, width - end) for key in group})
        return logits

    def _take(self, key: str, leave: int) -> list[int]:
        """Remove all but the last ``leave`` pending ids of a row, and return those removed."""
        pending = self._rows[key].pending
        cut = max(0, len(pending) - leave)
        taken, pending[:] = pending[:cut], pending[cut:]
        return taken

    def _advance(self, keys: Sequence[str]) -> dict[str, Tensor]:
        """One decoding step of the rows ``keys``; the logits of each, ``[vocabulary]``."""
        self._check_cancelled()
        logits = self._pass({key: self._take(key, 0) for key in keys})
        return {key: logits[at] for at, key in enumerate(keys)}

    def _pass(self, ids: Mapping[str, list[int]]) -> Tensor:
        """One forward pass of new ids, padded on the left.

        Where the rows are most of a slice of the cache, the whole slice is fed, the others with
        padding alone: that saves a copy of the rows' keys and values.

        Returns:
            The logits at each row's last id, ``[rows, vocabulary]``.
        """
        return self._forward(ids)[:, -1]

    def _forward(self, ids: Mapping[str, list[int]], keep: int = 1) -> Tensor:
        """:meth:`_pass`, with the logits of the last ``keep`` ids, ``[rows, keep, vocabulary]``."""
        rows = {key: self._rows[key] for key in ids}
        places = [row.at for row in rows.values()]
        low, high = min(places), max(places) + 1
        together = 2 * len(places) > high - low
        lines = [at - low for at in places] if together else list(range(len(places)))
        count = high - low if together else len(places)
        width = max(1, *(len(new) for new in ids.values()))
        new_tokens = np.full((count, width), self._filler)
        new_slots = np.zeros((count, width), dtype=np.int64)
        for line, (key, row) in zip(lines, rows.items(), strict=True):
            if new := ids[key]:
                new_tokens[line, -len(new) :] = new
                new_slots[line, -len(new) :] = np.arange(row.length, row.length + len(new)) + 1
                row.length += len(new)
                self.fed += len(new)
        if self._mixing is not None:
            slots_of = dict(zip(lines, (row.acting.slot for row in rows.values()), strict=True))
            self._mixing.set_rows([slots_of.get(line) for line in range(count)])
        span = max(2, int(new_slots.max()) + 1)
        slots = self._device.upload(new_slots)
        self._cache.set_targets(
            1 + max(row.at for row in self._rows.values()),
            slice(low, high) if together else self._device.upload(np.array(places)),
            slots,
            span,
        )
        result = self._model(
            input_ids=self._device.upload(new_tokens),
            attention_mask=self._mask(slots, span),
            position_ids=(slots - 1).clamp(min=0),
            past_key_values=self._cache,
            use_cache=True,
            # An index gives a contiguous copy; with a slice the head's matmul is slow.
            logits_to_keep=self._device.upload(np.arange(width - keep, width)),
        )
        logits: Tensor = result.logits[:, -keep:].float()
        return logits.index_select(0, self._device.upload(np.array(lines)))

    def _mask(self, slots: Tensor, span: int) -> Tensor | dict[str, Tensor]:
        """The attention masks of a pass.

        A token attends to the slots 1 .. its own within its layer's window, padding to slot 0.

        Args:
            slots: the slot of each query, ``[rows, queries]``.
            span: number of slots.

        Returns:
            One mask ``[rows, 1, queries, span]``, or one for each kind of layer.
        """
        import torch

        keys = torch.arange(span, device=slots.device)
        windows, shortest = self._windows, self._windows.shortest
        if shortest is None or span - 1 <= shortest:
            return self._with_padding(keys <= slots[..., None], slots, keys)
        masks = {
            kind: self._with_padding(windows.causal_mask(slots[..., None], keys, kind), slots, keys)
            for kind in windows.reach
        }
        return masks if windows.named else next(iter(masks.values()))

    def _with_padding(self, mask: Tensor, slots: Tensor, keys: Tensor) -> Tensor:
        """``mask`` with slot 0 for padding alone, boolean or additive as the model takes it."""
        import torch

        mask = ((mask & (keys > 0)) | ((slots[..., None] == 0) & (keys == 0)))[:, None]
        if not self._additive:
            return mask
        dtype = next(self._model.parameters()).dtype
        zeros = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
        return zeros.masked_fill(~mask, torch.finfo(dtype).min)


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """The length of the common prefix of two prompts, without the last id, which must be fed."""
    most = min(len(a), len(b)) - 1
    return next((at for at in range(most) if a[at] != b[at]), max(0, most))


def _groups(lengths: Mapping[str, int]) -> list[list[str]]:
    """Rows to feed together, by length; split where padding would cost more than a pass."""
    groups: list[list[str]] = []
    widest = 0
    for key in sorted(lengths, key=lambda key: lengths[key]):
        if not groups or len(groups[-1]) * (lengths[key] - widest) > PASS_COST:
            groups.append([])
        groups[-1].append(key)
        widest = lengths[key]
    return groups
