"""The machine as this process may use it: its processors and its memory.

psutil reads what the machine has. What a control group leaves of it (in a container, or under a
batch system) is read here, since psutil does not.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

import psutil

#: Where a container's share of the processor stands: a quota and a period, in microseconds.
_QUOTAS = (
    ("/sys/fs/cgroup/cpu.max",),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)
#: Where a container's memory limit stands, and what it uses of it, in bytes.
_MEMORY_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)

#: The option of glibc's mallopt, from malloc.h.
_M_ARENA_MAX = -8
#: How often an OpenMP thread polls for the others before it sleeps: some ten microseconds.
SPIN_COUNT = "6000"


def limit_spinning() -> None:
    """Let threads that wait for each other sleep soon; to be called before torch is imported.

    They meet thousands of times in a training step. GNU OpenMP, which torch brings along, lets them
    poll for about a millisecond, on a core that another program may want: next to one busy process
    a training on two cores ran at a tenth of its speed, and with this at two fifths. What the
    environment says already stays.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def share_arena() -> None:
    """Let all threads allocate from one arena of the C library; to be called before they begin.

    glibc gives each thread an arena of its own, and what one thread freed serves no other. Torch's
    threads allocate little and much at a time, so they do not wait for each other here. What the
    environment says already stays.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def trim_memory() -> None:
    """Give freed memory back to the system, where the C library keeps it.

    Tensors of sessions of many lengths leave holes everywhere in its heaps: a training of 1,000
    steps held 9.8 GB after half of them.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def usable_threads() -> int:
    """The cores that this process may run on, or fewer where its control group has a smaller share.

    More threads than that would only wait for each other at every barrier.
    """
    cores = len(os.sched_getaffinity(0))
    return max(1, min([cores, *(math.ceil(share) for share in map(_share, _QUOTAS) if share)]))


def _share(files: tuple[str, ...]) -> float:
    """The cores' worth of time that ``files`` grant; 0 where they set no limit."""
    with suppress(OSError, ValueError):
        words = " ".join(Path(name).read_text(encoding="ascii") for name in files).split()
        quota, period = map(int, words)
        return max(0, quota) / period
    return 0.0


def memory_total() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's limit."""
    total = int(psutil.virtual_memory().total)
    return min([total, *(limit for limit, _used in _group_memory())])


def memory_available() -> int:
    """Bytes that this process may still take, without swapping and within its control group."""
    available = int(psutil.virtual_memory().available)
    return min([available, *(max(0, limit - used) for limit, used in _group_memory())])


def _group_memory() -> list[tuple[int, int]]:
    """The (limit, use) in bytes of each control group that sets a limit."""
    found = []
    for limit, used in _MEMORY_LIMITS:
        with suppress(OSError, ValueError):
            most = int(Path(limit).read_text(encoding="ascii"))
            found.append((most, int(Path(used).read_text(encoding="ascii"))))
    return found


def memory_used() -> int:
    """Bytes of this process that lie in memory."""
    return int(psutil.Process().memory_info().rss)


def process_memory(pid: int) -> int:
    """Bytes of memory that another process of this machine uses; 0 = unknown."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.Error, ValueError):
        return 0


def memory_peak() -> int:
    """The most bytes of this process that ever lay in memory at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class ProcessorLoad:
    """The share of all processors' time that was used between one reading and the next."""

    def __init__(self) -> None:
        self._before = _idle_and_total()

    def read(self) -> float:
        """The share since the reading before, 0 to 1."""
        before, self._before = self._before, _idle_and_total()
        idle, total = (now - then for now, then in zip(self._before, before, strict=True))
        return min(1.0, max(0.0, 1 - idle / total)) if total > 0 else 0.0


def _idle_and_total() -> tuple[float, float]:
    """Seconds that all processors were idle, and seconds in all, since the machine started."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # Linux counts the time of guests in user and nice as well.
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return idle, sum(times) - guests
