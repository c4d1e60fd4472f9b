"""What layers a base has, read from the headers of its weight files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sekft_engine.bases.weights import StoredTensor, stored_tensors, weight_files
from sekft_engine.core.errors import BadInput
from sekft_engine.records.adapted import AdaptedShare

#: The component of a tensor's name that marks the text part of a model with other parts.
_TEXT = "language_model"
#: Components of the names of experts; transformers fuses those of a layer as it loads them.
_EXPERTS = ("experts", "expert")
#: Layers with matrices that no adapter is put on: embeddings, the head, and what chooses experts.
_NOT_ADAPTED = ("embed", "wte", "wpe", "lm_head", "router")


def layer_names(folder: Path) -> set[str]:
    """The last names of all layers that an adapter can be put on: ``q_proj``, ``down_proj``, …

    Raises:
        BadInput: a weight file is no safetensors file.
    """
    tensors = stored_tensors(folder)
    parts = {name: name.split(".") for name, tensor in tensors.items() if _is_matrix(name, tensor)}
    has_others = any(_TEXT in name.split(".") for name in tensors)
    return {
        part[-2]
        for part in parts.values()
        if (_TEXT in part or not has_others) and not _is_left_out(part, tensors)
    }


def refuse_unknown_targets(folder: Path, targets: str) -> None:
    """Raise :class:`BadInput` where a recipe's ``targets`` name no layer of the base. Reads the
    headers of its weights alone, so that nobody waits for the base to be loaded."""
    names = {part.strip() for part in targets.split(",") if part.strip()} - {"all-linear"}
    if not names or not weight_files(folder):  # inspected by its tokenizer alone
        return
    there = layer_names(folder)
    if unknown := sorted(names - there):
        raise BadInput(
            f"this base has no linear layer called {', '.join(unknown)}",
            where="recipe.targets",
            mend=f"all-linear, or some of {', '.join(sorted(there))}",
        )


def stored_share(folder: Path, targets: str) -> AdaptedShare | None:
    """Which share of a base an adapter on the layers ``targets`` reaches, judged by the names and
    shapes of its tensors; None where its weights are not here. Needs no torch.

    The loaded base knows better (:func:`sekft_engine.model.family.expected_share`).
    """
    try:
        tensors = stored_tensors(folder)
    except (OSError, BadInput):
        return None
    parts = {name: name.split(".") for name in tensors}
    has_others = any(_TEXT in part for part in parts.values())
    wanted = {part.strip() for part in targets.split(",")}
    reached = experts = 0
    example = ""
    for name, tensor in tensors.items():
        part = parts[name]
        if has_others and _TEXT not in part:
            continue
        if _is_of_experts(part, tensor):
            experts += tensor.size
            example = example or name
        elif _is_matrix(name, tensor) and not _is_left_out(part, tensors):
            reached += tensor.size if wanted & {"all-linear", part[-2]} else 0
    weights = sum(tensor.size for tensor in tensors.values())
    if not weights:
        return None
    return AdaptedShare(weights=weights, reached=reached, experts=experts, example=example)


def _is_matrix(name: str, tensor: StoredTensor) -> bool:
    return name.count(".") > 0 and name.endswith(".weight") and len(tensor.shape) == 2


def _is_of_experts(part: list[str], tensor: StoredTensor) -> bool:
    """Whether a tensor belongs to experts: by its name, or since it holds several matrices and is
    no convolution."""
    several = len(tensor.shape) == 3 and not any("conv" in word for word in part)
    return several or any(word in part for word in _EXPERTS)


def _is_left_out(part: list[str], there: Mapping[str, StoredTensor]) -> bool:
    """Whether a layer gets no adapter, by its name: its gate chooses experts where it is called so
    alone (``mlp.gate``), and not ``gate_proj``; and the kernels of a state-space layer, known by
    its ``A_log`` and ``D``, read the weights of its output projection past the layer."""
    beside = ".".join(part[:-2])
    is_state_space = f"{beside}.A_log" in there and f"{beside}.D" in there
    if is_state_space and part[-2] == "out_proj":
        return True
    return part[-2] == "gate" or any(word in part[-2] for word in _NOT_ADAPTED)
