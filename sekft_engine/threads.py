"""How many threads torch computes with on a CPU, and how they wait for each other."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: Where a container's share of the processor stands: a quota and a period, in microseconds.
_QUOTAS = (
    ("/sys/fs/cgroup/cpu.max",),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)


#: How often a thread looks whether the others are there before it sleeps: some ten microseconds.
LOOKS = "6000"


def settle_waiting() -> None:
    """Let threads that wait for each other sleep soon; to be called before torch is imported.

    They meet thousands of times in a training step. GNU OpenMP, which torch brings along, has them
    look for about a millisecond, on a core that another program may want: next to one busy process
    a training on two cores ran at a tenth of its speed, and runs at two fifths so. What the
    environment says counts.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = LOOKS


def usable_threads() -> int:
    """As many as there are cores that this process may run on, or fewer where its control group
    has a smaller share: threads above it would only wait for each other at every barrier."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min([cores, *(math.ceil(share) for share in map(_share, _QUOTAS) if share)]))


def _share(files: tuple[str, ...]) -> float:
    """The cores' worth of time that ``files`` grant; 0 where they set no limit."""
    with suppress(OSError, ValueError):
        words = " ".join(Path(name).read_text(encoding="ascii") for name in files).split()
        quota, period = map(int, words)
        return max(0, quota) / period
    return 0.0


def settle_threads() -> None:
    """Let torch use :func:`usable_threads`, unless OMP_NUM_THREADS has decided."""
    import torch

    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(usable_threads())


def compute_threads(device: torch.device) -> int:
    """How many compute on ``device``; 0 where it is no CPU."""
    import torch

    return torch.get_num_threads() if device.type == "cpu" else 0
