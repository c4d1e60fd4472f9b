"""The processes of this machine, read from /proc; they may end at any time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

#: Most processes between a sandbox's first process and the holder's: a bwrap and a few sh.
_STEPS = 5


def pids() -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            yield int(folder.name)


def status(pid: int) -> dict[str, list[str]]:
    """The fields of /proc/PID/status, each split into words. Raises OSError."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}


def inside(first: int) -> int | None:
    """The first process of the sandbox that runs inside the holder whose own first is ``first``.

    The sandbox ends with it, whatever runs there. It sees the sandbox's files once they are
    mounted.
    """
    with contextlib.suppress(OSError, KeyError):
        depth = len(status(first)["NSpid"]) + 1
        for pid in pids():
            with contextlib.suppress(OSError, KeyError, IndexError, ValueError):
                names = status(pid)["NSpid"]
                if len(names) == depth and names[-1] == "1" and _descends(pid, first):
                    return pid
    return None


def _descends(pid: int, first: int) -> bool:
    for _ in range(_STEPS):
        pid = int(status(pid)["PPid"][0])
        if pid == first:
            return True
    return False
