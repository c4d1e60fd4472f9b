"""Dropout's draws on a CPU, for a seventh of what torch's take.

Torch draws a number of its own generator for each value, one after another; with an adapter at
each layer that is a fifth of a step. Here one draw of that generator seeds a quicker one (numpy's
SFC64), of which sixteen bits decide a value. So draws depend on torch's state alone, as they should
for a run that goes on and for activations that are computed again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_LEVELS = 1 << 16


def kept_share(rate: float) -> float:
    """The share of values that is kept where ``rate`` are to be dropped: 1 - ``rate``, to the
    nearest of 65,536 levels. What is kept is to be divided by it."""
    return 1 - _dropped(rate) / _LEVELS


def draw_kept(like: Tensor, rate: float) -> Tensor:
    """1 where a value of ``like`` is kept and 0 where it is dropped, as uint8 of its shape."""
    import torch

    seed = int(torch.randint(1 << 62, ()))
    drawn = np.random.SFC64(seed).random_raw(-(-like.numel() // 4)).view(np.uint16)
    kept = (drawn[: like.numel()] >= _dropped(rate)).view(np.uint8)
    return torch.from_numpy(kept).view(like.shape)


_room = threading.local()


def as_factors(kept: Tensor, like: Tensor) -> Tensor:
    """``kept`` in the dtype of ``like``; good until the next call in this thread."""
    return _space("factors", like).copy_(kept)


def masked(rows: Tensor, kept: Tensor | None) -> Tensor:
    """What is kept of ``rows``; good until the next call in this thread."""
    import torch

    if kept is None:
        return rows
    return torch.mul(rows, as_factors(kept, rows), out=_space("masked", rows))


def _space(use: str, like: Tensor) -> Tensor:
    """Room for values as ``like``, the same each time: new room for each would lie scattered
    between what is held for the way back, and the heap would grow by a third."""
    held: Tensor | None = getattr(_room, use, None)
    if held is None or held.numel() < like.numel() or held.dtype != like.dtype:
        held = like.new_empty(like.numel())
        setattr(_room, use, held)
    return held[: like.numel()].view(like.shape)


def _dropped(rate: float) -> int:
    return min(round(rate * _LEVELS), _LEVELS - 1)
