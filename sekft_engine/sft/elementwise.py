"""What a block computes between its products, on a CPU: norms, rotary embeddings and SwiGLU.

There it is memory that takes the time. Each of them is one operation here, with its own backward:
it passes over its values fewer times, keeps only what came in, and writes over what nobody needs
any more. (Liger has the same three for GPUs.) The formulas are those of Llama's classes, which many
families share. Whether a class is of that kind is seen by what it computes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from sekft_engine.sft.products import suits

if TYPE_CHECKING:
    from torch import Tensor

#: Rows of SwiGLU's backward that are in the cache together.
ROWS = 128
#: What the modules of transformers that have rotary embeddings call their function.
_ROTARY = "apply_rotary_pos_emb"


def quick_forward(module: Any) -> Callable[[Tensor], Tensor] | None:
    """The forward of ``module`` in fewer passes, if it is a norm or a SwiGLU as here."""
    kind: Any = type(module)
    names = {*module._parameters, *module._modules}  # noqa: SLF001 - there is no quicker way
    if names == {"weight"} and hasattr(module, "variance_epsilon") and _is_norm(kind):
        return lambda states: _norm(module, states)
    if names == {"gate_proj", "up_proj", "down_proj", "act_fn"} and _is_swiglu(kind):
        return lambda states: _swiglu(module, states)
    return None


@contextmanager
def quick_rotary(model: Any) -> Iterator[None]:
    """Within, the layers of ``model`` rotate queries and keys in fewer passes."""
    kinds = {type(module) for module in model.modules() if hasattr(module, "q_proj")}
    changed = [
        (home, theirs)
        for home in {sys.modules[kind.__module__] for kind in kinds}
        if (theirs := getattr(home, _ROTARY, None)) is not None
        and not isinstance(theirs, partial)  # ours already
        and _is_rotary(theirs)
    ]
    for home, theirs in changed:
        setattr(home, _ROTARY, partial(_rotary, theirs))
    try:
        yield
    finally:
        for home, theirs in changed:
            setattr(home, _ROTARY, theirs)


def _norm(module: Any, states: Tensor) -> Tensor:
    weight = module.weight
    if not suits(states) or not suits(weight) or weight.requires_grad:
        return type(module).forward(module, states)  # type: ignore[no-any-return]
    out: Tensor = _functions().norm(states, weight, module.variance_epsilon)
    return out


def _swiglu(module: Any, states: Tensor) -> Tensor:
    gate, up = module.gate_proj(states), module.up_proj(states)
    if not (suits(gate) and suits(up) and _is_silu(module.act_fn)):
        return module.down_proj(module.act_fn(gate) * up)  # type: ignore[no-any-return]
    return module.down_proj(_functions().swiglu(gate, up))  # type: ignore[no-any-return]


def _rotary(
    own: Callable[..., Any],
    query: Tensor,
    key: Tensor,
    cos: Tensor,
    sin: Tensor,
    *args: Any,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    whole = cos.dim() == 3 and cos.shape[-1] == query.shape[-1]  # some turn a part of each head
    if args or options or not whole or not all(suits(one) for one in (query, key, cos, sin)):
        return own(query, key, cos, sin, *args, **options)  # type: ignore[no-any-return]
    rotated: tuple[Tensor, Tensor] = _functions().rotary(query, key, cos[:, None], sin[:, None])
    return rotated


class _Functions(NamedTuple):
    """Operations with backwards of their own, made once torch is there."""

    norm: Callable[..., Any]
    swiglu: Callable[..., Any]
    rotary: Callable[..., Any]


@cache
def _functions() -> _Functions:
    import torch
    from torch.nn.functional import silu

    silu_back = torch.ops.aten.silu_backward

    class Norm(torch.autograd.Function):
        """x·r·w with r = 1/√(mean x² + ε), where w does not learn."""

        @staticmethod
        def forward(ctx: Any, states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
            norm = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
            inverse = norm.square_().div_(states.shape[-1]).add_(epsilon).rsqrt_()
            ctx.save_for_backward(states, weight, inverse)
            return torch.mul(states, inverse).mul_(weight)

        @staticmethod
        def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
            states, weight, inverse = ctx.saved_tensors
            back = slope * weight
            along = torch.linalg.vecdot(back, states)[..., None]
            along.mul_(inverse.pow(3)).div_(-states.shape[-1])
            return back.mul_(inverse).addcmul_(states, along), None, None

    class SwiGLU(torch.autograd.Function):
        """silu(g)·u. What came in is used up by the backward, which writes its results there."""

        @staticmethod
        def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
            ctx.save_for_backward(gate.contiguous(), up.contiguous())
            return silu(gate).mul_(up)

        @staticmethod
        def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
            gate, up = ctx.saved_tensors
            flat = slope.reshape(-1, slope.shape[-1])
            gates, ups, slopes = (
                torch.split(one.view(flat.shape), ROWS) for one in (gate, up, flat)
            )
            for some_gate, some_up, some in zip(gates, ups, slopes, strict=True):
                to_silu = some * some_up
                torch.mul(silu(some_gate), some, out=some_up)
                silu_back.grad_input(to_silu, some_gate, grad_input=some_gate)
            return gate, up

    class Rotary(torch.autograd.Function):
        """x·cos + half-turned(x)·sin, of queries and of keys."""

        @staticmethod
        def forward(
            ctx: Any, query: Tensor, key: Tensor, cos: Tensor, sin: Tensor
        ) -> tuple[Tensor, Tensor]:
            ctx.save_for_backward(cos, sin)
            return turn(query, cos, sin, 1), turn(key, cos, sin, 1)

        @staticmethod
        def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
            cos, sin = ctx.saved_tensors
            query, key = (turn(slope, cos, sin, -1) for slope in slopes)
            return query, key, None, None

    def turn(values: Tensor, cos: Tensor, sin: Tensor, sign: int) -> Tensor:
        """``sign`` 1: x·cos + (-x₂, x₁)·sin; -1: the transpose of that."""
        half = values.shape[-1] // 2
        first, second = slice(None, half), slice(half, None)
        sin_of = (first, second) if sign > 0 else (second, first)
        out = values * cos
        out[..., first].addcmul_(values[..., second], sin[..., sin_of[0]], value=-sign)
        out[..., second].addcmul_(values[..., first], sin[..., sin_of[1]], value=sign)
        return out

    return _Functions(Norm.apply, SwiGLU.apply, Rotary.apply)


def _alike(one: Any, other: Any) -> bool:
    import torch

    return bool(torch.allclose(one, other, atol=1e-5, rtol=1e-5))


def _seen(*shape: int) -> Tensor:
    """Some values to try a class on, without drawing from a run's generator."""
    import math

    import torch

    count = math.prod(shape)
    return torch.arange(1, count + 1, dtype=torch.float32).mul_(0.7).sin_().view(shape)


