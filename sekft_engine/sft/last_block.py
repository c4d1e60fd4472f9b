"""The last block at chosen places alone: behind its attention nothing looks at the others.

Of a session perhaps one token in eight is trained. Keys and values of the last block are needed
everywhere; what comes after its attention, four fifths of its weights, only where there is a loss.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sekft_engine.sft.recompute import blocks_of

if TYPE_CHECKING:
    from torch import Tensor

#: The name by which the model hands its blocks the places that are wanted.
WANTED = "wanted_places"
#: What Llama's block is made of, and many other families'.
_PARTS = {"input_layernorm", "self_attn", "post_attention_layernorm", "mlp"}
_within = threading.local()


class Places(NamedTuple):
    """Rows and columns [N] of a batch."""

    rows: Tensor
    columns: Tensor

    def of(self, values: Tensor) -> Tensor:
        """``values`` [B, T, D] at these places: [1, N, D].

        A place may be wanted more than once, where rows begin alike. The gradient of indexing adds
        such up in the order in which threads come by; an embedding's adds them in one order.
        """
        import torch

        flat = self.rows * values.shape[1] + self.columns
        return torch.nn.functional.embedding(flat, values.reshape(-1, values.shape[-1]))[None]


@contextmanager
def short_last_block(model: Any) -> Iterator[None]:
    """Within, a model that is called with :data:`WANTED` places gives its last states at them:
    [1, N, D]. Whether it computes as this supposes is for the caller to see.

    Raises:
        NotImplementedError: its blocks are made of other parts.
    """
    blocks = blocks_of(model)
    if not blocks or set(blocks[-1]._modules) != _PARTS:  # noqa: SLF001 - there is no quicker way
        raise NotImplementedError("a block of other parts")
    block, out = blocks[-1], blocks[-1].self_attn.o_proj
    own = block.__dict__.get("forward"), out.__dict__.get("forward")
    block.__dict__["forward"] = partial(_block, block, block.forward)
    out.__dict__["forward"] = partial(_out, out.forward)
    try:
        yield
    finally:
        for module, forward in zip((block, out), own, strict=True):
            del module.__dict__["forward"]
            if forward is not None:
                module.__dict__["forward"] = forward


def _block(block: Any, own: Any, states: Tensor, **options: Any) -> Tensor:
    wanted: Places | None = options.pop(WANTED, None)
    if wanted is None:
        return own(states, **options)  # type: ignore[no-any-return]
    _within.wanted = wanted
    try:
        seen, _ = block.self_attn(hidden_states=block.input_layernorm(states), **options)
    finally:
        _within.wanted = None
    states = wanted.of(states) + seen
    return states + block.mlp(block.post_attention_layernorm(states))  # type: ignore[no-any-return]


def _out(own: Any, values: Tensor) -> Tensor:
    """The output projection of the attention, of what is wanted of it."""
    wanted: Places | None = getattr(_within, "wanted", None)
    return own(values if wanted is None else wanted.of(values))  # type: ignore[no-any-return]
