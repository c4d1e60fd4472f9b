"""The device that torch computes on. Every question about it is answered here, and only here.

A :class:`Device` answers for one device; :func:`device_of` gives it for a ``torch.device``. Callers
ask it and need no branch: a CPU answers too. Tests register a simulated kind beside the real ones
(:func:`register`). Torch is imported only when needed.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sekft_engine.core.machine import trim_memory, usable_threads
from sekft_engine.model.device.choosing import choose_device, device_fault
from sekft_engine.model.device.kinds import (
    CudaDevice,
    Device,
    MpsDevice,
    device_of,
    fits_varlen,
    kinds,
    register,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "CudaDevice",
    "Device",
    "MpsDevice",
    "choose_device",
    "communication_backend",
    "device_fault",
    "device_of",
    "fits_varlen",
    "kinds",
    "out_of_memory",
    "random_kept",
    "random_state",
    "register",
    "release_memory",
    "set_random_state",
    "use_usable_threads",
]


def communication_backend() -> str:
    """The backend of ``torch.distributed`` for tensors of this machine's devices."""
    return "cpu:gloo,cuda:nccl" if CudaDevice.count() else "gloo"


def use_usable_threads() -> None:
    """Let torch use :func:`usable_threads` on the CPU, unless ``OMP_NUM_THREADS`` is set."""
    import torch

    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(usable_threads())


# --- memory ---------------------------------------------------------------------------------------


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out: torch's own errors, and those of libraries that
    allocate for themselves (cuBLAS)."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    signs = ("allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
    return any(sign in str(error) for sign in signs)


def release_memory() -> None:
    """Free the memory of unreachable objects, and torch's reserve on every device."""
    gc.collect()
    trim_memory()
    for kind in kinds().values():
        kind.release()


# --- random numbers -------------------------------------------------------------------------------


def random_state(place: torch.device) -> dict[str, Tensor]:
    """The state of the random generators of CPU and ``place``, as tensors for a checkpoint."""
    import torch

    state = {"random.cpu": torch.get_rng_state()}
    own = device_of(place).random_state()
    if own is not None:
        state[_random_key(place)] = own
    return state


def set_random_state(tensors: dict[str, Tensor], place: torch.device) -> None:
    """Restore the random generators from the tensors of :func:`random_state`.

    The state of another card of the same kind serves as well. Where there is none, because the run
    was on a CPU, the generator of ``place`` stays as it is.
    """
    import torch

    torch.set_rng_state(tensors["random.cpu"])
    alike = sorted(name for name in tensors if name.startswith(f"random.{place.type}."))
    name = _random_key(place)
    if name in tensors or alike:
        device_of(place).set_random_state(tensors[name if name in tensors else alike[0]])


@contextlib.contextmanager
def random_kept(place: torch.device) -> Iterator[None]:
    """A context that has no effect on later random numbers."""
    before = random_state(place)
    try:
        yield
    finally:
        set_random_state(before, place)


def _random_key(place: torch.device) -> str:
    return f"random.{place.type}.{place.index or 0}"
