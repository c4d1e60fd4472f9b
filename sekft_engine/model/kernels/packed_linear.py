"""Frozen linear layers for decoding, with weights packed once for oneDNN.

See :mod:`sekft_engine.model.kernels.matmul` for why. The choice of kernel is the
same in every run.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from sekft_engine.model.kernels.install import Kernels, Replacement
from sekft_engine.model.kernels.matmul import (
    has_onednn,
    is_supported,
    pack_weight,
    packed_linear,
)

#: Up to this many bytes of weights are copied into oneDNN's layout; the rest is used unpacked.
PACKED_BYTES = 2 << 30


class PackedLinears(Kernels):
    """A context in which the frozen fp32 linear layers of ``model`` compute with oneDNN.

    Layers of adapters, quantised layers, sharded weights and models on other devices are left
    unchanged. The base's weights must not change while this object
    is in use; gradients do not flow through it.
    """

    def __init__(self, model: Any) -> None:
        layers = _frozen_linears(model) if has_onednn() else []
        size = sum(layer.weight.numel() * layer.weight.element_size() for layer in layers)
        replacements = []
        for layer in layers:
            weight = layer.weight.detach()
            packed = pack_weight(weight) if size <= PACKED_BYTES else weight
            forward = partial(packed_linear, weight=packed, bias=layer.bias)
            replacements.append(Replacement(layer, "forward", forward))
        super().__init__(lambda: replacements)


def _frozen_linears(model: Any) -> list[Any]:
    import torch

    return [
        module
        for name, module in model.named_modules()
        if type(module) is torch.nn.Linear
        and type(module.weight) is torch.nn.Parameter  # not sharded
        and ".lora_" not in name
        and is_supported(module.weight)
    ]
