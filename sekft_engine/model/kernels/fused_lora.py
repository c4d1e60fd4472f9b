# ruff: noqa: N806 - lora_A and lora_B are the names that the paper and PEFT use
"""The linear layers of a model in training, LoRA layers above all, computed with less work.

See :mod:`sekft_engine.model.kernels.lora` for the formulas. They apply to PEFT's plain LoRA
layers with fp32 weights on the CPU, and to plain frozen linear layers. 4-bit layers keep their
base's own product. Any other layer (another kind of adapter, several active ones, another dtype or
device) is left to PEFT.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from sekft_engine.model.kernels import matmul
from sekft_engine.model.kernels.dropout import draw_mask, keep_probability
from sekft_engine.model.kernels.install import Replacement
from sekft_engine.model.kernels.lora import functions
from sekft_engine.model.kernels.matmul import is_supported

if TYPE_CHECKING:
    from torch import Tensor


def fused_linears(model: Any) -> Iterator[Replacement]:
    """Replace the forwards of the linear layers of ``model`` that are supported."""
    import torch

    if not matmul.is_available() or next(model.parameters()).device.type != "cpu":
        return
    for module in model.modules():
        if "forward" in vars(module):  # already replaced
            continue
        if _is_lora_linear(module):
            yield Replacement(module, "forward", partial(_lora_forward, module))
        elif type(module) is torch.nn.Linear and is_supported(module.weight):
            yield Replacement(module, "forward", partial(_linear_forward, module))


def _is_lora_linear(module: Any) -> bool:
    from peft.tuners.lora import LoraLayer

    return isinstance(module, LoraLayer) and "Linear" in type(module).__name__


def _linear_forward(module: Any, x: Tensor) -> Tensor:
    """A linear layer without an adapter: x [..., in], result [..., out]."""
    if module.weight.requires_grad:
        return type(module).forward(module, x)  # type: ignore[no-any-return]
    return functions().frozen_linear(x, module.weight, module.bias)


def _lora_forward(module: Any, x: Tensor, *args: Any, **options: Any) -> Tensor:
    """A LoRA layer: x [..., in], result [..., out]."""
    name = None if args or options else _plain_adapter(module, x)
    if name is None:
        return type(module).forward(module, x, *args, **options)  # type: ignore[no-any-return]
    base, lora_A, lora_B = module.base_layer, module.lora_A[name].weight, module.lora_B[name].weight
    base_output = None if _is_frozen_linear(base) else base(x)
    if base_output is not None and base_output.dtype != x.dtype:
        return type(module).forward(module, x)  # type: ignore[no-any-return]
    dropout = module.lora_dropout[name]
    p = getattr(dropout, "p", 0.0) if dropout.training else 0.0
    mask = draw_mask(x, p) if p else None
    scaling = module.scaling[name] / keep_probability(p)
    if base_output is None:
        return functions().lora_linear(x, base.weight, base.bias, lora_A, lora_B, mask, scaling)
    return functions().add_lora(x, base_output, lora_A, lora_B, mask, scaling)


def _plain_adapter(module: Any, x: Tensor) -> str | None:
    """The name of the only active adapter if it and ``x`` are plain LoRA, fp32, on the CPU."""
    import torch

    names = [name for name in module.active_adapters if name in module.lora_A]
    if len(names) != 1 or module.disable_adapters or module.merged:
        return None
    (name,) = names
    lora_A, lora_B = module.lora_A[name], module.lora_B[name]
    is_plain = (
        type(module.lora_dropout[name]) in (torch.nn.Dropout, torch.nn.Identity)
        and name not in module.lora_variant
        and lora_A.bias is None
        and lora_B.bias is None
    )
    fits = is_supported(lora_A.weight) and x.dtype == lora_A.weight.dtype
    return name if is_plain and fits else None


def _is_frozen_linear(base: Any) -> bool:
    """Whether the product of the base layer can be computed here."""
    import torch

    return (
        type(base) is torch.nn.Linear
        and is_supported(base.weight)
        and not base.weight.requires_grad
    )
