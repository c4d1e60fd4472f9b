"""How a command's process ends, and how its threads step back behind others."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import threading
from pathlib import Path
from typing import NamedTuple, NoReturn

#: The name of an engine's thread.
ENGINE_THREAD = "sekft-engine"


def leave(status: int) -> NoReturn:
    """End the process with ``status``, also beside an engine that is still at work.

    Ending the interpreter would end the engine's thread wherever it next needs the interpreter. In
    the midst of native code (a tensor being freed) that aborts the process, whatever its status.
    """
    if any(thread.name == ENGINE_THREAD for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)
    sys.exit(status)


def python_module(name: str) -> list[str]:
    """The command line of a module of this package in another process: never one of that name in
    the current folder, which may be anybody's."""
    return [sys.executable, "-P", "-m", name]


def own_environment() -> dict[str, str]:
    """This process's environment, in which another Python finds the same package."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


def step_back(by: int) -> None:
    """Let this thread, and those it starts, wait behind others; ``by`` as ``nice`` counts."""
    with contextlib.suppress(OSError):
        thread = threading.get_native_id()
        now = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(19, now + by))


class ProcessMark(NamedTuple):
    """What tells one process from all others: its machine, its id there, and when it began, in
    seconds since the epoch."""

    host: str
    pid: int
    began: float

    @classmethod
    def own(cls) -> ProcessMark:
        """The mark of this process."""
        return cls(platform.node(), os.getpid(), _began(os.getpid()) or 0.0)

    def alive(self) -> bool | None:
        """Whether the process still runs; None = it is on another machine."""
        if self.host != platform.node():
            return None
        began = _began(self.pid)
        return began is not None and abs(began - self.began) < 2.0


def is_stopped(pid: int) -> bool:
    """Whether a signal (SIGSTOP, or a debugger) has stopped the process."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    # Its name stands before, in brackets, and may have any character in it.
    return status.rpartition(b")")[2].split(None, 1)[:1] in ([b"T"], [b"t"])


def _began(pid: int) -> float | None:
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None
