"""Reports of errors that nobody foresaw: what a person may send to whoever can mend them."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sekft_engine import __version__
from sekft_engine.core.paths import state_folder

#: A password in an address, which must not leave this machine.
_PASSWORD = re.compile(r"(?<=://)[^/\s@]+(?=@)")


def write_report(trace: str, arguments: Sequence[str]) -> Path | None:
    """Write a crash report into sekft's own folder, or into the temporary one.

    Args:
        trace: the traceback.
        arguments: the command line, without the program.

    Returns:
        Its file; None where neither folder can be written.
    """
    text = "\n".join(
        (
            f"sekft {__version__}, Python {platform.python_version()}, {platform.platform()}",
            f"sekft {' '.join(arguments)}",
            "",
            trace.rstrip(),
            "",
        )
    )
    content = _PASSWORD.sub("...", text).encode("utf-8", "backslashreplace")
    name = f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for folder in _folders():
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / name
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            return path
    return None


def _folders() -> Iterator[Path]:
    with contextlib.suppress(OSError, RuntimeError):
        yield state_folder() / "crashes"
    with contextlib.suppress(OSError):
        yield Path(tempfile.gettempdir())
