"""Locks between processes, also where the file system has none.

NFS without a lock manager, Lustre, and some FUSE file systems answer ``flock`` with an error. Only
one error means that another process holds the lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

#: ``taken`` = this process holds the lock now, ``held`` = another does, ``none`` = there are none.
Lock = Literal["taken", "held", "none"]


def try_lock(descriptor: int, *, shared: bool = False) -> Lock:
    """Lock an open file without waiting; the lock ends with the descriptor."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        # The same number on Linux; POSIX allows for two.
        return "held" if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN) else "none"
    return "taken"


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
