"""An adapter's products on a CPU, with backwards of their own.

y = xWᵀ + b + s·((x∘k)Aᵀ)Bᵀ, where A and B learn and k is dropout's draw, if there is any. W is
frozen, so that no gradient to it is ever formed, the two parts are added as they are multiplied,
and only x and xAᵀ are kept. Layers that are given the same x share the work on it: one product
makes all their xAᵀ, and what goes back to x is added up as it is multiplied. (Backward passes
written by hand for LoRA are an idea of Unsloth's; these follow from the formula.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sekft_engine.sft.dropout import as_factors, masked
from sekft_engine.sft.products import add_times, times, times_plus

if TYPE_CHECKING:
    from torch import Tensor


class Adapted(NamedTuple):
    """A linear layer and its adapter: W [out, in], b [out], A [rank, in], B [out, rank], 1 where
    dropout keeps a value of its x, and s."""

    weight: Tensor
    bias: Tensor | None
    first: Tensor
    second: Tensor
    kept: Tensor | None
    scale: float


class Functions(NamedTuple):
    """Operations with backwards of their own, made once torch is there."""

    frozen: Callable[..., Tensor]
    adapter: Callable[..., Tensor]
    whole: Callable[..., tuple[Tensor, ...]]


def adapted_layers(rows: Tensor, layers: Sequence[Adapted]) -> tuple[Tensor, ...]:
    """What each of some layers makes of the same ``rows`` [..., in]: [..., out]."""
    scales = [layer.scale for layer in layers]
    tensors = [tensor for layer in layers for tensor in layer[:-1]]
    return functions().whole(rows, scales, *tensors)


def _flat(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1])


def _layers(tensors: Sequence[Tensor | None], scales: Sequence[float]) -> list[Adapted]:
    each: Any = zip(*(iter(tensors),) * 5, scales, strict=True)
    return [Adapted._make(six) for six in each]


def _drop(layers: Sequence[Adapted]) -> bool:
    return any(layer.kept is not None for layer in layers)


def _firsts(layers: Sequence[Adapted]) -> Tensor:
    """The layers' A, one below the other."""
    import torch

    return layers[0].first if len(layers) == 1 else torch.cat([layer.first for layer in layers])


def _lows(rows: Tensor, layers: Sequence[Adapted]) -> list[Tensor]:
    """Each layer's xAᵀ; all in one product where all have the same x."""
    if _drop(layers):
        return [times(masked(rows, layer.kept), layer.first) for layer in layers]
    return _pieces(times(rows, _firsts(layers)), layers, -1)


def _pieces(values: Tensor, layers: Sequence[Adapted], dim: int) -> list[Tensor]:
    """What belongs to each layer's A."""
    import torch

    return list(torch.split(values, [len(layer.first) for layer in layers], dim=dim))


def _to_rows(
    slopes: Sequence[Tensor], backs: Sequence[Tensor], layers: Sequence[Adapted]
) -> Tensor:
    """What goes back to x, from each layer's y and xAᵀ."""
    import torch

    found = times(slopes[0], layers[0].weight.t())
    for slope, layer in zip(slopes[1:], layers[1:], strict=True):
        found = add_times(slope, layer.weight.t(), found)
    if not _drop(layers):
        return add_times(torch.cat(list(backs), dim=-1), _firsts(layers).t(), found)
    for back, layer in zip(backs, layers, strict=True):
        more = times(back, layer.first.t())
        if layer.kept is None:
            found.add_(more)
        else:
            found.addcmul_(more, as_factors(layer.kept, more))
    return found


def _to_firsts(
    rows: Tensor, backs: Sequence[Tensor], layers: Sequence[Adapted]
) -> Sequence[Tensor]:
    """What goes back to each A."""
    import torch

    if not _drop(layers):
        back = torch.cat(list(backs), dim=-1)
        return _pieces(times(_flat(back).t(), _flat(rows).t()), layers, 0)
    return [
        times(_flat(back).t(), _flat(masked(rows, layer.kept)).t())
        for back, layer in zip(backs, layers, strict=True)
    ]


def _to_second(low: Tensor, slope: Tensor, scale: float) -> Tensor:
    """What goes back to B."""
    return times(_flat(low).t(), _flat(slope).t()).t() * scale


@cache
def functions() -> Functions:
    import torch

    class Frozen(torch.autograd.Function):
        """xWᵀ + b, where neither W nor b learns."""

        @staticmethod
        def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            ctx.save_for_backward(weight)
            return times(rows, weight, bias)

        @staticmethod
        def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
            (weight,) = ctx.saved_tensors
            return times(slope, weight.t()), None, None

    class Adapter(torch.autograd.Function):
        """y + s·((x∘k)Aᵀ)Bᵀ of a layer that makes y itself."""

        @staticmethod
        def forward(
            ctx: Any,
            rows: Tensor,
            kept: Tensor | None,
            out: Tensor,
            first: Tensor,
            second: Tensor,
            scale: float,
        ) -> Tensor:
            low = times(masked(rows, kept), first)
            ctx.scale = scale
            ctx.save_for_backward(rows, kept, low, first, second)
            return times_plus(low, second * scale, out)

        @staticmethod
        def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
            rows, kept, low, first, second = ctx.saved_tensors
            back = times(slope, (second * ctx.scale).t())
            to_first = times(_flat(back).t(), _flat(masked(rows, kept)).t())
            to_rows = None
            if ctx.needs_input_grad[0]:
                to_rows = times(back, first.t())
                if kept is not None:
                    to_rows.mul_(as_factors(kept, to_rows))
            return to_rows, None, slope, to_first, _to_second(low, slope, ctx.scale), None

    class Whole(torch.autograd.Function):
        """Some layers of the same x, each with its adapter."""

        @staticmethod
        def forward(
            ctx: Any, rows: Tensor, scales: Sequence[float], *tensors: Tensor | None
        ) -> tuple[Tensor, ...]:
            layers = _layers(tensors, scales)
            lows = _lows(rows, layers)
            ctx.scales = scales
            ctx.save_for_backward(rows, *lows, *tensors)
            return tuple(
                add_times(low, layer.second * layer.scale, times(rows, layer.weight, layer.bias))
                for low, layer in zip(lows, layers, strict=True)
            )

        @staticmethod
        def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
            count = len(slopes)
            rows, *rest = ctx.saved_tensors
            lows, layers = rest[:count], _layers(rest[count:], ctx.scales)
            backs = [
                times(slope, (layer.second * layer.scale).t())
                for slope, layer in zip(slopes, layers, strict=True)
            ]
            to_rows = _to_rows(slopes, backs, layers) if ctx.needs_input_grad[0] else None
            to_firsts = _to_firsts(rows, backs, layers)
            gradients: list[Tensor | None] = []
            for low, slope, layer, to_first in zip(lows, slopes, layers, to_firsts, strict=True):
                to_second = _to_second(low, slope, layer.scale)
                gradients += [None, None, to_first, to_second, None]
            return to_rows, None, *gradients

    return Functions(Frozen.apply, Adapter.apply, Whole.apply)
