"""Batched decoding for sessions: many rows share each step, each keeps its cache between turns.

Only new ids are fed: what an environment turn adds, then one id per step and row. Every row has its
true positions, whatever the batch around it. Works with any causal language model of transformers
that takes ``position_ids``, a 4-D mask and a cache, adapters and 4-bit bases included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from sekft_engine.errors import Interrupted, JobFailed, Unavailable
from sekft_engine.evaluate.kv import SlotCache

if TYPE_CHECKING:
    from torch import Generator, Tensor

#: A pass over new ids is split where padding would add more than this share of real tokens.
PADDING = 0.25
#: Ids in one pass, padding included: bounds the memory of activations.
PASS_TOKENS = 2048


class Sampled(msgspec.Struct, frozen=True):
    """One command turn as sampled: ``ids`` without the stop id; ``stop`` None = cut by the cap."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop: int | None


class _Row:
    """One row: ``length`` of its ids lie in the cache, ``pending`` do not yet."""

    def __init__(self, generator: Generator | None) -> None:
        self.length = 0
        self.pending: list[int] = []
        self.generator = generator


class BatchedDecoder:
    """Decodes turns of up to any number of rows on one model.

    Args:
        model: a causal language model in ``eval`` mode; its active adapter is used as it stands.
        stop_ids: ids that close a command turn.
        temperature: 0 = greedy; else each row samples from its own seeded generator, so that
            the batch around it does not change its draws.
        cancelled: asked between steps; true raises :class:`Interrupted`.
    """

    def __init__(
        self,
        model: Any,
        *,
        stop_ids: Sequence[int],
        temperature: float = 0.0,
        cancelled: Callable[[], bool] = lambda: False,
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
        self._additive = kind == "eager"
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

        generator = torch.Generator().manual_seed(seed) if self._temperature > 0 else None
        self._rows[key] = _Row(generator)

    def drop(self, keys: Sequence[str]) -> None:
        """Let rows go; their cache is freed."""
        import torch

        gone = set(keys)
        stay = [at for at, key in enumerate(self._rows) if key not in gone]
        self._rows = {key: row for key, row in self._rows.items() if key not in gone}
        if not self._rows:
            self._cache = SlotCache()
        elif self._cache.keys:
            held = [at for at in stay if at < self._cache.keys[0].shape[0]]
            self._cache.keep(torch.tensor(held, device=self._device))

    def turns(
        self,
        feeds: Mapping[str, Sequence[int]],
        room: Mapping[str, int],
        step: Callable[[int, int], None] = lambda _open, _done: None,
    ) -> dict[str, Sampled]:
        """Feed new ids to rows and decode one command turn of each.

        Args:
            feeds: row -> the ids that follow what the row holds (never empty).
            room: row -> most ids it may sample, stop id included.
            step: called after each step with the number of open rows and of steps.

        Returns:
            row -> its turn. The turn's ids (and its stop id) belong to the row from now on.
        """
        import torch

        with torch.inference_mode():
            for key, ids in feeds.items():
                self._rows[key].pending.extend(ids)
            logits = self._prefill(list(feeds))
            ids_of: dict[str, list[int]] = {key: [] for key in feeds}
            logprobs: dict[str, list[float]] = {key: [] for key in feeds}
            stops: dict[str, int | None] = {}
            done = 0
            while True:
                open_keys = list(logits)
                chosen = self._choose(open_keys, torch.stack([logits[key] for key in open_keys]))
                for key, (token, logprob) in zip(open_keys, chosen, strict=True):
                    self._rows[key].pending.append(token)
                    logprobs[key].append(logprob)
                    if token in self._stops:
                        stops[key] = token
                        continue
                    ids_of[key].append(token)
                    if len(ids_of[key]) >= room[key]:
                        stops[key] = None
                done += 1
                open_keys = [key for key in open_keys if key not in stops]
                step(len(open_keys), done)
                if not open_keys:
                    break
                self._heed()
                logits = self._advance(open_keys)
        return {key: Sampled(tuple(ids_of[key]), tuple(logprobs[key]), stops[key]) for key in feeds}

    def _heed(self) -> None:
        if self._cancelled():
            raise Interrupted("eval stopped", mend="run it again with --resume to go on")

    def _prefill(self, keys: list[str]) -> dict[str, Tensor]:
        """Feed what is pending, in passes of rows of similar length; logits at each row's end."""
        out: dict[str, Tensor] = {}
        for group in _groups({key: len(self._rows[key].pending) for key in keys}):
            self._heed()
            group.sort(key=list(self._rows).index)
            width = max(len(self._rows[key].pending) for key in group)
            piece = max(1, PASS_TOKENS // len(group))
            # Long feeds go in pieces; only the last piece holds the row ends that give logits.
            first = width % piece or piece
            for end in range(first, width + 1, piece):
                logits = self._pass(group, {key: self._take(key, width - end) for key in group})
            out |= {key: logits[at] for at, key in enumerate(group)}
        return out

    def _take(self, key: str, leave: int) -> list[int]:
        """Remove all but the last ``leave`` pending ids of a row and return them."""
        pending = self._rows[key].pending
        cut = max(0, len(pending) - leave)
        taken, pending[:] = pending[:cut], pending[cut:]
        return taken

    def _advance(self, keys: list[str]) -> dict[str, Tensor]:
        """One decode step over ``keys``. Where few rows wait it feeds all rows (the waiting ones
        put a filler into their bin), which spares a copy of the cache; else only the open ones."""
        wanted = set(keys)
        rows = list(self._rows) if 2 * len(keys) > len(self._rows) else keys
        logits = self._pass(
            rows, {key: self._take(key, 0) if key in wanted else [] for key in rows}
        )
        return {key: logits[at] for at, key in enumerate(rows) if key in wanted}

    def _pass(self, keys: list[str], ids: Mapping[str, list[int]]) -> Tensor:
        """One forward pass, rows padded on the left. Returns logits ``[rows, vocabulary]``."""
        import torch

        order = {key: at for at, key in enumerate(self._rows)}
        width = max(1, *(len(ids[key]) for key in keys))
        tokens = torch.full((len(keys), width), self._filler)
        slots = torch.zeros((len(keys), width), dtype=torch.long)
        for at, key in enumerate(keys):
            row, new = self._rows[key], ids[key]
            if new:
                tokens[at, -len(new) :] = torch.tensor(new)
                slots[at, -len(new) :] = torch.arange(row.length, row.length + len(new)) + 1
                row.length += len(new)
                self.fed += len(new)
        span = max(2, int(slots.max()) + 1, *(self._rows[key].length + 1 for key in keys))
        tokens, slots = tokens.to(self._device), slots.to(self._device)
        everyone = keys == list(self._rows)
        rows = None if everyone else torch.tensor([order[key] for key in keys], device=self._device)
        self._cache.aim(len(self._rows), rows, slots, span)
        column = torch.arange(span, device=self._device)
        # A token sees slots 1 .. its own; padding (slot 0) sees the bin alone.
        seen = (column <= slots[..., None]) & ((column > 0) | (slots[..., None] == 0))
        mask: Tensor = seen[:, None]
        if self._additive:
            dtype = next(self._model.parameters()).dtype
            floor = torch.finfo(dtype).min
            mask = torch.zeros(mask.shape, dtype=dtype, device=self._device).masked_fill(
                ~mask, floor
            )
        result = self._model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=(slots - 1).clamp(min=0),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = result.logits[:, -1].float()
        return logits

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


def _groups(lengths: Mapping[str, int]) -> list[list[str]]:
    """Rows to be fed together: sorted by length, cut where padding would cost too much."""
    groups: list[list[str]] = []
    real = 0
    for key in sorted(lengths, key=lambda key: lengths[key]):
        padded = lengths[key] * (len(groups[-1]) + 1) if groups else 0
        if not groups or padded > (1 + PADDING) * (real + lengths[key]):
            groups.append([])
            real = 0
        groups[-1].append(key)
        real += lengths[key]
    return groups
