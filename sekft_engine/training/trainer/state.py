"""The state that later steps depend on, as named tensors: ``weight.N`` and ``optimiser.N.NAME`` of
the Nth weight, and those of :func:`sekft_engine.model.device.random_state`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sekft_engine.core.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer


def state_of(
    weights: Sequence[Tensor], optimizer: Optimizer, random: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The state; it shares the memory of weights and moments.

    Args:
        weights: the trainable ones.
        optimizer: of these weights.
        random: the state of the random generators.
    """
    tensors = dict(random)
    for number, weight in enumerate(weights):
        tensors[f"weight.{number}"] = weight.detach()
        for key, value in optimizer.state.get(weight, {}).items():
            tensors[f"optimiser.{number}.{key}"] = value
    return tensors


def refuse_other_shapes(tensors: Mapping[str, Tensor], weights: Sequence[Tensor]) -> None:
    """Raise :class:`BadInput` if ``tensors`` are the state of an adapter of another shape."""
    count = sum(key.startswith("weight.") for key in tensors)
    shapes = [tensors[f"weight.{number}"].shape for number in range(count)]
    if shapes != [weight.shape for weight in weights]:
        raise BadInput("the checkpoint is of an adapter of another shape", mend="start a new run")


def restore_state(
    tensors: Mapping[str, Tensor], weights: Sequence[Tensor], optimizer: Optimizer
) -> None:
    """Make weights and optimiser as they were when :func:`state_of` returned ``tensors``."""
    import torch

    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, owner, name = key.split(".", 2)
            moments.setdefault(int(owner), {})[name] = value
    with torch.no_grad():
        for number, weight in enumerate(weights):
            weight.copy_(tensors[f"weight.{number}"])
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
