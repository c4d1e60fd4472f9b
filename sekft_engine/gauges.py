"""How busy and how full the machine is while it trains."""

from __future__ import annotations

import os
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

from sekft_engine import events
from sekft_engine.nvml import Nvml

#: Readings are at least so many seconds apart: the driver averages over about one second, and no
#: eye wants more.
EVERY_S = 2.0


class Gauges:
    """Reads the processors, this process's memory and, where it trains on one, the GPU.

    Args:
        device: as torch writes it, ``cpu`` or ``cuda:0``.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._cuda = device if device.startswith("cuda") else ""
        self._nvml = _nvml(self._cuda) if self._cuda else None
        self._ticks = _ticks()
        self._read_at = 0.0

    def due(self) -> bool:
        """Whether the last reading is old enough for another."""
        return time.monotonic() - self._read_at >= EVERY_S

    def read(self) -> events.MachineSeen:
        """The machine as it is now; the processors' share is that since the reading before."""
        self._read_at = time.monotonic()
        before, self._ticks = self._ticks, _ticks()
        idle, total = (now - then for now, then in zip(self._ticks, before, strict=True))
        gpu = self._nvml.read() if self._nvml is not None else None
        allocated, most = _torch_memory(self._cuda)
        rss = _rss()
        return events.MachineSeen(
            job="",
            cores=os.cpu_count() or 1,
            cpu=min(1.0, max(0.0, 1 - idle / total)) if total > 0 else 0.0,
            rss=rss,
            rss_most=max(rss, _rss_most()),  # the kernel counts the most a little later
            memory=_memory(),
            gpu=gpu,
            cuda=allocated,
            cuda_most=most,
        )


def _nvml(device: str) -> Nvml | None:
    """The driver's view of the GPU that torch calls ``device``."""
    import torch

    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", "")
    with suppress(OSError, AttributeError):
        return Nvml(f"GPU-{uuid}" if uuid else "")
    return None


def _torch_memory(device: str) -> tuple[int, int]:
    """Bytes that torch's tensors hold on the GPU, and the most they ever held."""
    if not device:
        return 0, 0
    import torch

    return torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)


def _ticks() -> tuple[int, int]:
    """(idle, all) ticks of all processors since the machine began; zeros where not told."""
    with suppress(OSError, ValueError, IndexError):
        with Path("/proc/stat").open(encoding="ascii") as file:
            fields = [int(one) for one in file.readline().split()[1:9]]
        return fields[3] + fields[4], sum(fields)
    return 0, 0


def _rss() -> int:
    """Bytes of this process that lie in memory."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize()
    return _rss_most()


def _rss_most() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _memory() -> int:
    """Bytes of memory that there are for us: the machine's, or what our group may have of it."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            found.append(int(Path(limit).read_text(encoding="ascii")))
    return min(found)
