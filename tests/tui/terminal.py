"""A real pseudo-terminal with a program in it, and its screen as pyte sees it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyte

DEADLINE_S = 150.0
ROOT = Path(__file__).parents[2]
SEKFT = "from sekft_engine.cli.main import main; main()"


class Terminal:
    """Reads what the program writes on a thread, so that the program never has to wait."""

    def __init__(self, program: subprocess.Popen[bytes], master: int, size: tuple[int, int]):
        self.program = program
        self._master = master
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.received = 0
        #: What the program sent, each piece with when it came, in seconds of the monotonic clock.
        self.pieces: list[tuple[float, bytes]] = []
        self._closed = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            if not data:
                return
            with self._lock:
                self.received += len(data)
                self.pieces.append((time.monotonic(), data))
                # pyte knows no private parameters of modern requests; Textual needs no answer.
                with contextlib.suppress(TypeError, ValueError, AttributeError):
                    self._stream.feed(data)

    @property
    def sent(self) -> bytes:
        """All that the program sent."""
        return b"".join(data for _, data in self.pieces)

    @property
    def text(self) -> str:
        with self._lock:
            return "\n".join(line.rstrip() for line in self._screen.display)

    def press(self, *keys: str) -> None:
        names = {
            "enter": "\r",
            "escape": "\x1b",
            "ctrl+u": "\x15",
            "ctrl+c": "\x03",
            "ctrl+p": "\x10",
        }
        os.write(self._master, "".join(names.get(key, key) for key in keys).encode())

    def until(self, true: Callable[[str], object], what: str) -> str:
        """Wait until ``true`` holds of the screen."""
        end = time.monotonic() + DEADLINE_S
        while True:
            text = self.text
            if true(text):
                return text
            if time.monotonic() > end or self.program.poll() is not None:
                raise AssertionError(f"never came true: {what}\n{text}")
            time.sleep(0.03)

    def until_shown(self, *texts: str) -> str:
        return self.until(lambda text: all(one in text for one in texts), " and ".join(texts))

    def ended(self) -> int:
        """Wait for the program's end; its exit status."""
        return self.program.wait(DEADLINE_S)

    def hang_up(self) -> None:
        """Close the terminal, as a lost connection does."""
        if not self._closed:
            self._closed = True
            os.close(self._master)
            self._thread.join(5)

    def let_go(self) -> None:
        """Close the terminal of a program that has ended, once all that it wrote is read: the next
        terminal may get the same descriptor."""
        self._thread.join(5)
        self.hang_up()


@contextmanager
def terminal(
    *arguments: str,
    cwd: Path,
    size: tuple[int, int] = (80, 24),
    environ: Mapping[str, str] | None = None,
    code: str = SEKFT,
) -> Iterator[Terminal]:
    """Run sekft (or other Python ``code``) with ``arguments`` in a new terminal and session."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    env = {
        name: value for name, value in os.environ.items() if name not in ("TMUX", "NO_COLOR")
    } | {
        "TERM": "xterm-256color",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "LANG": "C.UTF-8",
        **(environ or {}),
    }
    program = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=env, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(slave)
    shown = Terminal(program, master, size)
    try:
        yield shown
    finally:
        if program.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
        shown.let_go()