@cache
def _is_norm(kind: type) -> bool:
    """Whether the forward of ``kind`` is what :func:`_norm` computes, on one that stands in."""
    own = SimpleNamespace(weight=_seen(8), variance_epsilon=0.1)
    try:
        theirs = kind.forward(own, _seen(1, 3, 8))  # type: ignore[attr-defined]
        return _alike(theirs, _functions().norm(_seen(1, 3, 8), own.weight, 0.1))
    except Exception:  # noqa: BLE001 - a class of another kind may raise anything
        return False


@cache
def _is_swiglu(kind: type) -> bool:
    import torch

    own = SimpleNamespace(
        gate_proj=lambda states: 3 * states + 1,
        up_proj=lambda states: 2 - states,
        down_proj=lambda states: 5 * states,
        act_fn=torch.nn.functional.silu,
    )
    states = _seen(1, 3, 8)
    try:
        theirs = kind.forward(own, states)  # type: ignore[attr-defined]
        return _alike(theirs, 5 * _functions().swiglu(3 * states + 1, 2 - states))
    except Exception:  # noqa: BLE001 - as above
        return False


def _is_silu(function: Any) -> bool:
    import torch

    return isinstance(function, torch.nn.SiLU) or type(function).__name__ == "SiLUActivation"


@cache
def _is_rotary(theirs: Callable[..., Any]) -> bool:
    query, key, cos, sin = _seen(1, 4, 3, 8), _seen(1, 2, 3, 8), _seen(1, 3, 8), _seen(1, 3, 8) - 1
    try:
        wanted = theirs(query, key, cos, sin)
        found = _functions().rotary(query, key, cos[:, None], sin[:, None])
        return all(_alike(one, other) for one, other in zip(wanted, found, strict=True))
    except Exception:  # noqa: BLE001 - as above
        return False
