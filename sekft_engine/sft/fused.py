"""Linear layers and their adapters on a CPU, with less work for the same result.

An adapter's y = xWᵀ + s·(xAᵀ)Bᵀ is written out with its own backward: W is frozen, so that no
gradient to it is ever formed, the two parts are added as they are multiplied, and only x and xAᵀ
are kept. (Backward passes written by hand for LoRA are an idea of Unsloth's; this one follows from
the formula.) Its products go through the quicker of two libraries, see :mod:`.products`.

It serves PEFT's plain LoRA layers whose weights are fp32 and on the CPU. All others, 4-bit ones
among them, keep their base's own product, and models elsewhere PEFT's forward altogether.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sekft_engine.sft import products
from sekft_engine.sft.dropout import as_factors, draw_kept, kept_share, masked
from sekft_engine.sft.elementwise import quick_forward, quick_rotary
from sekft_engine.sft.products import add_times, suits, times, times_plus

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def fused_layers(model: Any) -> Iterator[None]:
    """Within, the linear layers of ``model`` compute so, where they can."""
    changed = [
        (module, forward)
        for module in model.modules()
        if "forward" not in module.__dict__ and (forward := _forward_of(module)) is not None
    ]
    for module, forward in changed:
        module.__dict__["forward"] = forward
    try:
        with quick_rotary(model):
            yield
    finally:
        for module, _ in changed:
            del module.__dict__["forward"]


def _forward_of(module: Any) -> Callable[..., Tensor] | None:
    import torch
    from peft.tuners.lora import LoraLayer

    if not products.there():
        return None
    if isinstance(module, LoraLayer) and "Linear" in type(module).__name__:
        return lambda rows, *args, **options: _adapted(module, rows, *args, **options)
    if type(module) is torch.nn.Linear and suits(module.weight):
        return lambda rows: _plain(module, rows)
    return quick_forward(module)


def _plain(module: Any, rows: Tensor) -> Tensor:
    """A linear layer without an adapter."""
    if module.weight.requires_grad:
        return type(module).forward(module, rows)  # type: ignore[no-any-return]
    out: Tensor = _functions().frozen(rows, module.weight, module.bias)
    return out


def _adapted(module: Any, rows: Tensor, *args: Any, **options: Any) -> Tensor:
    """A linear layer with one plain adapter, which is active; PEFT's own forward otherwise."""
    import torch

    names = [name for name in module.active_adapters if name in module.lora_A]
    plain = len(names) == 1 and not (args or options or module.disable_adapters or module.merged)
    if not plain or names[0] in module.lora_variant:
        return type(module).forward(module, rows, *args, **options)  # type: ignore[no-any-return]
    (name,) = names
    first, second, dropout = (
        each[name] for each in (module.lora_A, module.lora_B, module.lora_dropout)
    )
    known = type(dropout) in (torch.nn.Dropout, torch.nn.Identity)
    dtypes = {rows.dtype, first.weight.dtype}
    if not known or first.bias is not None or second.bias is not None or not suits(first.weight):
        return type(module).forward(module, rows)  # type: ignore[no-any-return]
    rate = getattr(dropout, "p", 0.0) if dropout.training else 0.0
    kept = draw_kept(rows, rate) if rate else None
    scale = module.scaling[name] / kept_share(rate)
    base = module.base_layer
    plain = type(base) is torch.nn.Linear and suits(base.weight) and not base.weight.requires_grad
    if plain and len(dtypes) == 1:
        given = (base.weight, base.bias, first.weight, second.weight)
        whole: Tensor = _functions().whole(rows, kept, *given, scale)
        return whole
    out = base(rows)
    if len(dtypes | {out.dtype}) > 1:
        return type(module).forward(module, rows)  # type: ignore[no-any-return]
    added: Tensor = _functions().adapter(rows, kept, out, first.weight, second.weight, scale)
    return added


def _flat(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1])


class _Functions(NamedTuple):
    """Operations with backwards of their own, made once torch is there."""

    frozen: Callable[..., Tensor]
    adapter: Callable[..., Tensor]
    whole: Callable[..., Tensor]


@cache
def _functions() -> _Functions:
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
        """y + s·((x∘k)Aᵀ)Bᵀ, where A and B learn and k is dropout's draw, if there is any."""

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
            back, *grads = _slopes(slope, masked(rows, kept), low, second, ctx.scale)
            grad_rows = None
            if ctx.needs_input_grad[0]:
                grad_rows = times(back, first.t())
                if kept is not None:
                    grad_rows.mul_(as_factors(kept, grad_rows))
            return grad_rows, None, slope, *grads, None

    class Whole(torch.autograd.Function):
        """xWᵀ + b + s·((x∘k)Aᵀ)Bᵀ, where A and B learn and k is dropout's draw, if any."""

        @staticmethod
        def forward(
            ctx: Any,
            rows: Tensor,
            kept: Tensor | None,
            weight: Tensor,
            bias: Tensor | None,
            first: Tensor,
            second: Tensor,
            scale: float,
        ) -> Tensor:
            low = times(masked(rows, kept), first)
            ctx.scale = scale
            ctx.save_for_backward(rows, kept, low, weight, first, second)
            return add_times(low, second * scale, times(rows, weight, bias))

        @staticmethod
        def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
            rows, kept, low, weight, first, second = ctx.saved_tensors
            back, *grads = _slopes(slope, masked(rows, kept), low, second, ctx.scale)
            grad_rows = None
            if ctx.needs_input_grad[0]:
                grad_rows = times(slope, weight.t())
                if kept is None:
                    grad_rows = add_times(back, first.t(), grad_rows)
                else:
                    more = times(back, first.t())
                    grad_rows.addcmul_(more, as_factors(kept, more))
            return grad_rows, None, None, None, *grads, None

    return _Functions(Frozen.apply, Adapter.apply, Whole.apply)


def _slopes(
    slope: Tensor, rows: Tensor, low: Tensor, second: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """What goes back to xAᵀ, to A and to B."""
    back = times(slope, (second * scale).t())
    grad_first = times(_flat(back).t(), _flat(rows).t())
    grad_second = times(_flat(low).t(), _flat(slope).t()).t() * scale
    return back, grad_first, grad_second
