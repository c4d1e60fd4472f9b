"""A model's blocks compiled by torch.compile: fewer, larger kernels on a GPU.

One compilation serves all blocks and rows of every length. Attention is left to its own kernel. The
first pass takes a minute or so, which a long run earns back on CUDA; on a CPU oneDNN and the
adapter's own backward are quicker, and both cannot be had at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sekft_engine.sft.recompute import blocks_of

#: What torch.compile makes its kernels with.
BACKEND = "inductor"


@contextmanager
def compiled_blocks(model: Any, known: dict[Any, Callable[..., Any]]) -> Iterator[None]:
    """Within, the blocks of ``model`` run compiled. ``known`` keeps what was compiled before."""
    import torch

    blocks = [block for block in blocks_of(model) if "forward" not in block.__dict__]
    for block in blocks:
        if block not in known:
            known[block] = torch.compile(block.forward, dynamic=True, backend=BACKEND)
        block.__dict__["forward"] = known[block]
    try:
        yield
    finally:
        for block in blocks:
            del block.__dict__["forward"]


def compiling_failed(error: BaseException) -> bool:
    """Whether this is torch.compile's failure and not the model's."""
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    return isinstance(error, TorchDynamoException | InductorError)
