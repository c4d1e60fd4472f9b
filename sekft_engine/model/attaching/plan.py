"""Which layers of a base an adapter means, and which tensors its file must hold for them.

It follows PEFT's own rules on the base's modules, before anything is attached.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sekft_engine.core.errors import BadInput, DigestMismatch
from sekft_engine.model.attaching.fields import LoraSettings
from sekft_engine.model.attaching.patterns import end_matches, full_matches

#: The prefix of all names in a PEFT file.
PREFIX = "base_model.model."
#: PEFT's name for all linear layers except the output head.
ALL_LINEAR = "all-linear"
#: An adapter of up to so many weights is never too large.
SMALL = 1 << 24


class AdaptedLayer(NamedTuple):
    """A layer that gets an adapter: its full name in the base, its input and output width, and the
    adapter's rank and alpha there."""

    name: str
    embedding: bool
    inputs: int
    outputs: int
    rank: int
    alpha: float


class Plan(NamedTuple):
    """The layers that an adapter adapts on a base, and its settings."""

    settings: LoraSettings
    layers: tuple[AdaptedLayer, ...]
    where: str

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor of the adapter, by its name in the file."""
        found: dict[str, tuple[int, ...]] = {}
        for layer in self.layers:
            name = PREFIX + layer.name
            if layer.embedding:
                found[f"{name}.lora_embedding_A"] = (layer.rank, layer.inputs)
                found[f"{name}.lora_embedding_B"] = (layer.outputs, layer.rank)
            else:
                found[f"{name}.lora_A.weight"] = (layer.rank, layer.inputs)
                found[f"{name}.lora_B.weight"] = (layer.outputs, layer.rank)
            if self.settings.lora_bias:
                found[f"{name}.lora_B.bias"] = (layer.outputs,)
            if self.settings.use_dora:
                found[f"{name}.lora_magnitude_vector"] = (layer.outputs,)
        return found

    def scaling(self, layer: AdaptedLayer) -> float:
        """The factor of the adapter's product in this layer."""
        root = math.sqrt(layer.rank) if self.settings.use_rslora else layer.rank
        return layer.alpha / root

    def config(self) -> Any:
        """The LoraConfig with which PEFT makes exactly these layers, without an initialisation that
        reads the base's weights."""
        from peft import LoraConfig, TaskType

        settings = self.settings
        return LoraConfig(
            r=settings.r,
            lora_alpha=settings.lora_alpha,
            lora_dropout=settings.lora_dropout,
            target_modules=[layer.name for layer in self.layers],
            rank_pattern=_exactly((layer.name, layer.rank, settings.r) for layer in self.layers),
            alpha_pattern=_exactly(
                (layer.name, layer.alpha, settings.lora_alpha) for layer in self.layers
            ),
            use_rslora=settings.use_rslora,
            use_dora=settings.use_dora,
            lora_bias=settings.lora_bias,
            fan_in_fan_out=settings.fan_in_fan_out,
            init_lora_weights=False,
            bias="none",
            task_type=TaskType.CAUSAL_LM,
            inference_mode=True,
        )


def _exactly(layers: Any) -> dict[str, Any]:
    """A pattern for each layer whose number differs from the usual."""
    return {f"^{re.escape(name)}": number for name, number, usual in layers if number != usual}


def plan_layers(
    settings: LoraSettings, modules: Mapping[str, Any], model: Any, *, largest: int, where: str
) -> Plan:
    """Find the layers that an adapter with ``settings`` adapts on a base.

    Args:
        modules: the base's modules by full name, without those of adapters.
        model: the base.
        largest: the most weights that the adapter may have; up to :data:`SMALL` are always allowed.
        where: the adapter's configuration, for errors.

    Raises:
        BadInput: it means layers that cannot be adapted, or would change parts of the base.
        DigestMismatch: the base has no such layers.
    """
    names = _targeted(settings, modules, model, where)
    if not names:
        wanted = settings.target_modules
        shown = wanted if isinstance(wanted, str) else ", ".join(sorted(wanted)[:6])
        raise DigestMismatch(
            f"this base has no layers called {shown}", where=where, mend="load its base"
        )
    ranks = _numbers(settings.rank_pattern, settings.r, names, where)
    alphas = _numbers(settings.alpha_pattern, settings.lora_alpha, names, where)
    layers = tuple(
        _layer(name, modules[name], rank, alpha, where)
        for name, rank, alpha in zip(names, ranks, alphas, strict=True)
    )
    plan = Plan(settings, layers, where)
    _refuse_biases(plan, modules)
    _refuse_embeddings(plan, modules, model)
    size = sum(math.prod(shape) for shape in plan.tensors().values())
    if size > max(largest, SMALL):
        raise BadInput(
            f"the adapter has {size:,} weights, more than its base ({largest:,})",
            where=where,
            mend="load its base, or train it with a smaller rank",
        )
    return plan


