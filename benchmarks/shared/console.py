"""A program in a real pseudo-terminal, and when it answered what was typed.

What it writes is taken and stamped on one thread and drawn by pyte on another, so that drawing
does not delay a stamp.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import queue
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
from typing import TypeVar

import pyte

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240.0
#: After this long a key counts as not answered.
KEY_S = 5.0
_QUESTION, _ANSWER = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
Seen = TypeVar("Seen")


class Console:
    """The terminal's other end."""

    def __init__(
        self,
        program: subprocess.Popen[bytes],
        master: int,
        size: tuple[int, int],
        began: float,
        rate: int = 0,
    ) -> None:
        self.program = program
        self.began = began
        self.received = 0
        self._master = master
        self._rate = rate
        self._tail = b""
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self._chunks: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._drawn_at = began
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._take, self._draw)
        ]
        for thread in self._threads:
            thread.start()

    def _take(self) -> None:
        data = b"-"
        while data:
            try:
                data = os.read(self._master, 1 << 10 if self._rate else 1 << 16)
            except OSError:
                data = b""
            self.received += len(data)
            self._chunks.put((time.perf_counter(), data))

    def _draw(self) -> None:
        while True:
            stamp, data = self._chunks.get()
            if self._rate:
                self._pass(data)
                stamp = time.perf_counter()
            with self._changed:
                # pyte knows no private parameters of modern requests; Textual needs no answer.
                with contextlib.suppress(TypeError, ValueError, AttributeError):
                    self._stream.feed(data)
                self._drawn_at = stamp
                self._changed.notify_all()
            if not data:
                return

    def _pass(self, data: bytes) -> None:
        """Take as long as a line of ``rate`` bytes/s, and answer whether frames are painted as a
        whole, as most terminals do."""
        time.sleep(len(data) / self._rate)
        seen = self._tail + data
        self._tail = seen[max(seen.rfind(_QUESTION) + 1, len(seen) - len(_QUESTION) + 1) :]
        for _ in range(seen.count(_QUESTION)):
            with contextlib.suppress(OSError):
                os.write(self._master, _ANSWER)

    def close(self) -> None:
        """Close the terminal of a program that is gone. Not before its last bytes are taken: the
        next terminal may get the same descriptor."""
        for thread in self._threads:
            thread.join(5)
        os.close(self._master)

    # --- what is seen ---------------------------------------------------------------------------

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._screen.display)

    def line(self, number: int) -> str:
        return str(self._screen.display[number])

    def backgrounds(self, column: int = 4) -> tuple[str, ...]:
        """The colours behind a column: they tell which line of a list there is chosen."""
        rows = self._screen.buffer
        return tuple(rows[y][column].bg for y in range(self._screen.lines))

    # --- waiting --------------------------------------------------------------------------------

    def until(
        self, true: Callable[[Console], object], what: str, patience: float = PATIENCE_S
    ) -> float:
        """Wait until ``true`` holds of the screen; when what made it so had arrived."""
        end = time.monotonic() + patience
        with self._changed:
            while not true(self):
                left = end - time.monotonic()
                if left <= 0 or self.program.poll() is not None:
                    raise SystemExit(f"never came true: {what}\n{self.text()}")
                self._changed.wait(min(left, 0.5))
            return self._drawn_at

    def until_shown(self, text: str) -> float:
        return self.until(lambda one: text in one.text(), text)

    def type(self, *keys: str) -> None:
        os.write(self._master, "".join(keys).encode())

    def answer_ms(self, key: str, look: Callable[[Console], Seen]) -> float:
        """Milliseconds from a key until what ``look`` sees is another."""
        with self._changed:
            before = look(self)
        began = time.perf_counter()
        self.type(key)
        stamp = self.until(lambda one: look(one) != before, f"an answer to {key}", KEY_S)
        return 1000 * (stamp - began)

    def processor_s(self) -> float:
        """Processor time that the program took so far, in seconds."""
        user, system = (
            Path(f"/proc/{self.program.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        )
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def bytes_per_s(self, seconds: float) -> float:
        """What arrives while nothing is typed."""
        before, began = self.received, time.perf_counter()
        time.sleep(seconds)
        return (self.received - before) / (time.perf_counter() - began)

    def settled_s(self, seconds: float = 1.5) -> float:
        """How long it takes from now on until all that was on the line is drawn."""
        began = time.perf_counter()
        with self._changed:
            while self._changed.wait(seconds) or not self._chunks.empty():
                pass
            return max(0.0, self._drawn_at - began)

    def quiet(self, seconds: float = 1.0, patience: float = 60.0) -> None:
        """Wait until nothing has arrived for so long."""
        end = time.monotonic() + patience
        while self.bytes_per_s(seconds) and time.monotonic() < end:
            pass


@contextmanager
def console(
    arguments: list[str],
    *,
    cwd: Path,
    size: tuple[int, int],
    environ: Mapping[str, str],
    rate: int = 0,
) -> Iterator[Console]:
    """Python with ``arguments`` in a new terminal and session; killed at the end if need be."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    unwanted = ("TMUX", "NO_COLOR", "SSH_CONNECTION")
    env = {name: value for name, value in os.environ.items() if name not in unwanted}
    env |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", **environ}
    began = time.perf_counter()
    program = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=env, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(slave)
    shown = Console(program, master, size, began, rate)
    try:
        yield shown
    finally:
        if program.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
        shown.close()
