"""A real pseudo-terminal with a program in it, and its screen as pyte sees it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
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

DEADLINE_S = 150.0
#: Modes that a terminal is asked to take and to leave: the mouse, the other screen, pasting, …
_MODE = re.compile(rb"\x1b\[\?([\d;]+)([hl])")
#: The protocol in which a terminal tells more of each key; it is taken and given back.
_KEYS = re.compile(rb"\x1b\[([><])\d*u")
#: On in a terminal that nobody has asked for anything: lines wrap, and there is a cursor.
_USUAL = frozenset({7, 25})
MOUSE = frozenset({9, 1000, 1001, 1002, 1003, 1005, 1006, 1015, 1016})
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
            self._take(data)

    def _take(self, data: bytes) -> None:
        """Draw what has arrived."""
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

    @property
    def modes(self) -> frozenset[int]:
        """The modes that are on."""
        on = set(_USUAL)
        for mode, is_on in self._asked_modes():
            (on.add if is_on else on.discard)(mode)
        return frozenset(on)

    @property
    def ever_on(self) -> frozenset[int]:
        """The modes that the program has ever asked for."""
        return frozenset(mode for mode, is_on in self._asked_modes() if is_on)

    def _asked_modes(self) -> Iterator[tuple[int, bool]]:
        with self._lock:
            asked = _MODE.findall(bytes(self.sent))
        for numbers, how in asked:
            yield from ((int(number), how == b"h") for number in numbers.split(b";") if number)

    @property
    def faults_at_rest(self) -> list[str]:
        """What is not as a shell or another program expects its terminal."""
        found = [f"mode {mode} is not as usual" for mode in sorted(self.modes ^ _USUAL)]
        with self._lock:
            taken = _KEYS.findall(bytes(self.sent))
            cursor = self._screen.cursor
            if cursor.attrs != self._screen.default_char:
                found.append(f"text would look like this: {cursor.attrs}")
        if taken.count(b">") > taken.count(b"<"):
            found.append("keys come in another protocol")
        local = termios.tcgetattr(self._master)[3]
        if not local & termios.ECHO or not local & termios.ICANON or not local & termios.ISIG:
            found.append("what is typed is not echoed, or not read line by line")
        return found

    def place_of(self, text: str) -> tuple[int, int]:
        """Column and line, from 1 on, at which a text stands on the screen."""
        with self._lock:
            lines = list(self._screen.display)
        for number, line in enumerate(lines, 1):
            if text in line:
                return line.index(text) + 1, number
        raise AssertionError(f"{text!r} is not on the screen:\n" + "\n".join(lines))

    def click(self, text: str, times: int = 1) -> None:
        """Click on a text, as a terminal tells it."""
        column, line = self.place_of(text)
        self.press(f"\x1b[<0;{column};{line}M\x1b[<0;{column};{line}m" * times)

    def wheel(self, text: str, clicks: int) -> None:
        """Turn the wheel over a text; up where ``clicks`` are negative."""
        column, line = self.place_of(text)
        self.press(f"\x1b[<{64 if clicks < 0 else 65};{column};{line}M" * abs(clicks))

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

    def read_all(self) -> None:
        """Wait until all is read that a program wrote that has ended."""
        self._thread.join(5)

    def let_go(self) -> None:
        """Close the terminal of a program that has ended, once all that it wrote is read: the next
        terminal may get the same descriptor."""
        self.read_all()
        self.hang_up()


SomeTerminal = TypeVar("SomeTerminal", bound=Terminal)


class SlowTerminal(Terminal):
    """A terminal behind a line of ``RATE`` bytes/s whose near end takes up everything, as SSH does.
    It answers whether it paints frames as a whole when the question has come through."""

    RATE = 20_000
    _QUESTION, _ANSWER = b"\x1b[?2026$p", b"\x1b[?2026;2$y"

    def __init__(self, program: subprocess.Popen[bytes], master: int, size: tuple[int, int]):
        self._line = bytearray()
        self._sending = threading.Condition()
        #: The most that was on the line at once since it was last set to 0.
        self.most_on_the_line = 0
        super().__init__(program, master, size)
        threading.Thread(target=self._send, daemon=True).start()

    def _take(self, data: bytes) -> None:
        with self._sending:
            self._line += data
            self.most_on_the_line = max(self.most_on_the_line, len(self._line))
            self._sending.notify()

    def _send(self) -> None:
        share = self.RATE // 50
        rest = b""
        while not self._closed:
            with self._sending:
                self._sending.wait_for(lambda: self._line, 0.2)
                part = bytes(self._line[:share])
                del self._line[:share]
            super()._take(part)
            seen = rest + part
            for _ in range(seen.count(self._QUESTION)):
                with contextlib.suppress(OSError):
                    os.write(self._master, self._ANSWER)
            cut = seen.rfind(self._QUESTION)
            seen = seen[cut + len(self._QUESTION) :] if cut >= 0 else seen
            rest = seen[-(len(self._QUESTION) - 1) :]
            time.sleep(1 / 50)


@contextmanager
def terminal(
    *arguments: str,
    cwd: Path,
    size: tuple[int, int] = (80, 24),
    environ: Mapping[str, str] | None = None,
    code: str = SEKFT,
) -> Iterator[Terminal]:
    """Run sekft (or other Python ``code``) with ``arguments`` in a new terminal and session."""
    with terminal_of(Terminal, *arguments, cwd=cwd, size=size, environ=environ, code=code) as shown:
        yield shown


@contextmanager
def terminal_of(
    kind: type[SomeTerminal],
    *arguments: str,
    cwd: Path,
    size: tuple[int, int] = (80, 24),
    environ: Mapping[str, str] | None = None,
    code: str = SEKFT,
) -> Iterator[SomeTerminal]:
    """The same in a terminal of a certain kind."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("TMUX", "NO_COLOR", "COLUMNS", "LINES")
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
    shown = kind(program, master, size)
    try:
        yield shown
    finally:
        if program.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
        shown.let_go()
