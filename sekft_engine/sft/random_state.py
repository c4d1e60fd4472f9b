"""The random generators that training draws from, as tensors of a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def random_state() -> dict[str, Tensor]:
    """The state of the generators that dropout draws from."""
    import torch

    state = {"random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        for number, one in enumerate(torch.cuda.get_rng_state_all()):
            state[f"random.cuda.{number}"] = one
    return state


def set_random_state(tensors: dict[str, Tensor]) -> None:
    """Let them go on from where they were."""
    import torch

    torch.set_rng_state(tensors["random.cpu"])
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            if (state := tensors.get(f"random.cuda.{number}")) is not None:
                torch.cuda.set_rng_state(state, number)
