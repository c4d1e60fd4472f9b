"""Recompute activations in the backward pass instead of storing them.

Only the input of each decoder layer is stored, and the activations of one layer at a time, at the
cost of one more forward pass (Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016,
arXiv 1604.06174). The same operations run on the same values, with the same dropout masks, so
on a CPU the gradients are the same bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from sekft_engine.model.kernels.dropout import replayed_masks
from sekft_engine.model.kernels.install import Replacement
from sekft_engine.model.kernels.layers import decoder_layers

#: How a log describes it.
RECOMPUTED = "activations are computed again in the backward pass"


def recomputed_layers(model: Any) -> Iterator[Replacement]:
    """Let the decoder layers store only their inputs while the model is in training mode."""
    from torch.utils.checkpoint import checkpoint

    run = partial(checkpoint, use_reentrant=False, context_fn=replayed_masks)
    for layer in decoder_layers(model):
        yield Replacement(layer, "_gradient_checkpointing_func", run)
        yield Replacement(layer, "gradient_checkpointing", True)
