"""The device that torch computes on: every call of ``torch.cuda`` in the project is here.

Each function works for a CPU too, so that callers need no branch. Torch is imported only when
needed.
"""

from __future__ import annotations

import gc
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from sekft_engine.core.gpu import GpuMonitor
from sekft_engine.core.machine import memory_available, usable_threads

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def cuda_available() -> bool:
    """Whether torch can compute on an NVIDIA GPU here."""
    import torch

    return torch.cuda.is_available()


def has_bf16() -> bool:
    """Whether the GPU computes in bfloat16 itself. Older ones (T4, V100, RTX 20) only emulate it,
    many times slower."""
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def compute_dtype(*, cuda: bool | None = None) -> torch.dtype:
    """The type of numbers that a base computes in: bfloat16 on a GPU that has it, else float32.

    A CPU without AVX-512-BF16 or AMX is some sixty times slower in bfloat16. float16 is not used:
    it overflows without scaling of the loss.

    Args:
        cuda: compute on the GPU; None = if there is one.
    """
    import torch

    wanted = cuda_available() if cuda is None else cuda
    return torch.bfloat16 if wanted and has_bf16() else torch.float32


def slow_card() -> str:
    """A warning where the GPU lacks bfloat16; else empty."""
    import torch

    if not cuda_available() or has_bf16():
        return ""
    name = torch.cuda.get_device_name(torch.cuda.current_device())
    return f"{name} has no bfloat16: the base computes in float32, in twice the memory"


def current_device() -> int | str:
    """The device for weights, as in a ``device_map``: a GPU's number, or ``cpu``."""
    import torch

    return torch.cuda.current_device() if torch.cuda.is_available() else "cpu"


def use_device_of_process() -> None:
    """Let each of several processes on one machine use its own GPU.

    ``torchrun`` and ``accelerate`` number them in ``LOCAL_RANK``.
    """
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


def communication_backend() -> str:
    """The backend of ``torch.distributed`` for tensors of this machine's devices."""
    return "cpu:gloo,cuda:nccl" if cuda_available() else "gloo"


def use_usable_threads() -> None:
    """Let torch use :func:`usable_threads` on the CPU, unless ``OMP_NUM_THREADS`` is set."""
    import torch

    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(usable_threads())


def compute_threads(device: torch.device) -> int:
    """How many CPU threads compute on ``device``; 0 for a GPU."""
    import torch

    return torch.get_num_threads() if device.type == "cpu" else 0


def free_bytes(device: torch.device) -> int:
    """Free bytes on ``device``, including those that torch has reserved."""
    import torch

    if device.type == "cuda":
        free, _total = torch.cuda.mem_get_info(device)
        spare = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free) + spare
    return memory_available()


def tensor_bytes(device: torch.device) -> tuple[int, int]:
    """Bytes of torch's tensors on a GPU, now and at their peak; zeros on a CPU."""
    import torch

    if device.type != "cuda":
        return 0, 0
    return torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)


def gpu_monitor(device: torch.device) -> GpuMonitor | None:
    """The driver's monitor for the GPU ``device``; None for a CPU, or if there is no driver."""
    import torch

    if device.type != "cuda":
        return None
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", "")
    with suppress(OSError):
        return GpuMonitor(f"GPU-{uuid}" if uuid else "")
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` is one of torch's out-of-memory errors."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "allocate memory" in str(error) or "not enough memory" in str(error)


def release_memory() -> None:
    """Free the memory of unreachable objects, and torch's reserve."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def synchronize(device: torch.device) -> None:
    """Wait for all pending operations on ``device``; a CPU has none."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def random_state() -> dict[str, Tensor]:
    """The state of the random generators, as tensors for a checkpoint."""
    import torch

    state = {"random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        for number, generator in enumerate(torch.cuda.get_rng_state_all()):
            state[f"random.cuda.{number}"] = generator
    return state


def set_random_state(tensors: dict[str, Tensor]) -> None:
    """Restore the random generators from the tensors of :func:`random_state`."""
    import torch

    torch.set_rng_state(tensors["random.cpu"])
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            if (state := tensors.get(f"random.cuda.{number}")) is not None:
                torch.cuda.set_rng_state(state, number)
