"""A session that is recorded while it goes on, as an asciicast (version 2).

Each event is written at once, so a player can follow the file. Format:
https://docs.asciinema.org/manual/asciicast/v2. What the world or a model says is made visible, as
in :mod:`sekft_engine.episodes.asciicast`, or a recording could control the terminal that plays it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from sekft_engine.core.errors import Unavailable, explain_os_error
from sekft_engine.episodes.asciicast import BOLD, PLAIN, cast_header, gap, shown
from sekft_engine.episodes.endings import ending_of
from sekft_engine.takeover.view import TakeOverView

#: Erases the line that the cursor is in.
_ERASE = "\r\x1b[2K"


class LiveCast:
    """Writes what a session shows, as it shows it. :meth:`update` may be called from any thread.

    Args:
        path: the file; one that is there is replaced.
        title: of the recording.
        clock: seconds, monotonic.

    Raises:
        Unavailable: the file cannot be written.
    """

    def __init__(
        self, path: Path, title: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._began = clock()
        self._turns = 0
        self._prompt = ""
        self._written = ""  # of the command that is being written
        self._judged = False
        self._file: BinaryIO | None = None
        try:
            self._file = path.open("wb", buffering=0)
            self._file.write(msgspec.json.encode(cast_header(title)) + b"\n")
        except OSError as error:
            raise explain_os_error(error) or Unavailable(
                str(error.strerror), where=str(path)
            ) from error

    def update(self, view: TakeOverView) -> None:
        """Record what is new in ``view``."""
        with self._lock:
            if self._file is None:
                return
            if len(view.turns) < self._turns:  # undone
                self._event("m", "undo")
                self._event("o", "\r\n")
                self._turns, self._written = len(view.turns), ""
            for turn in view.turns[self._turns :]:
                if turn.is_command:
                    self._write(shown(turn.content))
                    self._event("o", f"{PLAIN}\r\n")
                    self._written = ""
                else:
                    self._prompt = shown(turn.content).rpartition("\n")[2] + gap(turn.content)
                    self._event("o", shown(turn.content) + gap(turn.content))
            self._turns = len(view.turns)
            text = view.writing or view.running
            if view.state in ("model", "running") and text.strip():
                self._write(shown(text.strip()))
            if view.finished is not None and not self._judged:
                self._event("m", ending_of(view.finished))
            self._judged = view.finished is not None

    def close(self) -> None:
        """End the recording."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _write(self, text: str) -> None:
        """Show ``text`` as the command that is being written."""
        if not text.startswith(self._written):
            self._event("o", f"{PLAIN}{_ERASE}{self._prompt}")
            self._written = ""
        new = text[len(self._written) :]
        if new:
            self._event("o", new if self._written else BOLD + new)
        self._written = text

    def _event(self, code: str, data: str) -> None:
        line = msgspec.json.encode([round(self._clock() - self._began, 4), code, data])
        if self._file is not None:
            self._file.write(line + b"\n")
