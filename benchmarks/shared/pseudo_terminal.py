"""A Python program in a real pseudo-terminal, and its screen as pyte sees it.

Benchmarks measure in it, and tests look into it. It is here because tests import benchmarks, and
benchmarks import no tests.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pyte

ROOT = Path(__file__).parents[2]
#: How often a slow line passes something on, per second.
_SLICES = 50
#: Asks whether the terminal paints frames as a whole, as most do, and the answer.
_QUESTION, _ANSWER = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
#: What would tell the program of the terminal in which this one runs, and what would let it compile
#: all of its modules at each start while its peer's are compiled already.
_UNWANTED = ("TMUX", "NO_COLOR", "SSH_CONNECTION", "COLUMNS", "LINES", "PYTHONDONTWRITEBYTECODE")


class PseudoTerminal:
    """The other end of a program's terminal.

    What the program writes is taken and stamped on one thread and drawn on another, so that drawing
    delays neither a stamp nor the program.

    Args:
        program: writes there.
        master: the descriptor of this end.
        size: columns and lines.
        began: when the program was started.
        rate: bytes per second of the line; 0 = as fast as can be. The near end of a slow line
            takes up everything, as SSH does. It answers whether frames are painted as a whole when
            the question has come through.

    Attributes:
        received: bytes that the program wrote.
        most_on_the_line: the most of them that were not through at once since it was last set to 0.
        pieces: what came through, each piece with when it did, by ``time.perf_counter``.
    """

    #: How long to wait at most before looking again whether something is true that no change of the
    #: screen tells of.
    LOOK_S = 0.5

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
        self.most_on_the_line = 0
        self.pieces: list[tuple[float, bytes]] = []
        self._master = master
        self._rate = rate
        self._through = 0
        self._tail = b""
        self._closed = False
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self._chunks: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._drawn_at = began
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._take, self._pass_on)
        ]
        for thread in self._threads:
            thread.start()

    def _take(self) -> None:
        data = b"-"
        while data:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:
                data = b""
            self._chunks.put((time.perf_counter(), data))
            self.received += len(data)
            self.most_on_the_line = max(self.most_on_the_line, self.received - self._through)

    def _pass_on(self) -> None:
        while True:
            stamp, data = self._chunks.get()
            if not data:
                return
            if not self._rate:
                self._draw(data, stamp)
                continue
            for start in range(0, len(data), share := max(1, self._rate // _SLICES)):
                part = data[start : start + share]
                self._draw(part, time.perf_counter())
                self._answer(part)
                if not self._closed:
                    time.sleep(len(part) / self._rate)

    def _draw(self, data: bytes, stamp: float) -> None:
        with self._changed:
            # pyte knows no private parameters of modern requests; Textual needs no answer.
            with contextlib.suppress(TypeError, ValueError, AttributeError):
                self._stream.feed(data)
            self._through += len(data)
            self.pieces.append((stamp, data))
            self._drawn_at = stamp
            self._changed.notify_all()

    def _answer(self, data: bytes) -> None:
        """Answer each question that ends in ``data``."""
        seen = self._tail + data
        self._tail = seen[max(seen.rfind(_QUESTION) + 1, len(seen) - len(_QUESTION) + 1) :]
        for _ in range(seen.count(_QUESTION)):
            if not self._closed:
                with contextlib.suppress(OSError):
                    os.write(self._master, _ANSWER)

    # --- what is seen ---------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The lines on the screen."""
        with self._changed:
            return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def sent(self) -> bytes:
        """All that came through of what the program wrote."""
        return b"".join(data for _, data in self.pieces)

    # --- typing and waiting ---------------------------------------------------------------------

    def type(self, *keys: str) -> None:
        os.write(self._master, "".join(keys).encode())

    def wait(self, true: Callable[[], object], patience_s: float) -> bool:
        """Wait until something is true of the screen; False = it never came true."""
        end = time.monotonic() + patience_s
        with self._changed:
            while not true():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                if self.program.poll() is not None:
                    break
                self._changed.wait(min(left, self.LOOK_S))
            else:
                return True
        self.read_all()  # it has ended, and what it wrote last may not be drawn yet
        return bool(true())

    # --- its end --------------------------------------------------------------------------------

    def read_all(self) -> None:
        """Wait until all is read that a program wrote that has ended."""
        for thread in self._threads:
            thread.join(5)

    def hang_up(self) -> None:
        """Close the terminal, as a lost connection does."""
        if not self._closed:
            self._closed = True
            os.close(self._master)
            self.read_all()

    def let_go(self) -> None:
        """Close the terminal of a program that has ended, once all that it wrote is read: the next
        terminal may get the same descriptor."""
        self.read_all()
        self.hang_up()


SomeTerminal = TypeVar("SomeTerminal", bound=PseudoTerminal)


@contextmanager
def opened(
    kind: type[SomeTerminal],
    arguments: Sequence[str],
    *,
    cwd: Path,
    size: tuple[int, int],
    environ: Mapping[str, str],
    rate: int = 0,
) -> Iterator[SomeTerminal]:
    """Python with ``arguments`` in a new terminal and session; killed at the end if need be."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in _UNWANTED}
    env |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", **environ}
    began = time.perf_counter()
    program = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=env, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(slave)
    shown = kind(program, master, size, began, rate)
    try:
        yield shown
    finally:
        if program.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
        shown.let_go()
