"""Removes holders whose bubblewrap was killed while it was making them.

bubblewrap makes its first process die with it only after the mounts are made. Where it is killed
before that, the process waits for it for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from sekft_engine.worlds.bubblewrap.processes import pids, status

_MARK = b"/w/holder"
#: Seconds between searches; one is not enough, since an engine may die during it.
_INTERVAL_S = 30.0
_next_look = 0.0
_lock = threading.Lock()


def is_holder(pid: int) -> bool:
    """Whether the process is a holder, or the bubblewrap that makes one."""
    try:
        return _MARK in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def first_processes() -> Iterator[tuple[int, int]]:
    """The pid and the parent's pid on this machine of each holder's first process."""
    for pid in pids():
        if is_holder(pid):
            with contextlib.suppress(OSError, KeyError, IndexError, ValueError):
                facts = status(pid)
                inside = facts["NSpid"]
                if len(inside) > 1 and inside[-1] == "1":
                    yield pid, int(facts["PPid"][0])


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def kill_first_process_of(bwrap: int) -> None:
    """Kill the first process of the bubblewrap with the pid ``bwrap``, if there is one."""
    for pid, parent in first_processes():
        if parent == bwrap:
            _kill(pid)


def sweep() -> None:
    """Kill the holders that a killed engine has left; at most twice a minute."""
    global _next_look
    with _lock:
        if time.monotonic() < _next_look:
            return
        _next_look = time.monotonic() + _INTERVAL_S
    sweep_now()


def sweep_now() -> None:
    """End every holder's first process that has no bubblewrap any more."""
    for pid, parent in first_processes():
        if not is_holder(parent):
            _kill(pid)
