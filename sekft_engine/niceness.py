"""Stepping back behind whoever shares the processor."""

from __future__ import annotations

import contextlib
import os
import threading


def step_back(by: int) -> None:
    """Let this thread, and those it starts, wait behind others; ``by`` as ``nice`` counts."""
    with contextlib.suppress(OSError):
        thread = threading.get_native_id()
        now = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(19, now + by))
