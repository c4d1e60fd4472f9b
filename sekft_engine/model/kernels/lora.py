# ruff: noqa: N803, N806, N815 - lora_A and lora_B are the names that the paper and PEFT use
"""LoRA layers on a CPU with hand-written backward passes.

LoRA (Hu et al. 2021, arXiv 2106.09685) adds to a frozen linear layer a product of two thin matrices
A [r, in] and B [out, r], of which only these are trained:

    y = x·Wᵀ + b + s·(x∘m)·Aᵀ·Bᵀ

where s is the scaling divided by the keep probability of dropout, and m its mask, if any. W is
frozen, so its gradient is not computed; the second product is accumulated into the first, and only
x, m and h = (x∘m)·Aᵀ are stored for the backward pass. (Hand-written backward passes for LoRA are
an idea of Unsloth's; these follow from the formula.)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sekft_engine.model.kernels.dropout import float_mask, masked
from sekft_engine.model.kernels.matmul import cpu_linear, flat, linear_add, linear_add_

if TYPE_CHECKING:
    from torch import Tensor


class Functions(NamedTuple):
    """The operations of this module, created once torch is imported.

    Shapes: x [..., in], weight [out, in], bias [out], lora_A [r, in], lora_B [out, r], dropout_mask
    [..., in] or None, base_output and results [..., out]; scaling is a number.

    ``frozen_linear(x, weight, bias)``: x·Wᵀ + b.
    ``lora_linear(x, weight, bias, lora_A, lora_B, dropout_mask, scaling)``: y as above.
    ``add_lora(x, base_output, lora_A, lora_B, dropout_mask, scaling)``: y as above, where the base
    layer has computed its own product.
    """

    frozen_linear: Callable[..., Tensor]
    lora_linear: Callable[..., Tensor]
    add_lora: Callable[..., Tensor]


class _Gradients(NamedTuple):
    """Gradients of the loss with respect to lora_A [r, in], lora_B [out, r], and h [..., r]."""

    lora_A: Tensor
    lora_B: Tensor
    h: Tensor


def _lora_gradients(
    x: Tensor, dropout_mask: Tensor | None, h: Tensor, lora_B: Tensor, scaling: float, grad: Tensor
) -> _Gradients:
    grad_h = cpu_linear(grad, (lora_B * scaling).t())
    return _Gradients(
        lora_A=cpu_linear(flat(grad_h).t(), flat(masked(x, dropout_mask)).t()),
        lora_B=cpu_linear(flat(h).t(), flat(grad).t()).t() * scaling,
        h=grad_h,
    )


@cache
def functions() -> Functions:
    import torch

    class FrozenLinear(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            ctx.save_for_backward(weight)
            return cpu_linear(x, weight, bias)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
            (weight,) = ctx.saved_tensors
            return cpu_linear(grad_output, weight.t()), None, None

    class LoRALinear(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any,
            x: Tensor,
            weight: Tensor,
            bias: Tensor | None,
            lora_A: Tensor,
            lora_B: Tensor,
            dropout_mask: Tensor | None,
            scaling: float,
        ) -> Tensor:
            h = cpu_linear(masked(x, dropout_mask), lora_A)
            ctx.scaling = scaling
            ctx.save_for_backward(x, weight, lora_A, lora_B, dropout_mask, h)
            return linear_add_(h, lora_B * scaling, cpu_linear(x, weight, bias))

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
            x, weight, lora_A, lora_B, dropout_mask, h = ctx.saved_tensors
            grads = _lora_gradients(x, dropout_mask, h, lora_B, ctx.scaling, grad_output)
            grad_x = None
            if ctx.needs_input_grad[0]:
                grad_x = cpu_linear(grad_output, weight.t())
                if dropout_mask is None:
                    grad_x = linear_add_(grads.h, lora_A.t(), grad_x)
                else:
                    through_lora = cpu_linear(grads.h, lora_A.t())
                    grad_x.addcmul_(through_lora, float_mask(dropout_mask, through_lora))
            return grad_x, None, None, grads.lora_A, grads.lora_B, None, None

    class AddLoRA(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any,
            x: Tensor,
            base_output: Tensor,
            lora_A: Tensor,
            lora_B: Tensor,
            dropout_mask: Tensor | None,
            scaling: float,
        ) -> Tensor:
            h = cpu_linear(masked(x, dropout_mask), lora_A)
            ctx.scaling = scaling
            ctx.save_for_backward(x, lora_A, lora_B, dropout_mask, h)
            return linear_add(h, lora_B * scaling, base_output)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
            x, lora_A, lora_B, dropout_mask, h = ctx.saved_tensors
            grads = _lora_gradients(x, dropout_mask, h, lora_B, ctx.scaling, grad_output)
            grad_x = None
            if ctx.needs_input_grad[0]:
                grad_x = cpu_linear(grads.h, lora_A.t())
                if dropout_mask is not None:
                    grad_x.mul_(float_mask(dropout_mask, grad_x))
            return grad_x, grad_output, grads.lora_A, grads.lora_B, None, None

    return Functions(FrozenLinear.apply, LoRALinear.apply, AddLoRA.apply)