def _targeted(
    settings: LoraSettings, modules: Mapping[str, Any], model: Any, where: str
) -> list[str]:
    """Names of the layers that PEFT would adapt, in the order of the model."""
    from peft import LoraConfig
    from peft.tuners.tuners_utils import check_target_module_exists

    names = [name for name in modules if name]
    targets, excluded = settings.target_modules, settings.exclude_modules
    if isinstance(targets, str):
        if targets.lower() == ALL_LINEAR:
            targets = tuple(_linear(modules, model))
        else:
            targets = tuple(full_matches(targets, names, where))
    if isinstance(excluded, str):
        excluded = tuple(full_matches(excluded, names, where))
    rules = LoraConfig(
        target_modules=list(targets),
        exclude_modules=list(excluded) or None,
        layers_to_transform=list(settings.layers_to_transform) or None,
        layers_pattern=list(settings.layers_pattern) or None,
    )
    return [name for name in names if check_target_module_exists(rules, name)]


def _linear(modules: Mapping[str, Any], model: Any) -> list[str]:
    import torch
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    head = getattr(head, "base_layer", head)
    kinds = (torch.nn.Linear, Conv1D)
    return [
        name for name, module in modules.items() if isinstance(module, kinds) and module is not head
    ]


def _numbers(pattern: Mapping[str, Any], usual: Any, names: Sequence[str], where: str) -> list[Any]:
    """The number of each layer: that of the first key that matches its name, else the usual one."""
    if not pattern:
        return [usual] * len(names)
    matched = end_matches(list(pattern), names, where)
    return [
        next(
            (number for number, of in zip(pattern.values(), matched, strict=True) if name in of),
            usual,
        )
        for name in names
    ]


def _layer(name: str, module: Any, rank: int, alpha: float, where: str) -> AdaptedLayer:
    import torch
    from transformers.pytorch_utils import Conv1D

    embedding = isinstance(module, torch.nn.Embedding)
    if embedding:
        inputs, outputs = module.num_embeddings, module.embedding_dim
    elif isinstance(module, torch.nn.Linear):
        inputs, outputs = module.in_features, module.out_features
    elif isinstance(module, Conv1D):
        inputs, outputs = module.weight.shape
    else:
        raise BadInput(
            f"the adapted {name} is no linear layer but {type(module).__name__}",
            where=where,
            mend="load its base, or train it on linear layers",
        )
    most = 2 * (outputs if embedding else max(inputs, outputs))
    if rank > most:
        raise BadInput(
            f"rank {rank} is more than twice the width of {name} (at most {most} here)",
            where=where,
            mend="load its base, or train it with a smaller rank",
        )
    return AdaptedLayer(name, embedding, int(inputs), int(outputs), rank, alpha)


def _refuse_biases(plan: Plan, modules: Mapping[str, Any]) -> None:
    """Refuse trained biases: they would overwrite those of the base."""
    wanted = plan.settings.bias
    if wanted == "none":
        return
    adapted = {layer.name for layer in plan.layers}
    owners = modules if wanted == "all" else {name: modules[name] for name in adapted}
    own = [name for name, module in owners.items() if _has_bias(module)]
    if own:
        raise BadInput(
            f'bias "{wanted}" replaces biases of the base, such as {own[0]}.bias',
            where=plan.where,
            mend="train it with bias none or lora_bias, or merge it into its base with PEFT",
        )


def _has_bias(module: Any) -> bool:
    return getattr(module, "_parameters", {}).get("bias") is not None


def _refuse_embeddings(plan: Plan, modules: Mapping[str, Any], model: Any) -> None:
    settings = plan.settings
    embeddings = [layer.name for layer in plan.layers if layer.embedding]
    if embeddings and settings.lora_bias:
        raise BadInput(
            f"lora_bias cannot be used on embeddings ({embeddings[0]})",
            where=plan.where,
            mend="leave one out",
        )
    head = model.get_output_embeddings()
    ends = {id(getattr(end, "base_layer", end)) for end in (head, model.get_input_embeddings())}
    at_ends = [layer.name for layer in plan.layers if id(modules[layer.name]) in ends]
    if at_ends and settings.ensure_weight_tying:
        raise BadInput(
            f"ensure_weight_tying has {at_ends[0]} and its tied layer share an adapter, "
            "which is not supported",
            where=plan.where,
            mend="train it without, or leave embeddings out",
        )
