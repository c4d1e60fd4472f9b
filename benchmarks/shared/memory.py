"""How much memory a piece of work takes at its peak."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sekft_engine.model.device import release_memory

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")


def with_peak(device: torch.device, work: Callable[[], Result]) -> tuple[Result, int]:
    """What ``work`` gives, and how many MiB it took at most beyond what was there."""
    import torch

    release_memory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        found = work()
        return found, (torch.cuda.max_memory_allocated(device) - before) >> 20
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    resident = status_kib("VmRSS")
    found = work()
    return found, (status_kib("VmHWM") - resident) >> 10


def status_kib(key: str) -> int:
    """A line of this process's status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))
