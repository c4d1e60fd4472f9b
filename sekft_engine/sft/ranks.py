"""What a trainer asks of the other processes that train with it; here, where there are none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from sekft_engine.sft.data import TrainRow

if TYPE_CHECKING:
    from torch import Tensor

#: What the first process is about to do, and all others do with it.
Word = Literal["train", "step", "heldout", "confirm", "restore", "end"]


class Ranks:
    """One process alone. Its methods say what several would have to do.

    The first of several processes leads: it alone decides, writes and speaks, and announces each
    thing that takes them all. The others follow (see :mod:`sekft_engine.sft.processes`).
    """

    rank = 0
    size = 1
    #: How many of them are on this machine.
    neighbours = 1
    #: Whether the base's layers are spread over the processes, so that every forward pass is one
    #: of all.
    sharded = False

    def announce(self, word: Word, *what: Any) -> None:
        """Tell the others what comes next."""

    def share(self, rows: Sequence[TrainRow]) -> Sequence[TrainRow]:
        """The rows of a step that are this process's own; may be none."""
        return rows

    def more_passes(self, own: int) -> int:
        """How many forward passes others make after our ``own`` ones, and need us for."""
        return 0

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What goes wrong inside in one process goes wrong in all, so that none waits for ever."""
        yield

    def shard(self, model: Any) -> None:
        """Spread the layers of the base over the processes, where they are not yet."""

    def match(self, weights: Sequence[Tensor]) -> None:
        """Give every process the weights of the first."""

    def sum_gradients(self, weights: Sequence[Tensor]) -> None:
        """Make each gradient the sum over all processes."""

    def sum(self, *numbers: float) -> tuple[float, ...]:
        """The sums over all processes."""
        return numbers

    def seed(self, seed: int, step: int) -> None:
        """Fix what dropout draws in this step."""


ALONE = Ranks()
