"""Dropout's draws on a CPU, for a seventh of what torch's take.

Torch draws a number of its own generator for each value, one after another; with an adapter at
each layer that is a fifth of a step. Here one draw of that generator seeds a quicker one (numpy's
SFC64) for a whole pass, of which sixteen bits decide a value. So draws depend on torch's state
alone, as they should for a run that goes on, and are those of a pass whatever goes on beside it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_LEVELS = 1 << 16
#: What each thread draws with, and room that it uses again.
_room = threading.local()


def kept_share(rate: float) -> float:
    """The share of values that is kept where ``rate`` are to be dropped: 1 - ``rate``, to the
    nearest of 65,536 levels. What is kept is to be divided by it."""
    return 1 - _dropped(rate) / _LEVELS


def draw_kept(like: Tensor, rate: float) -> Tensor:
    """1 where a value of ``like`` is kept and 0 where it is dropped, as uint8 of its shape."""
    import torch

    draws = _draws() or np.random.SFC64(int(torch.randint(1 << 62, ())))
    drawn = draws.random_raw(-(-like.numel() // 4)).view(np.uint16)
    kept = (drawn[: like.numel()] >= _dropped(rate)).view(np.uint8)
    return torch.from_numpy(kept).view(like.shape)


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Within, this thread draws by ``seed``."""
    before = _draws()
    _room.draws = np.random.SFC64(seed)
    try:
        yield
    finally:
        _room.draws = before


def drawn_again() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts for a block that is computed now and once more later, with the same draws."""
    draws = _draws()
    return nullcontext(), nullcontext() if draws is None else _back_at(draws, draws.state)


@contextmanager
def _back_at(draws: np.random.SFC64, state: Any) -> Iterator[None]:
    now = draws.state
    draws.state = state
    try:
        yield
    finally:
        draws.state = now


def _draws() -> np.random.SFC64 | None:
    return getattr(_room, "draws", None)


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
