"""Batched decoding for sessions: many rows share each step, each keeps its cache between turns.

Rows join and leave between any two steps. Only new ids are fed: what an environment turn adds, then
one id per step and row; what two prompts begin with in common is fed once. Every row has its true
positions, whatever the batch around it. Works with any causal language model of transformers that
takes ``position_ids``, a 4-D mask and a cache, adapters and 4-bit bases included.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import msgspec

from sekft_engine.errors import Interrupted, JobFailed, Unavailable
from sekft_engine.evaluate.kv import SlotCache
from sekft_engine.evaluate.windows import windows_of

if TYPE_CHECKING:
    from torch import Generator, Tensor

#: What a pass costs whatever it feeds, in ids: rows are fed apart where padding would cost more.
PASS_COST = 48
#: Ids in one pass, padding included: bounds the memory of activations.
PASS_TOKENS = 2048
#: A common beginning is copied from another row where it has so many ids; it is fed ahead of rows
#: that begin together, which is a pass more, where that spares so many.
SHARED, AHEAD = 8, 64


class Sampled(msgspec.Struct, frozen=True):
    """One command turn as sampled: ``ids`` without the stop id; ``stop`` None = cut by the cap."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop: int | None


class _Row:
    """One row, at index ``at`` of the cache. ``length`` of its ids lie there, ``pending`` do not
    yet; ``prompt`` is what it began with.

    ``room`` is how many ids its open turn may have, 0 = none is open; ``said`` are those it has.
    """

    def __init__(self, at: int, generator: Generator | None) -> None:
        self.at = at
        self.generator = generator
        self.length = 0
        self.prompt: list[int] = []
        self.pending: list[int] = []
        self.room = 0
        self.said: list[int] = []
        self.logprobs: list[float] = []


