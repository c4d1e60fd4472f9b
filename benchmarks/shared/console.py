"""A pseudo-terminal that measures when a program answers what was typed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.shared.pseudo_terminal import PseudoTerminal

PATIENCE_S = 240.0
#: After this long a key counts as not answered.
KEY_S = 5.0
Seen = TypeVar("Seen")


class Console(PseudoTerminal):
    """Its stamps say when what was drawn had arrived."""

    # --- what is seen ---------------------------------------------------------------------------

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
        stamp = 0.0

        def seen() -> bool:
            nonlocal stamp
            stamp = self._drawn_at
            return bool(true(self))

        if not self.wait(seen, patience):
            raise SystemExit(f"never came true: {what}\n{self.text}")
        return stamp

    def until_shown(self, text: str) -> float:
        return self.until(lambda one: text in one.text, text)

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
