"""Linear layers and their adapters on a CPU, with less work for the same result.

See :mod:`.lora` for the formulas. They serve PEFT's plain LoRA layers whose weights are fp32 and on
the CPU; queries, keys and values of a block, and the two ways into its SwiGLU, are made together.
All others, 4-bit ones among them, keep their base's own product, and models elsewhere PEFT's
forward altogether.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from sekft_engine.sft import products
from sekft_engine.sft.dropout import draw_kept, kept_share
from sekft_engine.sft.elementwise import quick_forward, quick_rotary
from sekft_engine.sft.lora import Adapted, adapted_layers, functions
from sekft_engine.sft.products import suits

if TYPE_CHECKING:
    from torch import Tensor

#: Layers that a block gives the same rows, by their usual names.
SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
#: What siblings of the one that was asked have made, in each thread.
_room = threading.local()


@contextmanager
def fused_layers(model: Any) -> Iterator[None]:
    """Within, the linear layers of ``model`` compute so, where they can."""
    changed = [
        (module, forward)
        for module, forward in _forwards(model)
        if "forward" not in module.__dict__
    ]
    for module, forward in changed:
        module.__dict__["forward"] = forward
    try:
        with quick_rotary(model):
            yield
    finally:
        _room.made = None
        for module, _ in changed:
            del module.__dict__["forward"]


def _forwards(model: Any) -> Iterator[tuple[Any, Callable[..., Tensor]]]:
    """Modules, and how they are to compute."""
    import torch

    if not products.there():
        return
    together: set[Any] = set()
    for module in model.modules():
        for names in SIBLINGS:
            family = [own for name in names if _is_adapted(own := getattr(module, name, None))]
            together.update(family)
            for place, own in enumerate(family):
                yield own, partial(_of_family, family, place)
        if _is_adapted(module) and module not in together:
            yield module, partial(_of_family, [module], 0)
        elif type(module) is torch.nn.Linear and suits(module.weight):
            yield module, partial(_plain, module)
        elif (forward := quick_forward(module)) is not None:
            yield module, forward


def _is_adapted(module: Any) -> bool:
    from peft.tuners.lora import LoraLayer

    return isinstance(module, LoraLayer) and "Linear" in type(module).__name__


def _plain(module: Any, rows: Tensor) -> Tensor:
    """A linear layer without an adapter."""
    if module.weight.requires_grad:
        return type(module).forward(module, rows)  # type: ignore[no-any-return]
    out: Tensor = functions().frozen(rows, module.weight, module.bias)
    return out


def _of_family(
    family: Sequence[Any], place: int, rows: Tensor, *args: Any, **options: Any
) -> Tensor:
    """What one of the layers that are given the same rows makes of them. The first that is asked
    makes it for all."""
    made = getattr(_room, "made", None)
    if made is not None and made[0] is family[0] and made[1] is rows and place in made[2]:
        out: Tensor = made[2].pop(place)
        if not made[2]:
            _room.made = None
        return out
    frozen = not (args or options) and all(_is_frozen(module.base_layer) for module in family)
    names = [name for module in family if (name := _plain_adapter(module, rows))] if frozen else []
    if len(names) < len(family):
        return _alone(family[place], rows, *args, **options)
    layers = [_adapted(*each, rows) for each in zip(family, names, strict=True)]
    outs = dict(enumerate(adapted_layers(rows, layers)))
    out = outs.pop(place)
    _room.made = (family[0], rows, outs) if outs else None
    return out


def _alone(module: Any, rows: Tensor, *args: Any, **options: Any) -> Tensor:
    """A layer whose base makes its own product; PEFT's forward if its adapter is not plain."""
    name = None if args or options else _plain_adapter(module, rows)
    if name is None:
        return type(module).forward(module, rows, *args, **options)  # type: ignore[no-any-return]
    out = module.base_layer(rows)
    if out.dtype != rows.dtype:
        return type(module).forward(module, rows)  # type: ignore[no-any-return]
    rate = _rate(module, name)
    kept = draw_kept(rows, rate) if rate else None
    first, second = module.lora_A[name].weight, module.lora_B[name].weight
    scale = module.scaling[name] / kept_share(rate)
    added: Tensor = functions().adapter(rows, kept, out, first, second, scale)
    return added


def _adapted(module: Any, name: str, rows: Tensor) -> Adapted:
    rate = _rate(module, name)
    return Adapted(
        weight=module.base_layer.weight,
        bias=module.base_layer.bias,
        first=module.lora_A[name].weight,
        second=module.lora_B[name].weight,
        scale=module.scaling[name] / kept_share(rate),
        kept=draw_kept(rows, rate) if rate else None,
    )


def _rate(module: Any, name: str) -> float:
    dropout = module.lora_dropout[name]
    return getattr(dropout, "p", 0.0) if dropout.training else 0.0


def _plain_adapter(module: Any, rows: Tensor) -> str | None:
    """The name of the one plain adapter that is in use, if it is so."""
    import torch

    names = [name for name in module.active_adapters if name in module.lora_A]
    if len(names) != 1 or module.disable_adapters or module.merged:
        return None
    (name,) = names
    first, second = module.lora_A[name], module.lora_B[name]
    known = type(module.lora_dropout[name]) in (torch.nn.Dropout, torch.nn.Identity)
    plain = known and name not in module.lora_variant and first.bias is None and second.bias is None
    return name if plain and suits(first.weight) and rows.dtype == first.weight.dtype else None


def _is_frozen(base: Any) -> bool:
    """Whether the product of ``base`` can be made here."""
    import torch

    return type(base) is torch.nn.Linear and suits(base.weight) and not base.weight.requires_grad