class BatchedDecoder:
    """Decodes turns of up to any number of rows on one model.

    Args:
        model: a causal language model in ``eval`` mode; its active adapter is used as it stands.
        stop_ids: ids that close a command turn.
        temperature: 0 = greedy; else each row samples from its own seeded generator, so that
            the batch around it does not change its draws.
        cancelled: asked between steps; true raises :class:`Interrupted`.
        kernels: a context that each pass runs in, see :mod:`sekft_engine.quick_linear`.
    """

    def __init__(
        self,
        model: Any,
        *,
        stop_ids: Sequence[int],
        temperature: float = 0.0,
        cancelled: Callable[[], bool] = lambda: False,
        kernels: AbstractContextManager[None] | None = None,
    ) -> None:
        if not stop_ids:
            raise Unavailable("the tokenizer names no end-of-turn id", mend="use an instruct base")
        kind = getattr(model.config, "_attn_implementation", "sdpa")
        if kind not in ("sdpa", "eager"):
            raise Unavailable(
                f"attention {kind!r} takes no mask per row", mend="load the base with sdpa"
            )
        self._model = model
        self._stops = frozenset(stop_ids)
        self._filler = min(self._stops)
        self._temperature = temperature
        self._cancelled = cancelled
        self._kernels = kernels or contextlib.nullcontext()
        self._additive = kind == "eager"
        self._windows = windows_of(model.config)
        self._device = next(model.parameters()).device
        self._rows: dict[str, _Row] = {}
        self._cache = SlotCache()
        self.fed = 0  #: ids that went through the model, padding left out

    def length(self, key: str) -> int:
        """Ids of row ``key`` so far, those not yet in the cache included."""
        row = self._rows.get(key)
        return row.length + len(row.pending) if row else 0

    def add(self, key: str, seed: int = 0) -> None:
        """Open an empty row; ``seed`` fixes its draws when sampling."""
        import torch

        taken = {row.at for row in self._rows.values()}
        at = next(at for at in range(len(taken) + 1) if at not in taken)
        generator = torch.Generator().manual_seed(seed) if self._temperature > 0 else None
        self._rows[key] = _Row(at, generator)

    def drop(self, keys: Sequence[str]) -> None:
        """Let rows go. Their places are taken by later rows; with the last one all is freed."""
        for key in keys:
            self._rows.pop(key, None)
        if not self._rows:
            self._cache = SlotCache()

    def feed(self, key: str, ids: Sequence[int], room: int) -> None:
        """Open a command turn of row ``key``.

        Args:
            ids: what follows what the row holds (never empty).
            room: most ids the turn may have, stop id included.
        """
        row = self._rows[key]
        if not row.length:
            row.prompt = list(ids)
        row.pending.extend(ids)
        row.room, row.said, row.logprobs = room, [], []

    def step(self) -> dict[str, Sampled]:
        """One more id for the rows with an open turn; returns the turns that are complete with it.

        A turn's ids (and its stop id) belong to the row from now on.
        """
        import torch

        with torch.inference_mode(), self._kernels:
            going = [key for key, row in self._rows.items() if row.room]
            logits = self._prefill([key for key in going if not self._rows[key].said])
            others = [key for key in going if key not in logits]
            if others:
                logits |= self._advance(others)
            return self._say(going, torch.stack([logits[key] for key in going])) if going else {}

    def turns(
        self, feeds: Mapping[str, Sequence[int]], room: Mapping[str, int]
    ) -> dict[str, Sampled]:
        """Feed these rows and decode until each has its turn."""
        for key, ids in feeds.items():
            self.feed(key, ids, room[key])
        done: dict[str, Sampled] = {}
        while not feeds.keys() <= done.keys():
            done |= self.step()
        return {key: done[key] for key in feeds}

    def _say(self, keys: list[str], logits: Tensor) -> dict[str, Sampled]:
        """Choose the next id of each row; returns the turns that it completes."""
        done: dict[str, Sampled] = {}
        for key, (token, logprob) in zip(keys, self._choose(keys, logits), strict=True):
            row = self._rows[key]
            row.pending.append(token)
            row.logprobs.append(logprob)
            stop = token if token in self._stops else None
            if stop is None:
                row.said.append(token)
            if stop is not None or len(row.said) >= row.room:
                row.room = 0
                done[key] = Sampled(tuple(row.said), tuple(row.logprobs), stop)
        return done

    def _heed(self) -> None:
        if self._cancelled():
            raise Interrupted("eval stopped", mend="run it again with --resume to go on")

    def _prefill(self, keys: list[str]) -> dict[str, Tensor]:
        """Feed what is pending, in passes of rows of similar length; logits at each row's end."""
        out: dict[str, Tensor] = {}
        for first in [key for key in keys if not self._rows[key].length]:
            self._begin(first, keys)
        for group in _groups({key: len(self._rows[key].pending) for key in keys}):
            self._heed()
            logits = self._feed_all(group)
            out |= {key: logits[at] for at, key in enumerate(group)}
        return out

    def _begin(self, key: str, fresh: Sequence[str]) -> None:
        """Take over what another row's prompt begins with in common with that of row ``key``.

        Where several begin together, the common part goes through the model for the first alone.
        """
        row = self._rows[key]
        others = {
            other: _common(row.prompt, self._rows[other].prompt)
            for other in self._rows
            if other != key
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

    def _feed_all(self, group: Sequence[str]) -> Tensor:
        """Feed all that is pending of ``group``; logits at the rows' ends.

        Long feeds go in pieces; only the last piece holds the row ends that give logits.
        """
        width = max(len(self._rows[key].pending) for key in group)
        piece = max(1, PASS_TOKENS // len(group))
        for end in range(width % piece or piece, width + 1, piece):
            logits = self._pass({key: self._take(key, width - end) for key in group})
        return logits

    def _take(self, key: str, leave: int) -> list[int]:
        """Remove all but the last ``leave`` pending ids of a row and return them."""
        pending = self._rows[key].pending
        cut = max(0, len(pending) - leave)
        taken, pending[:] = pending[:cut], pending[cut:]
        return taken

    def _advance(self, keys: Sequence[str]) -> dict[str, Tensor]:
        """One decode step over ``keys``."""
        self._heed()
        logits = self._pass({key: self._take(key, 0) for key in keys})
        return {key: logits[at] for at, key in enumerate(keys)}

    def _pass(self, ids: Mapping[str, list[int]]) -> Tensor:
        """One forward pass of new ids, padded on the left. Returns logits ``[rows, vocabulary]``.

        Where they are most of their neighbours in the cache, all of these go along, with fillers
        in their bins: that spares a copy of what the rows see.
        """
        import torch

        rows = {key: self._rows[key] for key in ids}
        places = [row.at for row in rows.values()]
        low, high = min(places), max(places) + 1
        together = 2 * len(places) > high - low
        lines = [at - low for at in places] if together else list(range(len(places)))
        count = high - low if together else len(places)
        width = max(1, *(len(new) for new in ids.values()))
        tokens = torch.full((count, width), self._filler)
        slots = torch.zeros((count, width), dtype=torch.long)
        for line, (key, row) in zip(lines, rows.items(), strict=True):
            if new := ids[key]:
                tokens[line, -len(new) :] = torch.tensor(new)
                slots[line, -len(new) :] = torch.arange(row.length, row.length + len(new)) + 1
                row.length += len(new)
                self.fed += len(new)
        span = max(2, int(slots.max()) + 1)
        tokens, slots = tokens.to(self._device), slots.to(self._device)
        self._cache.aim(
            1 + max(row.at for row in self._rows.values()),
            slice(low, high) if together else torch.tensor(places, device=self._device),
            slots,
            span,
        )
        result = self._model(
            input_ids=tokens,
            attention_mask=self._mask(slots, span),
            position_ids=(slots - 1).clamp(min=0),
            past_key_values=self._cache,
            use_cache=True,
            # An index gives a compact copy; a slice would take the head through a slow product.
            logits_to_keep=torch.tensor([width - 1], device=self._device),
        )
        logits: Tensor = result.logits[:, -1].float()
        return logits[torch.tensor(lines, device=self._device)]

    def _mask(self, slots: Tensor, span: int) -> Tensor | dict[str, Tensor]:
        """A token sees slots 1 .. its own, as far back as its layer looks; padding (slot 0) sees
        the bin alone. One mask ``[rows, 1, queries, span]``, or one for each kind of layer."""
        import torch

        column = torch.arange(span, device=self._device)
        windows, shortest = self._windows, self._windows.shortest
        if shortest is None or span - 1 <= shortest:
            return self._as_added(column <= slots[..., None], slots, column)
        masks = {
            kind: self._as_added(windows.seen(slots[..., None], column, kind), slots, column)
            for kind in windows.reach
        }
        return masks if windows.named else next(iter(masks.values()))

    def _as_added(self, seen: Tensor, slots: Tensor, column: Tensor) -> Tensor:
        """``seen`` with the bin left to padding, as the model's attention takes it."""
        import torch

        seen = ((seen & (column > 0)) | ((slots[..., None] == 0) & (column == 0)))[:, None]
        if not self._additive:
            return seen
        dtype = next(self._model.parameters()).dtype
        nothing = torch.zeros(seen.shape, dtype=dtype, device=self._device)
        return nothing.masked_fill(~seen, torch.finfo(dtype).min)

    def _choose(self, keys: list[str], logits: Tensor) -> list[tuple[int, float]]:
        """Pick one id per row from ``logits`` ``[rows, vocabulary]``, with its log-probability."""
        import torch

        if not bool(torch.isfinite(logits.amax(-1)).all()):
            raise JobFailed(
                "the model's logits are not finite", mend="train again with a lower learning rate"
            )
        if self._temperature <= 0:
            picked = logits.argmax(-1)
        else:
            shares = (logits / self._temperature).softmax(-1).cpu()
            picked = torch.stack(
                [
                    torch.multinomial(share, 1, generator=self._rows[key].generator)[0]
                    for key, share in zip(keys, shares, strict=True)
                ]
            ).to(logits.device)
        own = logits.gather(-1, picked[:, None])[:, 0] - logits.logsumexp(-1)
        return list(zip(picked.tolist(), own.tolist(), strict=True))


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids two prompts begin with in common; the last of a prompt must be fed."""
    most = min(len(one), len(other)) - 1
    return next((at for at in range(most) if one[at] != other[at]), max(0, most))


def _groups(lengths: Mapping[str, int]) -> list[list[str]]:
    """Rows to be fed together: sorted by length, cut where padding would cost more than a pass."""
    groups: list[list[str]] = []
    widest = 0
    for key in sorted(lengths, key=lambda key: lengths[key]):
        if not groups or len(groups[-1]) * (lengths[key] - widest) > PASS_COST:
            groups.append([])
        groups[-1].append(key)
        widest = lengths[key]
    return groups
