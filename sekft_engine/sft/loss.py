"""The loss, with logits only where a token is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from sekft_engine.sft.attention import packed_attention
from sekft_engine.sft.compiled import compiled_blocks
from sekft_engine.sft.cross_entropy import head_losses, logit_losses
from sekft_engine.sft.data import TrainRow
from sekft_engine.sft.fused import fused_layers
from sekft_engine.sft.last_block import WANTED, Places, short_last_block
from sekft_engine.sft.packing import Batch, Indices, pack, pad
from sekft_engine.sft.recompute import recomputed_blocks

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel


class Selected:
    """The cheapest right way to a model's losses at chosen places.

    That is the decoder over a stream of packed rows, its last block and the head at the chosen
    places alone. A model whose packed rows are not what they are alone, whose last block is none of
    that kind, or that does more to its logits than the head (scaling, soft caps), is noticed by
    comparing once: it is asked for more.

    Used as a context, it holds for backward passes too, where layers are computed again.
    ``recompute`` has all of them computed again, ``compiles`` has them compiled unless they are
    computed again; both hold from the next time a context begins.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.recompute = self.compiles = False
        self._compiled: dict[Any, Any] = {}
        self.head = model.get_output_embeddings()
        self.by_head = True
        self.packs = self.shortens = False
        self._depth = 0
        self._within = ExitStack()

    def __enter__(self) -> None:
        if not self._depth:
            with ExitStack() as stack:
                stack.enter_context(self._layers())
                if self.packs:
                    stack.enter_context(packed_attention(self.model))
                if self._short():
                    stack.enter_context(short_last_block(self.model))
                if self.recompute:
                    stack.enter_context(recomputed_blocks(self.model))
                self._within = stack.pop_all()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._within.close()

    def losses(self, batch: Batch) -> Tensor:
        """Cross-entropy of the batch's trained tokens, in nats [N]."""
        targets = self._tensor(batch.targets)
        if self.by_head:
            return head_losses(self.hidden(batch), self.head, targets)
        return logit_losses(self.logits(batch), targets)

    def hidden(self, batch: Batch) -> Tensor:
        """What the head is given at the chosen places [N, D]."""
        places = Places(self._tensor(batch.rows), self._tensor(batch.columns))
        options = {WANTED: places} if self._short() and batch.paths is not None else {}
        states: Tensor = self._ask(self.model.base_model, batch, **options).last_hidden_state
        return states[0] if options else places.of(states)[0]

    def logits(self, batch: Batch) -> Tensor:
        """The model's own logits at the chosen places [N, V]."""
        keep, place = np.unique(batch.columns, return_inverse=True)
        logits = self._ask(self.model, batch, logits_to_keep=self._tensor(keep)).logits
        chosen: Tensor = logits[self._tensor(batch.rows), self._tensor(place)]
        return chosen

    def _ask(self, model: Any, batch: Batch, **options: Any) -> Any:
        ids = self._tensor(batch.ids)
        if batch.paths is None:
            with self._layers():
                return model(input_ids=ids, use_cache=False, **options)
        options |= {"position_ids": self._tensor(batch.positions), "packed_paths": batch.paths}
        with self:
            return model(input_ids=ids, use_cache=False, **options)

    def _short(self) -> bool:
        return self.packs and self.shortens and not self._compiling()

    def _compiling(self) -> bool:
        import torch

        return self.compiles and not self.recompute and torch.is_grad_enabled()

    def _layers(self) -> AbstractContextManager[None]:
        """How the layers compute. A compiler knows no oneDNN products of weights that are given."""
        if self._compiling():
            return compiled_blocks(self.model, self._compiled)
        return fused_layers(self.model)

    def _tensor(self, values: Indices | None) -> Tensor:
        import torch

        device = next(self.model.parameters()).device
        return torch.from_numpy(np.ascontiguousarray(values)).to(device)


def token_losses(
    selected: Selected, rows: Sequence[TrainRow], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of every trained token, in nats [N], and the row each belongs to [N]."""
    import torch

    batch = pack(rows) if selected.packs else pad(rows)
    return selected.losses(batch), torch.from_numpy(batch.owners).to(device)


def selected_logits(model: PreTrainedModel) -> Selected:
    """:class:`Selected` for ``model``, by comparing what it gives in each way."""
    import torch

    selected = Selected(model)
    rows = _probe_rows(model.config.get_text_config().vocab_size)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            padded = selected.logits(pad(rows))
            selected.by_head = _alike(selected.head(selected.hidden(pad(rows))), padded)
            stream = pack(rows, least_shared=2)
            selected.packs = _holds(selected, "packs", selected.logits, stream, padded)
            if selected.packs and selected.by_head:
                ask = lambda batch: selected.head(selected.hidden(batch))  # noqa: E731
                selected.shortens = _holds(selected, "shortens", ask, stream, padded)
    finally:
        model.train(training)
    return selected


def _holds(
    selected: Selected, saving: str, ask: Callable[[Batch], Tensor], batch: Batch, wanted: Tensor
) -> bool:
    """Whether ``ask`` gives what is wanted with this saving, which is left in use."""
    setattr(selected, saving, True)
    try:
        return _alike(ask(batch), wanted)
    except (NotImplementedError, AttributeError, TypeError, ValueError, RuntimeError):
        return False


def _probe_rows(vocabulary: int) -> list[TrainRow]:
    """Three rows, the last of which begins as the first does."""
    texts = (range(1, 12), range(20, 27), (1, 2, 3, 4, 9, 8, 7, 6, 5))
    return [
        TrainRow(
            id="",
            ids=np.array(list(text), dtype=np.int32) % vocabulary,
            at=np.arange(2, len(text) - 1, dtype=np.int32),
        )
        for text in texts
    ]


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether these differ by rounding only. (Where rows see each other, or a head is not all,
    they differ about as much as logits do among themselves.)"""
    import torch

    exact = one.dtype in (torch.float32, torch.float64)
    one, other = one.double(), other.double()
    apart = float((one - other).square().mean().sqrt())
    return apart <= (1e-3 if exact else 5e-2) * max(float(other.std()), 1e-6)
