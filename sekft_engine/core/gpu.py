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
