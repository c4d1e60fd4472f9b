"""Fit text that is visible already into the cells of a terminal."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size


def cells(text: str) -> int:
    """The cells that ``text`` takes."""
    return len(text) if text.isascii() else cell_len(text)


def clip(text: str, width: int) -> str:
    """``text`` in at most ``width`` cells, ending in an ellipsis where something was cut."""
    if cells(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)) + "…" if width > 0 else ""


def clip_left(text: str, width: int) -> str:
    """``text`` in at most ``width`` cells, cut at its beginning: for paths."""
    return text if cells(text) <= width else "…" + ending(text, width - 1)


def ending(text: str, width: int) -> str:
    """The last ``width`` cells of ``text``, or one less before a wide character."""
    at, used = len(text), 0
    while at and (used := used + cell_len(text[at - 1])) <= width:
        at -= 1
    return text[at:]


def fit(text: str, width: int, *, right: bool = False) -> str:
    """``text`` in exactly ``width`` cells."""
    text = clip(text, width)
    gap = " " * (width - cells(text))
    return gap + text if right else text + gap
