# ruff: noqa: N806 - lora_A and lora_B are the names that the paper and PEFT use
"""LoRA layers for batches whose rows have adapters of their own.

PEFT computes with the adapters that are active, for the whole batch. Here each row names its
adapter, or none: a layer's base product is computed once for all rows, and each adapter's product
is added to its rows. The formula of a row is PEFT's own, ``result + lora_B(lora_A(x)) * scaling``,
so a batch of one adapter gives the bits that PEFT gives. In a mixed batch the products of an
adapter have fewer rows, which may change the last bits.

Layers with another kind of adapter (DoRA, embeddings, convolutions) go through PEFT's own forward
for mixed batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sekft_engine.core.errors import Unavailable
from sekft_engine.model.device import device_of
from sekft_engine.model.kernels.install import Kernels, Replacement

if TYPE_CHECKING:
    from torch import Tensor

#: PEFT's name for rows without an adapter.
_BARE = "__base__"


class _Group(NamedTuple):
    """The rows of one adapter: a slice of neighbours, or indices ``[r]``."""

    slot: str
    rows: slice | Tensor
    size: int


class MixedLora(Kernels):
    """A context in which each row of a batch computes with the adapter that it names.

    Which adapters are active in PEFT has no effect in it. The model must be in ``eval`` mode.
    :meth:`set_rows` comes before each forward pass.

    Args:
        model: with or without adapters; those that are added later need a new context.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(self._replacements)
        self._model = model
        self._device = device_of(next(model.parameters()).device)
        self._slots: list[str | None] = []
        self._groups: list[_Group] = []

    def set_rows(self, slots: Sequence[str | None]) -> None:
        """Name the adapter of each row of the next pass.

        Args:
            slots: PEFT's names of the adapters, one for each row; None = the bare base.
        """
        if list(slots) == self._slots:
            return
        self._slots = list(slots)
        lines: dict[str, list[int]] = {}
        for line, slot in enumerate(slots):
            if slot is not None:
                lines.setdefault(slot, []).append(line)
        self._groups = [
            _Group(slot, self._index(rows), len(rows)) for slot, rows in sorted(lines.items())
        ]

    def _index(self, rows: list[int]) -> slice | Tensor:
        first, last = rows[0], rows[-1]
        if last - first + 1 == len(rows):
            return slice(first, last + 1)
        return self._device.upload(np.array(rows))

    def _replacements(self) -> Iterator[Replacement]:
        if getattr(self._model, "peft_config", None) is None:
            return  # without an adapter there is no need for PEFT, nor to load it
        from peft.tuners.lora import LoraLayer

        for name, module in self._model.named_modules():
            if isinstance(module, LoraLayer):
                yield Replacement(module, "forward", partial(self._forward, module, name))

    def _forward(self, module: Any, name: str, x: Tensor, *args: Any, **options: Any) -> Tensor:
        """A LoRA layer: x ``[rows, ..., in]``, result ``[rows, ..., out]``."""
        groups = [group for group in self._groups if group.slot in module.r]
        result: Tensor
        if not groups:
            result = module.base_layer(x, *args, **options)
            return result
        if x.shape[0] != len(self._slots):
            raise Unavailable(
                f"the layer {name} does not keep the rows of a batch apart",
                where=str(getattr(self._model.config, "model_type", "this base")),
                mend="let one adapter act at a time",
            )
        if not all(_is_plain(module, group.slot) for group in groups):
            names = [slot if slot in module.r else _BARE for slot in map(str, self._slots)]
            # PEFT's public forward would ask which adapters are active.
            mixed = module._mixed_batch_forward  # noqa: SLF001
            result = mixed(x, *args, adapter_names=names, **options)
            return result
        result = module.base_layer(x, *args, **options)
        for group in groups:
            if group.size == len(self._slots):
                return (result + _product(module, group.slot, x)).to(result.dtype)
            product = _product(module, group.slot, x[group.rows])
            if product.dtype != result.dtype:
                product = (result[group.rows] + product).to(result.dtype)
                result[group.rows] = product
            elif isinstance(group.rows, slice):
                result[group.rows] += product
            else:
                result.index_add_(0, group.rows, product)
        return result


def _is_plain(module: Any, slot: str) -> bool:
    """Whether the layer's adapter is plain LoRA on a linear layer."""
    return slot in module.lora_A and slot not in module.lora_variant and _is_linear(module)


def _is_linear(module: Any) -> bool:
    return "Linear" in type(module).__name__


def _product(module: Any, slot: str, x: Tensor) -> Tensor:
    """The adapter's share of the layer: x ``[..., in]``, result ``[..., out]``."""
    from torch.nn.functional import linear

    lora_A, lora_B = module.lora_A[slot], module.lora_B[slot]
    # Called as functions: with many adapters a step has thousands of these small products.
    h = linear(x.to(lora_A.weight.dtype), lora_A.weight, lora_A.bias)
    product: Tensor = linear(h, lora_B.weight, lora_B.bias) * module.scaling[slot]
    return product
