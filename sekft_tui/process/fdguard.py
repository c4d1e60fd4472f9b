"""Keep the output of native code off the screen.

Textual paints on ``sys.__stderr__`` and measures the terminal through ``sys.__stdout__``. CUDA,
tokenizers and bitsandbytes write to file descriptors 1 and 2 directly, which would damage the
picture. So Textual gets a duplicate of the terminal (even if stderr was redirected), and 1 and 2
point at a log file while it runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def guarded(log: Path) -> Iterator[None]:
    """Point fds 1 and 2 at ``log``, and ``sys.__stdout__`` and ``sys.__stderr__`` at the terminal
    that fd 1 is."""
    sys.stdout.flush()
    sys.stderr.flush()
    log.parent.mkdir(parents=True, exist_ok=True)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    kept = {fd: os.dup(fd) for fd in (1, 2)}
    screen = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    before = sys.__stdout__, sys.__stderr__
    try:
        sys.__stdout__ = sys.__stderr__ = screen  # type: ignore[misc]
        for fd in kept:
            os.dup2(target, fd)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for fd, copy in kept.items():
            os.dup2(copy, fd)
            os.close(copy)
        sys.__stdout__, sys.__stderr__ = before  # type: ignore[misc]
        screen.close()
        os.close(target)
