"""The loss of a causal language model, with logits only where a token is trained."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from sekft_engine.core.errors import Unavailable
from sekft_engine.model.device import device_of
from sekft_engine.model.kernels.attention import packed_attention
from sekft_engine.model.kernels.compiled import compiled_layers
from sekft_engine.model.kernels.cross_entropy import (
    chunked_cross_entropy,
    cross_entropy,
)
from sekft_engine.model.kernels.fused_lora import fused_linears
from sekft_engine.model.kernels.install import Kernels, Replacement
from sekft_engine.model.kernels.recompute import recomputed_layers
from sekft_engine.model.text_layers import decoder_of
from sekft_engine.operators.windows import shortened, windows_of
from sekft_engine.training.trainer.data import TrainRow
from sekft_engine.training.trainer.packing import Batch, Indices, pack, pad

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


#: Most that logits of two ways may differ in float32: of the whole model, and of the head alone.
_PASS, _HEAD = 1e-3, 2e-5
#: The window in tokens of windowed layers while ways to compute are compared.
_WINDOW = 4


class TrainedTokenLogits:
    """Computes the losses of a model's trained tokens in the cheapest correct way.

    That is the decoder over packed rows, and the head at the trained tokens only.
    :func:`trained_token_logits` compares the result once with the model's own logits and sets
    ``packs`` and ``by_head`` accordingly: not every model can be packed, and some process their
    logits after the head (scaling, soft caps).

    Attributes:
        packs: whether rows are packed, else padded.
        by_head: whether the logits are the head's output on the last hidden states.
        recompute: whether activations are recomputed in the backward pass.
        compiles: whether the decoder layers are compiled; not if activations are recomputed.
        kernels: the context that a forward pass and its backward pass need. A change of the
            settings above takes effect when it is entered the next time.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.packs = False
        self.by_head = True
        self.recompute = self.compiles = False
        self.kernels = Kernels(self._replacements)
        self._head = model.get_output_embeddings()
        self._decoder = decoder_of(model)
        self._marks = _marks_of_images(model) if self._decoder is not model.base_model else ()
        self._compiled: dict[Any, Any] = {}

    def losses(self, batch: Batch) -> Tensor:
        """Cross-entropy of the batch's N trained tokens, in nats: [N]."""
        targets = self._tensor(batch.targets)
        if self.by_head:
            return chunked_cross_entropy(self.hidden_states(batch), self._head, targets)
        return cross_entropy(self.logits(batch), targets)

    def hidden_states(self, batch: Batch) -> Tensor:
        """The last hidden states at the trained tokens: [N, hidden]."""
        states = self._run(self._decoder, batch).last_hidden_state
        return gather_tokens(states, self._tensor(batch.rows), self._tensor(batch.columns))

    def logits_by_head(self, batch: Batch) -> Tensor:
        """The head's output on :meth:`hidden_states`: [N, vocabulary]."""
        logits: Tensor = self._head(self.hidden_states(batch))
        return logits

    def logits(self, batch: Batch) -> Tensor:
        """The model's own logits for the trained tokens: [N, vocabulary]."""
        needed, columns = np.unique(batch.columns, return_inverse=True)
        marks = {name: self._tensor(np.zeros_like(batch.input_ids)) for name in self._marks}
        logits = self._run(self.model, batch, logits_to_keep=self._tensor(needed), **marks).logits
        return gather_tokens(logits, self._tensor(batch.rows), self._tensor(columns))

    def _run(self, model: Any, batch: Batch, **options: Any) -> Any:
        if batch.layout is not None:
            options["position_ids"] = self._tensor(batch.position_ids)
            options["packed_layout"] = batch.layout
        with self.kernels:
            return model(input_ids=self._tensor(batch.input_ids), use_cache=False, **options)

    def _replacements(self) -> Iterator[Replacement]:
        import torch

        if self.compiles and not self.recompute and torch.is_grad_enabled():
            yield from compiled_layers(self.model, self._compiled)
        else:
            yield from fused_linears(self.model)
        if self.packs:
            yield from packed_attention(self.model)
        if self.recompute:
            yield from recomputed_layers(self.model)

    def _tensor(self, values: Indices | None) -> Tensor:
        place = next(self.model.parameters()).device
        return device_of(place).upload(np.ascontiguousarray(values))


def _marks_of_images(model: Any) -> tuple[str, ...]:
    """The inputs by which a model with vision tells tokens of images, 0 for text. Some demand them
    in training."""
    known = inspect.signature(model.forward).parameters
    return tuple(name for name in ("token_type_ids", "mm_token_type_ids") if name in known)


