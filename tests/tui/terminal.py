"""A real pseudo-terminal with sekft in it, as a test looks at it."""

from __future__ import annotations

import re
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.shared.pseudo_terminal import ROOT, PseudoTerminal, opened

__all__ = ["MOUSE", "ROOT", "SEKFT", "Terminal", "terminal"]

DEADLINE_S = 150.0
#: Modes that a terminal is asked to take and to leave: the mouse, the other screen, pasting, …
_MODE = re.compile(rb"\x1b\[\?([\d;]+)([hl])")
#: The protocol in which a terminal tells more of each key; it is taken and given back.
_KEYS = re.compile(rb"\x1b\[([><])\d*u")
#: On in a terminal that nobody has asked for anything: lines wrap, and there is a cursor.
_USUAL = frozenset({7, 25})
MOUSE = frozenset({9, 1000, 1001, 1002, 1003, 1005, 1006, 1015, 1016})
SEKFT = "from sekft_engine.cli.main import main; main()"


class Terminal(PseudoTerminal):
    """Tells what a terminal was asked for, and types and clicks as a person does."""

    LOOK_S = 0.05

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
        with self._changed:
            asked = _MODE.findall(bytes(self.sent))
        for numbers, how in asked:
            yield from ((int(number), how == b"h") for number in numbers.split(b";") if number)

    @property
    def faults_at_rest(self) -> list[str]:
        """What is not as a shell or another program expects its terminal."""
        found = [f"mode {mode} is not as usual" for mode in sorted(self.modes ^ _USUAL)]
        with self._changed:
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
        """Column and line, from 1 on, at which a text stands on the screen, once it is shown."""
        for number, line in enumerate(self.until_shown(text).splitlines(), 1):
            if text in line:
                return line.index(text) + 1, number
        raise AssertionError(f"{text!r} is in no line")

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
        self.type(*(names.get(key, key) for key in keys))

    def until(self, true: Callable[[str], object], what: str) -> str:
        """Wait until ``true`` holds of the screen."""
        text = ""

        def seen() -> object:
            nonlocal text
            text = self.text
            return true(text)

        if not self.wait(seen, DEADLINE_S):
            raise AssertionError(f"never came true: {what}\n{text}")
        return text

    def until_shown(self, *texts: str) -> str:
        return self.until(lambda text: all(one in text for one in texts), " and ".join(texts))

    def ended(self) -> int:
        """Wait for the program's end; its exit status."""
        return self.program.wait(DEADLINE_S)


@contextmanager
def terminal(
    *arguments: str,
    cwd: Path,
    size: tuple[int, int] = (80, 24),
    environ: Mapping[str, str] | None = None,
    code: str = SEKFT,
    rate: int = 0,
) -> Iterator[Terminal]:
    """Run sekft (or other Python ``code``) with ``arguments`` in a new terminal and session, over a
    line of ``rate`` bytes/s; 0 = as fast as can be."""
    environ = {"OMP_NUM_THREADS": "1", **(environ or {})}
    words = ["-c", code, *arguments]
    with opened(Terminal, words, cwd=cwd, size=size, environ=environ, rate=rate) as shown:
        yield shown
