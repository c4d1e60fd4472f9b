"""The watchdog: bounds the total memory and the number of files of each sandbox."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from sekft_engine.worlds.bubblewrap.processes import pids
from sekft_engine.worlds.shell.limits import Limits

INTERVAL_S = 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")


def files_in(root: str, trees: Iterable[str]) -> dict[str, int]:
    """The number of files in each of ``trees`` below ``root``, where it can be read."""
    found = {}
    for tree in trees:
        with contextlib.suppress(OSError):
            status = os.statvfs(f"{root}{tree}")
            found[tree] = status.f_files - status.f_ffree
    return found


class Watchdog:
    """Watches one sandbox until :meth:`stop`.

    Args:
        find: gives the pid of a process in the sandbox with which the sandbox ends; None while it
            does not run yet.
        trees: the file systems whose files are counted, by their paths in the sandbox.
        limits: of the world.
        on_kill: called once, on the watchdog's thread, with the reason for a kill.
        before: number of files in each tree that do not count.
    """

    def __init__(
        self,
        find: Callable[[], int | None],
        trees: tuple[str, ...],
        limits: Limits,
        on_kill: Callable[[str], None],
        before: Mapping[str, int],
    ) -> None:
        self.namespace = ""
        self._find = find
        self._trees = trees
        self._limits = limits
        self._on_kill = on_kill
        self._before = before
        self._root = ""
        self._handle = -1  # a pidfd never refers to another process later
        self._live = True
        self._lock = threading.Lock()

    def seek(self) -> None:
        """Find the sandbox, if it runs by now."""
        with self._lock, contextlib.suppress(OSError):
            if not self._live or self.namespace:
                return
            pid = self._find()
            if pid is not None:
                namespace = str(Path(f"/proc/{pid}/ns/pid").readlink())
                self._handle = os.pidfd_open(pid)
                self._root, self.namespace = f"/proc/{pid}/root", namespace

    def look(self, memory: int) -> None:
        """Kill the sandbox if ``memory`` bytes or its files are over the limit."""
        reason = "memory" if memory > self._limits.memory_bytes else ""
        for tree, count in files_in(self._root, self._trees).items():
            if count - self._before.get(tree, 0) > self._limits.inodes:
                reason = reason or "files"
        if reason:
            with self._lock:
                if self._live:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(self._handle, signal.SIGKILL)
                    self._on_kill(reason)
            self.stop()

    def stop(self) -> None:
        """End the watching: nothing is killed or reported from then on."""
        with self._lock:
            self._live = False
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1
        with _lock:
            _watches.discard(self)


_watches: set[Watchdog] = set()
_lock = threading.Lock()
_wake = threading.Event()
_thread: threading.Thread | None = None


def watch(
    find: Callable[[], int | None],
    trees: tuple[str, ...],
    limits: Limits,
    on_kill: Callable[[str], None],
    before: Mapping[str, int] | None = None,
) -> Watchdog:
    """Begin to watch a sandbox; see :class:`Watchdog`."""
    global _thread
    new = Watchdog(find, trees, limits, on_kill, before or {})
    with _lock:
        _watches.add(new)
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_patrol, name="world-watchdog", daemon=True)
            _thread.start()
    _wake.set()
    return new


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
        for each in current:
            each.seek()
        found = [each for each in current if each.namespace]
        held = _resident({each.namespace for each in found})
        for each in found:
            each.look(held.get(each.namespace, 0))
        pause.wait(INTERVAL_S)


def _resident(namespaces: set[str]) -> dict[str, int]:
    """Resident bytes of all processes in each of ``namespaces``."""
    held: dict[str, int] = {}
    for pid in pids() if namespaces else ():
        # Processes end meanwhile, and others' namespaces cannot be read: neither is in a sandbox.
        with contextlib.suppress(OSError, IndexError, ValueError):
            namespace = str(Path(f"/proc/{pid}/ns/pid").readlink())
            if namespace in namespaces:
                statm = Path(f"/proc/{pid}/statm").read_text(encoding="ascii")
                held[namespace] = held.get(namespace, 0) + int(statm.split()[1]) * _PAGE
    return held
