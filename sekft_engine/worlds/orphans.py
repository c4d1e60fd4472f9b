"""Holders that lost their bubblewrap while it was still building them.

bubblewrap binds its first process to its own life only after the mounts are made. Killed before
that, it leaves a process that waits for it for ever: without a world in it, but there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from sekft_engine.worlds.processes import pids, status

_MARK = b"/w/holder"
#: An engine may die while another one looks: once is not enough.
_INTERVAL_S = 30.0
_next_look = 0.0
_lock = threading.Lock()


def _is_holder(pid: int) -> bool:
    try:
        return _MARK in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _first_processes() -> Iterator[tuple[int, int]]:
    """(pid, parent) of each holder's pid 1, seen from here."""
    for pid in pids():
        if _is_holder(pid):
            with contextlib.suppress(OSError, KeyError, IndexError, ValueError):
                facts = status(pid)
                inside = facts["NSpid"]
                if len(inside) > 1 and inside[-1] == "1":
                    yield pid, int(facts["PPid"][0])


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def kill_first_process_of(bwrap: int) -> None:
    """Kill the process that the bubblewrap of pid ``bwrap`` has started, if it has."""
    for pid, parent in _first_processes():
        if parent == bwrap:
            _kill(pid)


def sweep() -> None:
    """End what an engine killed in the wrong millisecond has left; looks twice a minute at most."""
    global _next_look
    with _lock:
        if time.monotonic() < _next_look:
            return
        _next_look = time.monotonic() + _INTERVAL_S
    sweep_now()


def sweep_now() -> None:
    for pid, parent in _first_processes():
        if not _is_holder(parent):
            _kill(pid)
