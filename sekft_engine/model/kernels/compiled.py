"""Decoder layers compiled by torch.compile: fewer, larger kernels on a GPU.

One compilation serves all layers and rows of every length. Attention keeps its own kernel. The
first pass takes about a minute, which pays off in a long run on CUDA. On a CPU, oneDNN and the
hand-written backward of the adapter are faster, and a compiler cannot optimise either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sekft_engine.model.kernels.install import Replacement
from sekft_engine.model.kernels.layers import decoder_layers

#: What torch.compile makes its kernels with.
BACKEND = "inductor"


def compiled_layers(model: Any, cache: dict[Any, Callable[..., Any]]) -> Iterator[Replacement]:
    """Run the decoder layers compiled.

    Args:
        cache: compiled forwards by layer; missing layers are added.
    """
    import torch

    for layer in decoder_layers(model):
        if "forward" in vars(layer):  # already replaced
            continue
        if layer not in cache:
            cache[layer] = torch.compile(layer.forward, dynamic=True, backend=BACKEND)
        yield Replacement(layer, "forward", cache[layer])


def compiling_failed(error: BaseException) -> bool:
    """Whether torch.compile failed, and not the model."""
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    return isinstance(error, TorchDynamoException | InductorError)
