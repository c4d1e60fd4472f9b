"""Find text in a document: every place, exactly, whatever token or line it crosses."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt


class Matches:
    """All places of ``needle`` in ``text``, in any case, without overlap.

    ``at`` is the number of the present one, -1 where there is none.
    """

    def __init__(self, text: str = "", needle: str = "") -> None:
        self.needle = needle
        self.starts = _places(text, needle)
        self.at = -1

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def place(self) -> int:
        """Where the present match begins."""
        return int(self.starts[self.at])

    def from_place(self, place: int) -> bool:
        """Make the first match at or after ``place`` the present one, else the first of all."""
        self.at = int(np.searchsorted(self.starts, place)) if len(self) else -1
        if self.at == len(self):
            self.at = 0
        return len(self) > 0

    def step(self, by: int) -> bool:
        """To the next or previous match; False where there is no further one."""
        if not 0 <= self.at + by < len(self):
            return False
        self.at += by
        return True

    def within(self, start: int, end: int) -> list[tuple[int, int, bool]]:
        """The matches that touch ``text[start:end]`` as (start, end, is it the present one)."""
        size = len(self.needle)
        low = int(np.searchsorted(self.starts, start - size, side="right"))
        high = int(np.searchsorted(self.starts, end, side="left"))
        found = self.starts[low:high].tolist()
        return [(place, place + size, low + n == self.at) for n, place in enumerate(found)]


def _places(text: str, needle: str) -> npt.NDArray[np.int64]:
    if not needle:
        return np.zeros(0, dtype=np.int64)
    folded, wanted = text.lower(), needle.lower()
    if len(folded) == len(text) and len(wanted) == len(needle):
        pattern, searched = re.compile(re.escape(wanted)), folded
    else:  # a character that folds to more than one would shift what follows
        pattern, searched = re.compile(re.escape(needle), re.IGNORECASE), text
    return np.array([found.start() for found in pattern.finditer(searched)], dtype=np.int64)
