"""A name for this process that no later process can have."""

from __future__ import annotations

import functools
import os
from pathlib import Path


def _started(pid: int) -> str:
    """When ``pid`` started, in clock ticks since boot. Raises OSError where it is not there."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    fields = text.rsplit(")", 1)[1].split()
    if fields[0] in ("Z", "X"):
        raise ProcessLookupError(pid)
    return fields[19]


@functools.cache
def machine() -> str:
    """This machine since its last boot, and this pid namespace of it."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    space = Path("/proc/self/ns/pid").readlink()
    return f"{boot.replace('-', '')[:16]}{''.join(filter(str.isdigit, str(space)))}"


def engine_id() -> str:
    """The name of this process: ``machine-pid-start``, valid in labels and file names."""
    pid = os.getpid()
    return f"{machine()}-{pid}-{_started(pid)}"


def gone(identity: str) -> bool:
    """Whether the process called ``identity`` ran on this machine and has ended."""
    parts = identity.split("-")
    if len(parts) != 3 or not parts[1].isdigit():
        return False
    where, pid, started = parts
    if where != machine():
        # The names of other machines, and of this one before its last boot, are not judged.
        return False
    try:
        return _started(int(pid)) != started
    except OSError:
        return True
