"""The load and the memory use of the machine while it trains."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from sekft_engine.core.machine import ProcessorLoad, memory_peak, memory_total, memory_used
from sekft_engine.model.device import device_of
from sekft_engine.records import events

if TYPE_CHECKING:
    import torch

#: Seconds between readings, at least: the driver averages over about one second.
EVERY_S = 2.0


class Gauges:
    """Reads the processors, this process's memory and, where it trains on one, the GPU.

    Args:
        device: where the base computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device_of(device)
        self._gpu = self._device.monitor()
        self._processors = ProcessorLoad()
        self._read_at = 0.0

    def due(self) -> bool:
        """Whether it is time for another reading."""
        return time.monotonic() - self._read_at >= EVERY_S

    def read(self) -> events.MachineSeen:
        """The state of the machine; the CPU load is the average since the last reading."""
        self._read_at = time.monotonic()
        allocated, most = self._device.tensor_bytes()
        used = memory_used()
        return events.MachineSeen(
            job="",
            cores=os.cpu_count() or 1,
            cpu=self._processors.read(),
            rss=used,
            rss_most=max(used, memory_peak()),  # the kernel counts the most a little later
            memory=memory_total(),
            gpu=self._gpu.read() if self._gpu is not None else None,
            cuda=allocated,
            cuda_most=most,
        )
