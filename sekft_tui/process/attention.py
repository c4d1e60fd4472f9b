"""What the workbench says beyond its screen: the terminal's title, and a sign when a long job ends.

Titles are OSC 2, kept and given back with xterm's title stack. The sign is a bell and OSC 9, a
desktop notification where the terminal knows it (iTerm2, kitty, WezTerm, Ghostty); others ignore
it. A terminal that might print such sequences is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from sekft_tui.process.preferences import Preferences
from sekft_tui.text import visible

#: Terminals that do not know the sequences, or print them.
_PLAIN = ("linux", "vt", "dumb", "ansi", "cons", "unknown")
#: Seconds between two titles, so that they cost a slow line nothing.
_PAUSE = 2.0
#: A job that ended so many seconds ago is not worth a sign.
_STALE = 10.0
_SHOWN = 60


class Attention:
    """The title and the signs of one terminal.

    Args:
        write: writes a sequence to the terminal, past what is drawn.
        environ: says which terminal it is; ``SEKFT_TITLE=off`` leaves it alone.
        now: seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        environ: Mapping[str, str],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write, self._now = write, now
        term = environ.get("TERM", "")
        self._able = bool(term) and not term.startswith(_PLAIN)
        self._able = self._able and environ.get("SEKFT_TITLE", "") != "off"
        self._title, self._at = "", float("-inf")
        #: What the user chose.
        self.preferences = Preferences()

    def title(self, text: str) -> None:
        """Show ``text`` as the title, unless it was changed a moment ago."""
        able = self._able and self.preferences.title
        if not able or text == self._title or self._now() - self._at < _PAUSE:
            return
        keep = "" if self._title else "\x1b[22;2t"
        self._title, self._at = text, self._now()
        self._write(f"{keep}\x1b]2;{_plain(text)}\x07")

    def close(self) -> None:
        """Give the title back."""
        if self._title:
            self._title = ""
            self._write("\x1b]2;\x07\x1b[23;2t")

    def ended(self, text: str, began: float, ended: float) -> None:
        """Give a sign that a job ended, if it took long and ended just now.

        Args:
            text: says which, and how.
            began, ended: seconds since the epoch.
        """
        chosen = self.preferences
        if ended - began < chosen.bell_after or time.time() - ended > _STALE:
            return
        if chosen.bell:
            self._write("\x07")
        if self._able and chosen.notify:
            self._write(f"\x1b]9;{_plain(text)}\x07")


def _plain(text: str) -> str:
    """Without what could end the sequence or begin another."""
    return visible(text)[:_SHOWN]
