"""The interface between a trainer and the processes that train with it, for a single process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from sekft_engine.training.trainer.data import TrainRow

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: What all processes are about to do together.
Command = Literal["train", "step", "heldout", "confirm", "restore", "end"]


class Ranks:
    """A single process; its methods define what several processes have to do.

    The first of several processes leads: it alone decides, writes and reports, and announces each
    thing that all do together. The others follow (see
    :mod:`sekft_engine.training.trainer.processes`).
    """

    rank = 0
    size = 1
    #: How many of them are on this machine.
    neighbours = 1
    #: Whether the base's layers are spread over the processes, so that every forward pass is one
    #: of all.
    sharded = False

    def announce(self, command: Command, *arguments: Any) -> None:
        """Tell the other processes what to do next."""

    def share(self, rows: Sequence[TrainRow]) -> Sequence[TrainRow]:
        """The rows of a step that this process computes; may be none."""
        return rows

    def extra_passes(self, own: int) -> int:
        """How many forward passes beyond its ``own`` this process must join."""
        return 0

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """A context whose errors in one process are raised in all, so that none waits forever."""
        yield

    def shard(self, model: Any, place: torch.device) -> None:
        """Shard the layers of the base over the processes, each on its ``place``, unless they are
        sharded already."""

    def broadcast_weights(self, weights: Sequence[Tensor]) -> None:
        """Copy the first process's weights to all others."""

    def sum_gradients(self, weights: Sequence[Tensor]) -> None:
        """Make each gradient the sum over all processes."""

    def sum(self, *numbers: float) -> tuple[float, ...]:
        """The sums over all processes."""
        return numbers

    def seed(self, seed: int, step: int) -> None:
        """Fix what dropout draws in this step."""


ALONE = Ranks()
