"""Locks between processes, also where the file system has none.

NFS without a lock manager, Lustre, and some FUSE file systems answer ``flock`` with an error. Only
one error means that another process holds the lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

#: ``taken`` = this process holds the lock now, ``held`` = another does, ``none`` = there are none.
Lock = Literal["taken", "held", "none"]
#: How often, and after how many seconds, a lock is tried.
_TRIES, _TRY_EVERY_S = 10, 0.005


def try_lock(descriptor: int, *, shared: bool = False) -> Lock:
    """Lock an open file without waiting; the lock ends with the descriptor."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        # The same number on Linux; POSIX allows for two.
        return "held" if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN) else "none"
    return "taken"


def take_lock(descriptor: int) -> Lock:
    """Lock an open file, unless another process holds it for longer than a moment: who only looks
    whether it is held does so by locking it, too."""
    for _ in range(_TRIES):
        lock = try_lock(descriptor)
        if lock != "held":
            break
        time.sleep(_TRY_EVERY_S)
    return lock


def is_held(path: Path, otherwise: Callable[[], bool]) -> bool:
    """Whether some process holds the exclusive lock of the file at ``path``.

    Args:
        otherwise: says so where the file system has no locks.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):  # no path at all has a null in it
        return False
    try:
        lock = try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)
    return otherwise() if lock == "none" else lock == "held"


def wait_for_lock(descriptor: int) -> Lock:
    """Lock an open file, waiting for others; never ``held``."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return "none"
    return "taken"


def holder(path: Path) -> int:
    """The process that holds the exclusive lock of the file at ``path``; 0 = nobody knows, as of
    another user's process. From proc(5)."""
    try:
        file = path.stat()
        lines = Path("/proc/locks").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 708 fd:00:395153 0 EOF; a union of folders has another device
        fields = line.split()
        if fields[1] != "FLOCK" or "WRITE" not in fields or not fields[4].isdecimal():
            continue
        if fields[5].rpartition(":")[2] == str(file.st_ino) and _has_open(int(fields[4]), file):
            return int(fields[4])
    return 0


def _has_open(pid: int, file: os.stat_result) -> bool:
    """Whether the process has the file open."""
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                if os.path.samestat(descriptor.stat(), file):
                    return True
    return False
