"""The device that torch computes on. Every question about it is answered here, and only here.

A :class:`Device` answers for one device; :func:`device_of` gives it for a ``torch.device``. Callers
ask it and need no branch: a CPU answers too. The subclasses are the kinds of devices, CUDA (and
ROCm, which answers to the same names) and Apple's mps, which nobody has tried. Tests register a
simulated kind beside them (:func:`register`). Torch is imported only when needed.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.core.gpu import GpuMonitor
from sekft_engine.core.machine import memory_available, usable_threads

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

#: What may be asked for; ``auto`` is the card of this process if there is one, else the CPU.
_ASKED = re.compile(r"([a-z]+)(?::(\d+))?")
_AUTOMATIC = ("", "auto")
_WAY_OUT = "take auto, cpu, cuda, or one card, as cuda:1"
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
    """

    kind: ClassVar[str] = "cpu"
    automatic: ClassVar[bool] = False
    has_nf4: ClassVar[bool] = True
    can_compile: ClassVar[bool] = True
    has_own_memory: ClassVar[bool] = False
    rows: ClassVar[int] = 16

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


def register(kind: type[Device]) -> None:
    """Let :func:`device_of` and :func:`choose_device` know another kind of device."""
    _KINDS[kind.kind] = kind


def device_of(place: torch.device) -> Device:
    """Who answers for ``place``. For a kind that is not known, that is the CPU's answers."""
    return _KINDS.get(place.type, Device)(place)


# --- choosing -------------------------------------------------------------------------------------


def choose_device(asked: str = "auto") -> torch.device:
    """The device that ``asked`` names: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Without a number it is the card of this process: with several processes on one machine, which
    ``torchrun`` and ``accelerate`` number in ``LOCAL_RANK``, each has its own.

    Raises:
        BadInput: no such device is here.
        Unavailable: there are fewer cards than processes.
    """
    import torch

    if fault := device_fault(asked):
        raise _no_device(fault, _WAY_OUT)
    wanted, _, digits = asked.partition(":")
    kind, number = _KINDS.get(wanted, Device), int(digits) if digits else None
    if wanted in _AUTOMATIC:
        kind = next((kind for kind in _KINDS.values() if kind.automatic and kind.count()), Device)
    if kind is Device:
        return torch.device("cpu")
    count = kind.count()
    if not count:
        why = kind.why_missing()
        raise _no_device(
            f"no {kind.kind} device is here: {why}",
            "sekft doctor says what is missing; --device cpu does without",
        )
    if number is None:
        return torch.device(kind.kind, _number_of_process(count))
    if number >= count:
        cards = "only cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        cards = cards.replace("cuda", kind.kind)
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        limit = "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible!r})"
        raise _no_device(f"no {asked} is here: torch sees {cards}{limit}", _WAY_OUT)
    if _processes() > 1:
        raise _no_device(
            f"{asked} is one card, and several processes train together, each on its own",
            "--device cuda, and CUDA_VISIBLE_DEVICES for which cards",
        )
    return torch.device(kind.kind, number)


def device_fault(asked: str) -> str:
    """Why ``asked`` names no device anywhere; empty = it may be there. Needs no torch."""
    named = _ASKED.fullmatch(asked)
    one_of_many = bool(named and named[2])
    known = asked in _AUTOMATIC or (named is not None and named[1] in _KINDS)
    if not known or (one_of_many and named is not None and named[1] == Device.kind):
        return f"{asked!r} is no device"
    return ""


def _no_device(what: str, mend: str) -> BadInput:
    return BadInput(what, where="--device", mend=mend)


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _number_of_process(count: int) -> int:
    """The number of this process's card among ``count``.

    A launcher may show each process its own card alone.
    """
    number = int(os.environ.get("LOCAL_RANK", "0")) if _processes() > 1 else 0
    if count == 1 or number < count:
        return min(number, count - 1)
    raise Unavailable(
        f"process {number + 1} of this machine has no card: torch sees {count}",
        where="--device",
        mend="start one process for each card, or use --device cpu",
    )


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
    for kind in _KINDS.values():
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
