"""Where two sessions in the same world part."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

#: (whether it is a command, its text) for each turn of a session.
Turns = Sequence[tuple[bool, str]]


def parting(a: Turns, b: Turns, *, running: bool = False) -> int | None:
    """The first turn at which ``a`` and ``b`` do not type the same; None = they never part.

    Where one is still ``running``, having no further turn is no parting.

    What a world answered is not compared: the same commands in the same world may print a time or a
    random word. White space around a command is not typed.
    """
    for number, (one, other) in enumerate(zip_longest(a, b)):
        if one is None or other is None:
            return None if running else number
        if one[0] != other[0]:
            return number
        if one[0] and one[1].strip() != other[1].strip():
            return number
    return None
