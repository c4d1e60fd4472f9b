"""Activations that are computed again in the backward pass instead of being held until then.

A pass then holds what enters each block, and the activations of one block at a time; it costs one
more forward pass. (Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016.) What is
computed again are the same operations on the same values, dropout's draws included, so that
gradients keep their bits on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from sekft_engine.sft.dropout import drawn_again

#: How a log says so.
RECOMPUTED = "activations are computed again in the backward pass"


def blocks_of(model: Any) -> list[Any]:
    """The layers of ``model`` that can be computed again one by one; none where it has no such."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [one for one in model.modules() if isinstance(one, GradientCheckpointingLayer)]


@contextmanager
def recomputed_blocks(model: Any) -> Iterator[None]:
    """Within, blocks that are in training hold only what enters them."""
    from torch.utils.checkpoint import checkpoint

    again = partial(checkpoint, use_reentrant=False, context_fn=drawn_again)
    blocks = blocks_of(model)
    for block in blocks:
        block._gradient_checkpointing_func = again  # noqa: SLF001
        block.gradient_checkpointing = True
    try:
        yield
    finally:
        for block in blocks:
            del block.gradient_checkpointing
            del block._gradient_checkpointing_func  # noqa: SLF001
