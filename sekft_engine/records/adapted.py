"""Which share of a base's weights an adapter reaches."""

from __future__ import annotations

import msgspec


class AdaptedShare(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a base's weights: all, in layers with an adapter, in fused experts.

    Experts that are stored as one tensor for all of them cannot be adapted, and stay as they are.

    Attributes:
        example: the name of such a tensor.
    """

    weights: int
    reached: int
    experts: int = 0
    example: str = ""

    @property
    def share(self) -> float:
        """The share of the weights that lies in adapted layers."""
        return self.reached / self.weights if self.weights else 0.0

    def __str__(self) -> str:
        reached = f"the adapter reaches layers with {self.share:.0%} of the base's weights"
        if not self.experts:
            return reached
        example = f", such as {self.example}" if self.example else ""
        return (
            f"{reached}; its experts ({self.experts / self.weights:.0%}{example}) are fused, and "
            "stay as they are"
        )
