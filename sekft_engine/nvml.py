"""What the NVIDIA driver's own library tells of a GPU; without a driver, nothing.

Bound with ctypes, so nothing has to be installed beside the driver. Names and layouts are those of
NVIDIA's NVML API reference.
"""

from __future__ import annotations

import ctypes
from typing import Any

import msgspec

LIBRARY = "libnvidia-ml.so.1"


class GpuReading(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU at one moment. ``busy`` is the share of the last moments in which something ran on
    it; ``used`` and ``total`` bytes of its memory, by all processes; zeros where not told."""

    name: str = ""
    busy: float = 0.0
    used: int = 0
    total: int = 0
    watts: float = 0.0
    celsius: int = 0


class _Utilisation(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


class Nvml:
    """The driver's view of one GPU.

    Args:
        uuid: as the driver writes it (``GPU-…``); empty or unknown = the first GPU.
        library: the driver's library; a test brings its own.

    Raises:
        OSError: there is no driver, or it does not answer.
    """

    def __init__(self, uuid: str = "", library: Any = None) -> None:
        self._lib = ctypes.CDLL(LIBRARY) if library is None else library
        if self._lib.nvmlInit_v2():
            raise OSError("the NVIDIA driver does not answer")
        self._gpu = ctypes.c_void_p()
        found = uuid and not self._lib.nvmlDeviceGetHandleByUUID(
            uuid.encode(), ctypes.byref(self._gpu)
        )
        if not found and self._lib.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self._gpu)):
            raise OSError("the NVIDIA driver knows no GPU")
        name = ctypes.create_string_buffer(96)
        self._ask("nvmlDeviceGetName", name, ctypes.c_uint(96))
        self.name = name.value.decode("utf-8", "replace")

    def _ask(self, function: str, *arguments: Any) -> None:
        """Call; what this GPU cannot tell leaves the zeros in ``arguments``."""
        getattr(self._lib, function)(self._gpu, *arguments)

    def read(self) -> GpuReading:
        """The GPU as it is now; takes well under a millisecond."""
        busy, memory = _Utilisation(), _Memory()
        milliwatts, celsius = ctypes.c_uint(), ctypes.c_uint()
        self._ask("nvmlDeviceGetUtilizationRates", ctypes.byref(busy))
        self._ask("nvmlDeviceGetMemoryInfo", ctypes.byref(memory))
        self._ask("nvmlDeviceGetPowerUsage", ctypes.byref(milliwatts))
        self._ask("nvmlDeviceGetTemperature", ctypes.c_uint(0), ctypes.byref(celsius))
        return GpuReading(
            name=self.name,
            busy=busy.gpu / 100,
            used=memory.used,
            total=memory.total,
            watts=milliwatts.value / 1000,
            celsius=celsius.value,
        )
