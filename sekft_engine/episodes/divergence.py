"""The turn at which two sessions in the same world begin to differ."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

#: For each turn of a session: whether it is a command, and its text.
Turns = Sequence[tuple[bool, str]]


def first_divergence(a: Turns, b: Turns, *, running: bool = False) -> int | None:
    """The first turn at which ``a`` and ``b`` do not type the same.

    What the world answered is not compared: the same commands may print a time or a random word.
    Nor is white space around a command, which is not typed.

    Args:
        running: a session that is still running may have fewer turns without being different.

    Returns:
        The number of that turn, counted from 0; None where they never differ.
    """
    for number, (of_a, of_b) in enumerate(zip_longest(a, b)):
        if of_a is None or of_b is None:
            return None if running else number
        if of_a[0] != of_b[0]:
            return number
        if of_a[0] and of_a[1].strip() != of_b[1].strip():
            return number
    return None
