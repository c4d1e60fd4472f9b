"""Never more on the way to the terminal than it takes: frames wait while the line is behind.

Over a slow line, what was painted and has not arrived delays the answer to every key. SSH and TCP
take up megabytes, so the program's own end of the terminal tells nothing. Each frame therefore ends
with a question that most terminals answer at once (whether they paint frames as a whole); while too
much is unanswered, what changes is only remembered, and the next frame shows the latest state. A
terminal that never answers gets its frames as they come, unless the system itself holds them up.
"""

from __future__ import annotations

import threading
import time
from collections import deque

#: Asks for the state of mode 2026 (DECRQM).
QUESTION = "\x1b[?2026$p"
#: This much may be on the way: half a second at 20 kB/s, and a few frames where the way is long.
MAX_BYTES = 10_000
MAX_FRAMES = 4
#: A question that is not answered for so long was lost.
LOST_S = 8.0
#: How long the end of the workbench waits for answers, which would go to the shell.
SETTLE_S = 2.0


class Flow:
    """Counts what is on the way. Answers come on the thread that reads the terminal."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asked: deque[tuple[float, int]] = deque()
        self._bytes = 0
        self._answers = False

    def start(self) -> None:
        """The terminal was taken over, and is asked the first time."""
        with self._changed:
            self._forget()

    def _forget(self) -> None:
        self._asked.clear()
        self._bytes = 0
        self._answers = False

    def answered(self) -> bool:
        """The terminal has answered.

        Returns:
            Whether that is the answer to a frame; the first question is Textual's own.
        """
        with self._changed:
            self._answers = True
            is_own = bool(self._asked)
            if is_own:
                self._bytes -= self._asked.popleft()[1]
            self._changed.notify_all()
            return is_own

    def sent(self, size: int) -> str:
        """A frame of ``size`` bytes goes out; what is to be written behind it."""
        with self._changed:
            if not self._answers:
                return ""
            self._asked.append((time.monotonic(), size))
            self._bytes += size
            return QUESTION

    @property
    def is_behind(self) -> bool:
        """Whether the next frame has to wait."""
        with self._changed:
            if self._asked and time.monotonic() - self._asked[0][0] > LOST_S:
                # Not this terminal any more, such as after another one was attached to a session.
                self._forget()
            return len(self._asked) >= MAX_FRAMES or self._bytes > MAX_BYTES

    def settle(self) -> None:
        """Wait until all is answered, for a short time and only once."""
        with self._changed:
            self._changed.wait_for(lambda: not self._asked, SETTLE_S)
            self._forget()
