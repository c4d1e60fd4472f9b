"""The kinds of devices: the CPU, CUDA (and ROCm, which answers to the same names), Apple's mps."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sekft_engine.core.gpu import GpuMonitor
from sekft_engine.core.machine import memory_available

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

#: The widest heads that FlashAttention computes; their width is a multiple of 8.
_WIDEST_HEAD = 256


class Device:
    """One device: as it stands here, the CPU.

    Args:
        place: the device as torch names it.

    Attributes:
        kind: the type of ``torch.device`` that this class answers for.
        automatic: whether ``auto`` chooses it where it is there.
        has_nf4: whether bitsandbytes computes with 4-bit weights on it.
        can_compile: whether torch.compile makes kernels for it.
        has_own_memory: whether it does not share the machine's main memory.
        rows: how many episodes are decoded together.
        computed_as: the device whose computed memory of a step holds here; empty = none, so that it
            has to be measured.
    """

    kind: ClassVar[str] = "cpu"
    automatic: ClassVar[bool] = False
    has_nf4: ClassVar[bool] = True
    can_compile: ClassVar[bool] = True
    has_own_memory: ClassVar[bool] = False
    rows: ClassVar[int] = 16
    computed_as: ClassVar[Literal["cpu", "cuda", ""]] = "cpu"

    def __init__(self, place: torch.device) -> None:
        self.place = place

    @classmethod
    def count(cls) -> int:
        """How many devices of this kind torch sees here."""
        return 1

    @classmethod
    def why_missing(cls) -> str:
        """Why torch sees none."""
        return ""

    @property
    def description(self) -> str:
        """The device as a person knows it, such as the name of the card."""
        return self.kind

    @property
    def dtype(self) -> torch.dtype:
        """The type of numbers that a base computes in: bfloat16 where the device has it.

        A CPU without AVX-512-BF16 or AMX is some sixty times slower in bfloat16. float16 is not
        used: it overflows without scaling of the loss.
        """
        import torch

        return torch.float32

    @property
    def warning(self) -> str:
        """What is slow about the device; empty = nothing."""
        return ""

    @property
    def threads(self) -> int:
        """How many CPU threads compute; 0 for a card."""
        import torch

        return torch.get_num_threads()

    def use(self) -> None:
        """Make it the current device of this thread, where kernels without a device would start."""

    def synchronize(self) -> None:
        """Wait for all pending operations; a CPU has none."""

    def upload(self, values: np.ndarray[Any, Any]) -> Tensor:
        """``values`` on the device, without waiting for what computes there."""
        import torch

        return torch.from_numpy(values)

    # --- memory -------------------------------------------------------------------------------

    def free_bytes(self) -> int:
        """Free bytes, including those that torch has reserved."""
        return memory_available()

    def tensor_bytes(self) -> tuple[int, int]:
        """Bytes of torch's tensors on a card, now and at their peak; zeros for main memory."""
        return 0, 0

    @classmethod
    def release(cls) -> None:
        """Give torch's reserve of memory back to the driver."""

    def monitor(self) -> GpuMonitor | None:
        """The driver's monitor of a card; None for a CPU, or if there is no driver."""
        return None

    # --- random numbers -----------------------------------------------------------------------

    def random_state(self) -> Tensor | None:
        """The state of its own generator, on the CPU; None = it uses that of the CPU."""
        return None

    def set_random_state(self, state: Tensor) -> None:
        """Restore the state of its own generator."""

    # --- kernels ------------------------------------------------------------------------------

    def has_varlen(self, query: Tensor) -> bool:
        """Whether torch's FlashAttention for rows of unequal lengths computes this ``query``
        [..., head_dim]."""
        return False


