"""The last weights that are known to give finite losses: what a run that diverges returns to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class GoodWeights:
    """A copy of weights. Those that it is made with count as good.

    Args:
        weights: the trainable ones.

    Attributes:
        step: the step after which the weights were as in the copy.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._weights = weights
        self._copies = [weight.detach().clone() for weight in weights]
        self.step = 0

    def store(self, step: int) -> None:
        """Take the weights as they are, after ``step``, for good."""
        import torch

        with torch.no_grad():
            for copy, weight in zip(self._copies, self._weights, strict=True):
                copy.copy_(weight)
        self.step = step

    def restore(self) -> None:
        """Make the weights as they were when they were good."""
        import torch

        with torch.no_grad():
            for copy, weight in zip(self._copies, self._weights, strict=True):
                weight.copy_(copy)

    def free(self) -> None:
        """Free its memory. It is of no use after that."""
        self._copies = []
