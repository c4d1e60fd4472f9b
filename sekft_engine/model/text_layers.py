"""The linear layers of a model that adapters may be put on, and their share of its weights."""

from __future__ import annotations

import inspect
import re
from collections.abc import Hashable, Sequence
from functools import cache
from typing import Any

from sekft_engine.core.errors import BadInput
from sekft_engine.records.adapted import AdaptedShare

#: Attributes of a weight that can be asked for without using its values.
_HARMLESS = r"(?!\.(?:dtype|device|shape|size|ndim|data_ptr)\b)"


class TextLayers:
    """The layers of a base's text model, as they are without adapters.

    They are the linear layers of the module that turns token ids into hidden states. So the output
    head is none of them, nor is a vision tower around the text model, nor a layer whose weights the
    model's code reads past the layer, where an adapter would silently do nothing.

    Args:
        model: without adapters, with or without weights.
    """

    def __init__(self, model: Any) -> None:
        import torch

        decoder, head = decoder_of(model), model.get_output_embeddings()
        within = set(decoder.modules())
        skipped = read_past(model) | {head}
        modules = dict(model.named_modules())
        self._sizes = {
            name: module.in_features * module.out_features
            for name, module in modules.items()
            if isinstance(module, torch.nn.Linear) and module in within and module not in skipped
        }
        self._modules = tuple(modules)
        self._weights = sum(map(weight_count, model.parameters()))
        experts = _fused_experts(model)
        for name in _taken_for_experts(model, self.names) if experts else ():
            self._sizes = {key: size for key, size in self._sizes.items() if _last(key) != name}
        self._experts = sum(map(weight_count, experts.values()))
        self._example = next(iter(experts), "")

    @property
    def names(self) -> list[str]:
        """The last components of the layers' names, sorted."""
        return sorted({_last(name) for name in self._sizes})

    def choose(self, targets: str) -> list[str]:
        """The full names of the layers that a recipe's ``targets`` mean.

        Raises:
            BadInput: a target is not a layer that can be adapted.
        """
        wanted = {part.strip() for part in targets.split(",") if part.strip()}
        unknown = sorted(wanted - {*self.names, "all-linear"})
        if unknown or not wanted or not self._sizes:
            fused = f"; its experts ({self._example}) are fused" if self._example else ""
            raise BadInput(
                f"this base has no linear layer called {', '.join(unknown) or '(nothing)'}{fused}",
                where="recipe.targets",
                mend=f"all-linear, or some of {', '.join(self.names)}",
            )
        return [name for name in self._sizes if wanted & {"all-linear", _last(name)}]

    def target_modules(self, layers: Sequence[str]) -> list[str]:
        """What a configuration of PEFT names as its targets: the last components of the names of
        ``layers``; the full names where other modules have the same."""
        last = {_last(name) for name in layers}
        meant = {name for name in self._modules if _last(name) in last}
        return sorted(last if meant <= set(layers) else layers)

    def share(self, layers: Sequence[str]) -> AdaptedShare:
        """Which share of all weights an adapter on ``layers`` reaches."""
        return AdaptedShare(
            weights=self._weights,
            reached=sum(self._sizes.get(name, 0) for name in layers),
            experts=self._experts,
            example=self._example,
        )


def decoder_of(model: Any) -> Any:
    """The module that turns token ids into hidden states, within whatever else a model has."""
    decoder = model.get_decoder()
    if decoder is not None and decoder is not model:
        return decoder
    embeddings = model.get_input_embeddings()
    path = next(name for name, module in model.named_modules() if module is embeddings)
    return model.get_submodule(path.rpartition(".")[0])


def weight_count(tensor: Any) -> int:
    """The number of weights in a tensor; packed weights count unpacked."""
    packed = getattr(tensor, "quant_state", None)
    return int(packed.shape.numel() if packed is not None else tensor.numel())


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def read_past(model: Any) -> set[Any]:
    """Layers whose weight their owner's code uses by itself, as fused kernels of Mamba do."""
    return {
        child
        for module in model.modules()
        for name, child in module.named_children()
        if name in _weights_read(module.__class__)
    }


def _taken_for_experts(model: Any, names: Sequence[str]) -> list[str]:
    """Names of layers by which PEFT means the fused experts of ``model``, wherever they stand: a
    shared expert's layers beside those cannot be adapted by themselves."""
    from peft import LoraConfig
    from peft.utils import transformers_weight_conversion as conversion

    taken = []
    for name in names:
        config = LoraConfig(target_modules=[name])
        try:
            conversion.convert_peft_config_for_transformers(config, model, None)
        except ValueError:  # it wants the other half of a fused layer
            taken.append(name)
            continue
        if config.target_parameters:
            taken.append(name)
    return taken


@cache
def _weights_read(kind: Hashable) -> frozenset[str]:
    """The layers of a class of transformers whose weights its own methods read."""
    if not isinstance(kind, type) or not kind.__module__.startswith("transformers.models."):
        return frozenset()
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):
        return frozenset()
    return frozenset(re.findall(rf"\bself\.(\w+)\.weight\b{_HARMLESS}", source))


def _fused_experts(model: Any) -> dict[str, Any]:
    """The parameters that hold the weights of all experts of a layer at once, by name."""
    import torch

    text = model.config.get_text_config()
    named = (getattr(text, key, None) for key in text.to_dict() if "expert" in key)
    counts = {value for value in named if isinstance(value, int)}
    return {
        f"{path}.{name}": tensor
        for path, module in model.named_modules()
        if not isinstance(module, torch.nn.Conv1d | torch.nn.Conv2d | torch.nn.Conv3d)
        for name, tensor in module.named_parameters(recurse=False)
        if tensor.ndim > 2 and tensor.shape[0] in counts
    }