def gather_tokens(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """``values[rows, columns]`` with a deterministic gradient.

    Places that several rows share are gathered several times. The gradient of indexing sums these
    with atomic additions, in the order in which threads arrive; that of an embedding sums them in a
    fixed order.

    Args:
        values: [B, T, width].
        rows, columns: [N].

    Returns:
        [N, width].
    """
    import torch

    flat = values.reshape(-1, values.shape[-1])
    return torch.nn.functional.embedding(rows * values.shape[1] + columns, flat)


def token_losses(logits: TrainedTokenLogits, rows: Sequence[TrainRow]) -> tuple[Tensor, Tensor]:
    """Losses of the N trained tokens of ``rows``.

    Returns:
        the cross-entropy in nats [N], and the index of each token's row [N], on the CPU.
    """
    import torch

    batch = pack(rows) if logits.packs else pad(rows)
    return logits.losses(batch), torch.from_numpy(batch.owners)


class _Ways(NamedTuple):
    """What comparing has shown of a model: ``packs`` and ``by_head`` of its logits."""

    packs: bool
    by_head: bool


#: What is known of each model, by what it runs and where adapters are on it: their weights change
#: neither.
_COMPARED: WeakKeyDictionary[Any, dict[Hashable, _Ways]] = WeakKeyDictionary()


def trained_token_logits(model: PreTrainedModel) -> TrainedTokenLogits:
    """:class:`TrainedTokenLogits` of ``model``, set by comparing the results.

    They are compared once for a model and the layers that are adapted on it.
    """
    logits = TrainedTokenLogits(model)
    known = _COMPARED.setdefault(model, {})
    parts = frozenset(
        (name, type(module), vars(module).get("forward"))
        for name, module in model.named_modules()
        if ".lora_" not in name
    )
    if parts not in known:
        _compare(logits)
        known[parts] = _Ways(logits.packs, logits.by_head)
    logits.packs, logits.by_head = known[parts]
    return logits


def _compare(logits: TrainedTokenLogits) -> None:
    """Set ``packs`` and ``by_head`` as the model's own logits allow it."""
    import torch

    model = logits.model
    rows = _probe_rows(model.config.get_text_config().vocab_size)
    training = model.training
    model.eval()
    try:
        # With short windows these rows show whether packed rows are seen through them.
        with torch.no_grad(), shortened(model.config, _WINDOW, model.modules()):
            expected = logits.logits(pad(rows))
            # The hidden states are the same: only rounding in the head may differ.
            logits.by_head = _agree(logits.logits_by_head(pad(rows)), expected, _HEAD)
            if _mixes_by_attention(model):
                logits.packs = True
                logits.packs = _gives(logits.logits, pack(rows, min_shared=2), expected)
    finally:
        model.train(training)


def _mixes_by_attention(model: PreTrainedModel) -> bool:
    """Whether nothing but attention, full or in sliding windows, passes from token to token: only
    then can rows be kept apart in one sequence."""
    try:
        return windows_of(model.config).reach.keys() <= {"full_attention", "sliding_attention"}
    except Unavailable:
        return False


def _gives(compute: Callable[[Batch], Tensor], batch: Batch, expected: Tensor) -> bool:
    """Whether ``compute`` works and agrees with ``expected`` [N, vocabulary]."""
    try:
        return _agree(compute(batch), expected)
    except (NotImplementedError, AttributeError, TypeError, ValueError, RuntimeError):
        return False


def _probe_rows(vocabulary: int) -> list[TrainRow]:
    """Three rows, of which the first and the last share a prefix."""
    texts = (range(1, 12), range(20, 27), (1, 2, 3, 4, 9, 8, 7, 6, 5))
    return [
        TrainRow(
            id="",
            ids=np.array(list(text), dtype=np.int32) % vocabulary,
            at=np.arange(2, len(text) - 1, dtype=np.int32),
        )
        for text in texts
    ]


def _agree(found: Tensor, expected: Tensor, tolerance: float = _PASS) -> bool:
    """Whether logits [N, vocabulary] differ by rounding only.

    If rows attend to each other, or logits are processed after the head, they differ about as much
    as logits do among themselves; a soft cap on small logits differs by less.

    Args:
        tolerance: in float32, as a share of the logits.
    """
    import torch

    exact = found.dtype in (torch.float32, torch.float64)
    found, expected = found.double(), expected.double()
    difference = float((found - expected).square().mean().sqrt())
    size = expected.std() if tolerance == _PASS else expected.square().mean().sqrt()
    return difference <= (tolerance if exact else 5e-2) * max(float(size), 1e-6)
