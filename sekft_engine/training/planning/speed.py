"""How fast a card may train, from what its maker publishes: an estimate, and a range.

A processor counts as a card whose figures were measured (``processor.py``).

The work of a token is counted: operations in matrix products, and bytes that pass through the
card's memory. The upper end is a card that reaches both of its peaks and does both at once. The
lower end is one that reaches half of each and does one after the other. No training was measured.
"""

from __future__ import annotations

import msgspec

from sekft_engine.bases.shape import DecoderShape
from sekft_engine.data.recipe import Recipe
from sekft_engine.training.planning.cards import Card
from sekft_engine.training.planning.step import PassSize

#: Each byte of activations is written, read again, and has a gradient of its size; where they are
#: computed again, they are written twice.
_TOUCHED = 3
#: The share of both peaks at the lower end.
_SLOW = 0.5


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens per second in training: an estimate, not a measurement.

    Attributes:
        low, high: the range.
        source: where the peak and the bandwidth that it rests on are from.
    """

    low: float
    high: float
    source: str
    estimate: bool = True

    def rounded(self, between: str) -> str:
        """Both ends in two digits: an estimate has no more. One number where they are the same."""
        ends = (_two_digits(self.low), _two_digits(self.high))
        return between.join(dict.fromkeys(ends))


def _two_digits(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{float(f'{value:.2g}'):,.0f}"


def estimate_speed(
    shape: DecoderShape,
    recipe: Recipe,
    card: Card,
    size: PassSize,
    *,
    base_bytes: int,
    held_bytes: float,
    recompute: bool,
) -> Speed | None:
    """The speed of passes of this size; None where the card's figures are not known.

    Args:
        base_bytes: of the base's weights, which each pass reads forward and back.
        held_bytes: of the activations that one pass holds without recomputation.
    """
    if not card.peak_tflops or not card.bandwidth_gbs or not size.tokens:
        return None
    computing = operations(shape, recipe, size, recompute=recompute) / (card.peak_tflops * 1e12)
    readings = 3 if recompute else 2
    moved = readings * base_bytes + (_TOUCHED + recompute) * held_bytes
    moving = moved / (card.bandwidth_gbs * 1e9)
    return Speed(
        low=_SLOW * size.tokens / (computing + moving),
        high=size.tokens / max(computing, moving),
        source=card.source,
    )


def operations(
    shape: DecoderShape, recipe: Recipe, size: PassSize, *, recompute: bool = False
) -> float:
    """Operations in matrix products of a pass, forward and back.

    A frozen weight takes part in two products per token, an adapter's in three; attention is
    causal, and its backward pass has five products for the two of the forward pass.
    """
    frozen = shape.in_linears * size.tokens
    head = shape.vocabulary * shape.hidden * size.trained
    thin = shape.layers * adapter_weights(shape, recipe) // max(1, shape.layers) * size.tokens
    # Queries times keys, and weights times values, of half of the pairs of tokens.
    attention = shape.layers * shape.query * size.squared_lengths
    forward = 2 * frozen + 2 * thin + 2 * attention
    backward = 2 * frozen + 4 * thin + 5 * attention
    return forward * (2 if recompute else 1) + backward + 4 * head


def adapter_weights(shape: DecoderShape, recipe: Recipe) -> int:
    """The number of weights of an adapter of this recipe.

    Raises:
        BadInput: its targets are not layers of this base.
    """
    reached = shape.adapted(recipe.targets)
    return shape.layers * recipe.rank * sum(item.inputs + item.outputs for item in reached)
