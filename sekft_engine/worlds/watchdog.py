"""The watchdog: total memory and number of files of each world, where no cgroup holds them."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from sekft_engine.worlds.limits import Limits

INTERVAL_S = 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Watch:
    """One watched session; :meth:`stop` ends the watching."""

    def __init__(self, pid: int, limits: Limits, kill: Callable[[str], None]) -> None:
        self.namespace = Path(f"/proc/{pid}/ns/pid").readlink()
        self.root = f"/proc/{pid}/root"
        self.limits = limits
        self._kill = kill
        self._live = True
        self._lock = threading.Lock()

    def look(self, memory: int) -> None:
        """Kill the session if ``memory`` bytes or its files are over the limit."""
        reason = "memory" if memory > self.limits.memory_bytes else ""
        for tree in ("home", "tmp"):
            with contextlib.suppress(OSError):
                status = os.statvfs(f"{self.root}/{tree}")
                if status.f_files - status.f_ffree > self.limits.inodes:
                    reason = reason or "files"
        if reason:
            with self._lock:
                if self._live:
                    self._live = False
                    self._kill(reason)
            _forget(self)

    def stop(self) -> None:
        with self._lock:
            self._live = False
        _forget(self)


_watches: set[Watch] = set()
_lock = threading.Lock()
_wake = threading.Event()
_thread: threading.Thread | None = None


def watch(pid: int, limits: Limits, kill: Callable[[str], None]) -> Watch:
    """Watch the pid namespace of ``pid``; ``kill(reason)`` is called once, on the watchdog."""
    global _thread
    new = Watch(pid, limits, kill)
    with _lock:
        _watches.add(new)
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_patrol, name="world-watchdog", daemon=True)
            _thread.start()
    _wake.set()
    return new


def _forget(old: Watch) -> None:
    with _lock:
        _watches.discard(old)


def _patrol() -> None:
    pause = threading.Event()
    while True:
        with _lock:
            current = list(_watches)
            if not current:
                _wake.clear()
        if not current:
            _wake.wait()
            continue
        held = _resident([str(each.namespace) for each in current])
        for each in current:
            each.look(held.get(str(each.namespace), 0))
        pause.wait(INTERVAL_S)


def _resident(namespaces: list[str]) -> dict[str, int]:
    """Resident bytes of all processes in each of ``namespaces``."""
    wanted = set(namespaces)
    held: dict[str, int] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        # Processes come and go, and others' namespaces may not be read: neither is ours.
        with contextlib.suppress(OSError, IndexError, ValueError):
            namespace = str((process / "ns/pid").readlink())
            if namespace in wanted:
                statm = (process / "statm").read_text(encoding="ascii")
                held[namespace] = held.get(namespace, 0) + int(statm.split()[1]) * _PAGE
    return held
