"""How numbers of things are said."""

from __future__ import annotations


def count(number: int, thing: str) -> str:
    """``1 turn``, ``1,024 turns``."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")