class CudaDevice(Device):
    """A card of NVIDIA, or of AMD in a ROCm build of torch."""

    kind = "cuda"
    automatic = True
    has_own_memory = True
    rows = 64
    computed_as = "cuda"

    @classmethod
    def count(cls) -> int:
        import torch

        return torch.cuda.device_count() if torch.cuda.is_available() else 0

    @classmethod
    def why_missing(cls) -> str:
        import torch

        if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
            return f"torch {torch.__version__} is a build for CPUs"
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        return "torch sees no card" + (
            "" if visible is None else f" with CUDA_VISIBLE_DEVICES={visible!r}"
        )

    @property
    def description(self) -> str:
        import torch

        return str(torch.cuda.get_device_name(self.place))

    @property
    def _has_bf16(self) -> bool:
        """Older cards (T4, V100, RTX 20) only emulate it, many times slower."""
        import torch

        with torch.cuda.device(self.place):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))

    @property
    def dtype(self) -> torch.dtype:
        import torch

        return torch.bfloat16 if self._has_bf16 else torch.float32

    @property
    def warning(self) -> str:
        if self._has_bf16:
            return ""
        return (
            f"{self.description} has no bfloat16: the base computes in float32, in twice the memory"
        )

    @property
    def threads(self) -> int:
        return 0

    def use(self) -> None:
        import torch

        torch.cuda.set_device(self.place)

    def synchronize(self) -> None:
        import torch

        torch.cuda.synchronize(self.place)

    def upload(self, values: np.ndarray[Any, Any]) -> Tensor:
        import torch

        # From pageable memory a copy would first wait for all that the card computes.
        return torch.from_numpy(values).pin_memory().to(self.place, non_blocking=True)

    def free_bytes(self) -> int:
        import torch

        free, _total = torch.cuda.mem_get_info(self.place)
        held, reserved = (
            torch.cuda.memory_allocated(self.place),
            torch.cuda.memory_reserved(self.place),
        )
        return int(free) + reserved - held

    def tensor_bytes(self) -> tuple[int, int]:
        import torch

        return (
            torch.cuda.memory_allocated(self.place),
            torch.cuda.max_memory_allocated(self.place),
        )

    @classmethod
    def release(cls) -> None:
        import torch

        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()

    def monitor(self) -> GpuMonitor | None:
        import torch

        uuid = getattr(torch.cuda.get_device_properties(self.place), "uuid", "")
        with suppress(OSError):
            return GpuMonitor(f"GPU-{uuid}" if uuid else "")
        return None

    def random_state(self) -> Tensor:
        import torch

        return torch.cuda.get_rng_state(self.place)

    def set_random_state(self, state: Tensor) -> None:
        import torch

        torch.cuda.set_rng_state(state, self.place)

    def has_varlen(self, query: Tensor) -> bool:
        # It needs the generation of cards that brought bfloat16.
        return self._has_bf16 and fits_varlen(query)


class MpsDevice(Device):
    """Apple's GPU, in float32 and without 4 bits. Nobody has tried it, so ``auto`` leaves it."""

    kind = "mps"
    has_nf4 = False
    can_compile = False
    computed_as = ""

    @classmethod
    def count(cls) -> int:
        import torch

        return int(torch.backends.mps.is_available())

    @classmethod
    def why_missing(cls) -> str:
        return "torch sees no GPU of Apple"

    @property
    def threads(self) -> int:
        return 0

    def synchronize(self) -> None:
        import torch

        torch.mps.synchronize()

    def upload(self, values: np.ndarray[Any, Any]) -> Tensor:
        import torch

        return torch.from_numpy(values).to(self.place)

    def tensor_bytes(self) -> tuple[int, int]:
        import torch

        held = int(torch.mps.current_allocated_memory())
        return held, held

    @classmethod
    def release(cls) -> None:
        import torch

        if cls.count():
            torch.mps.empty_cache()

    def random_state(self) -> Tensor:
        import torch

        return torch.mps.get_rng_state()

    def set_random_state(self, state: Tensor) -> None:
        import torch

        torch.mps.set_rng_state(state)


#: The kinds of devices by the type of ``torch.device``.
_KINDS: dict[str, type[Device]] = {kind.kind: kind for kind in (Device, CudaDevice, MpsDevice)}


def kinds() -> Mapping[str, type[Device]]:
    """The kinds of devices that are known, by the type of ``torch.device``."""
    return _KINDS


def register(kind: type[Device]) -> None:
    """Let :func:`device_of` and :func:`choose_device` know another kind of device."""
    _KINDS[kind.kind] = kind


def device_of(place: torch.device) -> Device:
    """Who answers for ``place``. For a kind that is not known, that is the CPU's answers."""
    return _KINDS.get(place.type, Device)(place)


# --- kernels --------------------------------------------------------------------------------------


def fits_varlen(query: Tensor) -> bool:
    """Whether type and width of ``query`` [..., head_dim] suit torch's ``varlen_attn``, and this
    version of torch has it with the options that are needed."""
    import torch

    width = query.shape[-1]
    fits = width % 8 == 0 and width <= _WIDEST_HEAD
    return fits and query.dtype in (torch.float16, torch.bfloat16) and _knows_varlen()


@functools.cache
def _knows_varlen() -> bool:
    import inspect

    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return {"window_size", "enable_gqa"} <= inspect.signature(varlen_attn).parameters.keys()
