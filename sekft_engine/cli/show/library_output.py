"""What libraries print while a command works: whole lines of their own, or nothing."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import TextIO

#: Progress bars of libraries, which would write over ours. Read when the libraries are imported.
_NO_BARS = ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS")


class LibraryOutput(io.TextIOBase):
    """Stands for standard error, and passes on whole lines of what is printed there.

    A library may keep it beyond the command's end; then it writes to the stream itself.

    Args:
        stream: standard error.
        show: takes each line; None = they are dropped.
    """

    def __init__(self, stream: TextIO, show: Callable[[str], None] | None) -> None:
        super().__init__()
        self._stream, self._show = stream, show
        self._active = True
        self._begun = ""
        self._lock = threading.RLock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        if not self._active:
            return self._stream.write(text)
        with self._lock:
            *lines, self._begun = (self._begun + text).replace("\r", "\n").split("\n")
            for line in lines:
                self.show(line)
        return len(text)

    def show(self, line: str) -> None:
        """Show one line, unless it is blank."""
        if line.strip() and self._show is not None:
            self._show(line.rstrip())

    def flush(self) -> None:
        with contextlib.suppress(ValueError):
            self._stream.flush()

    def end(self) -> None:
        """Let what is printed from now on reach the stream."""
        with self._lock:
            self.show(self._begun)
            self._begun, self._active = "", False


@contextlib.contextmanager
def library_output(show: Callable[[str], None] | None) -> Iterator[None]:
    """A context in which ``show`` gets what libraries print on standard error, line by line, and
    each of their warnings once as one line; None = nothing is shown."""
    for name in _NO_BARS:
        os.environ.setdefault(name, "1")
    before, output = sys.stderr, LibraryOutput(sys.stderr, show)
    told: set[str] = set()

    def warn(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        del category, filename, lineno, file, line
        text = " ".join(str(message).split())
        if text not in told:
            told.add(text)
            output.show(f"warning: {text}")

    shown = warnings.showwarning
    sys.stderr, warnings.showwarning = output, warn
    try:
        yield
    finally:
        output.end()
        warnings.showwarning = shown
        if sys.stderr is output:
            sys.stderr = before
