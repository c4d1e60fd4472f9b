"""PEFT's layers on a model: check them against the plan, and access the adapter's tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sekft_engine.core.errors import BadInput
from sekft_engine.model.attaching.plan import PREFIX, Plan

if TYPE_CHECKING:
    from torch import Tensor


def refuse_other_layers(model: Any, slot: str, plan: Plan) -> None:
    """Raise :class:`BadInput` unless PEFT made the adapter ``slot`` as in ``plan``."""
    from peft.tuners.lora import LoraLayer

    wanted = {layer.name: (layer.rank, plan.scaling(layer)) for layer in plan.layers}
    made = {
        name: (module.r[slot], module.scaling[slot])
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer) and slot in module.r
    }
    other = sorted(
        name for name in made.keys() | wanted.keys() if made.get(name) != wanted.get(name)
    )
    if other:
        raise BadInput(
            f"PEFT adapts {other[0]} in another way than the configuration says",
            where=plan.where,
            mend="name other layers: fused experts are not supported",
        )


def adapter_tensors(model: Any, slot: str, plan: Plan) -> dict[str, Tensor]:
    """The adapter's tensors on the model, by their names in a file."""
    found: dict[str, Tensor] = {}
    for layer in plan.layers:
        module = model.get_submodule(layer.name)
        name = PREFIX + layer.name
        if layer.embedding:
            found[f"{name}.lora_embedding_A"] = module.lora_embedding_A[slot]
            found[f"{name}.lora_embedding_B"] = module.lora_embedding_B[slot]
        else:
            found[f"{name}.lora_A.weight"] = module.lora_A[slot].weight
            found[f"{name}.lora_B.weight"] = module.lora_B[slot].weight
        if plan.settings.lora_bias:
            found[f"{name}.lora_B.bias"] = module.lora_B[slot].bias
        if plan.settings.use_dora:
            found[f"{name}.lora_magnitude_vector"] = module.lora_magnitude_vector[slot].weight
    return found


def fill(tensors: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Copy the values of the adapter's file into its tensors on the model."""
    import torch

    with torch.no_grad():
        for name, tensor in tensors.items():
            if tensor.shape != weights[name].shape:  # copy_ would broadcast a smaller one
                raise ValueError(f"{name}: {tuple(tensor.shape)} for {tuple(weights[name].shape)}")
            tensor.copy_(weights[name])


def is_adapter_weight(name: str) -> bool:
    """Whether a parameter of this name is an adapter's."""
    return ".lora_" in name
