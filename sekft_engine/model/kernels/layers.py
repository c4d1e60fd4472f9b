"""The decoder layers of a causal language model."""

from __future__ import annotations

from typing import Any


def decoder_layers(model: Any) -> list[Any]:
    """The layers of the decoder in order; empty if transformers marks none as such.

    They can be recomputed, compiled or sharded one by one.
    """
    from torch import nn
    from transformers.modeling_layers import GradientCheckpointingLayer

    stacks = [
        list(module)
        for module in model.modules()
        if isinstance(module, nn.ModuleList)
        and all(isinstance(layer, GradientCheckpointingLayer) for layer in module)
    ]
    return max(stacks, key=len, default=[])
