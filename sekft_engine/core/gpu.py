"""What the NVIDIA driver says of a GPU, through NVIDIA's own binding (nvidia-ml-py)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pynvml


class GpuReading(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU at one moment.

    ``busy`` is the share of the last moments in which something ran on it, 0 to 1; ``used`` and
    ``total`` are bytes of its memory, by all processes. What this GPU cannot say is zero.
    """

    name: str = ""
    busy: float = 0.0
    used: int = 0
    total: int = 0
    watts: float = 0.0
    celsius: int = 0


class GpuMonitor:
    """The driver's view of one GPU.

    Args:
        uuid: as the driver writes it (``GPU-…``); empty or unknown = the first GPU.

    Raises:
        OSError: there is no driver, or it does not answer, or it knows no GPU.
    """

    def __init__(self, uuid: str = "") -> None:
        try:
            pynvml.nvmlInit()
            self._handle = _handle(uuid)
        except pynvml.NVMLError as error:
            raise OSError(f"the NVIDIA driver does not answer: {error}") from error
        name = _ask(pynvml.nvmlDeviceGetName, self._handle) or ""
        self.name = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)

    def read(self) -> GpuReading:
        """The GPU as it is now; takes well under a millisecond."""
        load = _ask(pynvml.nvmlDeviceGetUtilizationRates, self._handle)
        memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, self._handle)
        milliwatts = _ask(pynvml.nvmlDeviceGetPowerUsage, self._handle)
        celsius = _ask(pynvml.nvmlDeviceGetTemperature, self._handle, pynvml.NVML_TEMPERATURE_GPU)
        return GpuReading(
            name=self.name,
            busy=load.gpu / 100 if load is not None else 0.0,
            used=int(memory.used) if memory is not None else 0,
            total=int(memory.total) if memory is not None else 0,
            watts=(milliwatts or 0) / 1000,
            celsius=int(celsius or 0),
        )


class DriverCard(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU as the driver sees it: bytes of its memory, and of each process on it (0 = unknown)."""

    name: str = ""
    total: int = 0
    used: int = 0
    processes: dict[int, int] = {}

    @property
    def free(self) -> int:
        return self.total - self.used


class Driver(msgspec.Struct, frozen=True, kw_only=True):
    """What NVIDIA's driver says.

    Attributes:
        version: its own.
        cuda: the newest CUDA that it runs, as (major, minor).
        cards: those of the machine, in its order.
        error: why it does not answer, though it is installed.
    """

    version: str = ""
    cuda: tuple[int, int] = (0, 0)
    cards: tuple[DriverCard, ...] = ()
    error: str = ""


#: Whether the driver's library was looked for in vain. Each search takes the system's lock on
#: shared libraries, so that a key would wait for a large one that another thread loads.
_not_found = False


def ask_driver() -> Driver | None:
    """The driver and all its cards; None where there is no driver. Its library is looked for once
    in a process."""
    global _not_found
    if _not_found and pynvml.nvmlLib is None:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        number = getattr(error, "value", 0)
        _not_found = number == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
        missing = _not_found or number == pynvml.NVML_ERROR_DRIVER_NOT_LOADED
        return None if missing else Driver(error=str(error))
    handles = [
        _ask(pynvml.nvmlDeviceGetHandleByIndex, number)
        for number in range(_ask(pynvml.nvmlDeviceGetCount) or 0)
    ]
    newest = int(_ask(pynvml.nvmlSystemGetCudaDriverVersion_v2) or 0)
    return Driver(
        version=_text(_ask(pynvml.nvmlSystemGetDriverVersion)),
        cuda=(newest // 1000, newest % 1000 // 10),
        cards=tuple(_card(handle) for handle in handles if handle is not None),
    )


def _card(handle: Any) -> DriverCard:
    memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    processes = _ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()
    return DriverCard(
        name=_text(_ask(pynvml.nvmlDeviceGetName, handle)),
        total=int(memory.total) if memory is not None else 0,
        used=int(memory.used) if memory is not None else 0,
        processes={int(item.pid): int(item.usedGpuMemory or 0) for item in processes},
    )


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _handle(uuid: str) -> Any:
    if uuid:
        with suppress(pynvml.NVMLError):
            return pynvml.nvmlDeviceGetHandleByUUID(uuid)
    return pynvml.nvmlDeviceGetHandleByIndex(0)


def _ask(function: Callable[..., Any], *arguments: Any) -> Any:
    """What ``function`` returns; None where this GPU or driver cannot say."""
    try:
        return function(*arguments)
    except pynvml.NVMLError:
        return None
