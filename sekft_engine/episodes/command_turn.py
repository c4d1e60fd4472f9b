"""Bounds of a command turn: its size, and text that a terminal and a UTF-8 file can hold.

They hold for every source of turns: a model, a server, a person, a recorded session. A turn over a
bound is neither typed nor judged: it is cut, and the environment answers that it was too long.
"""

from __future__ import annotations

import re

#: Most bytes (UTF-8) and lines of a command turn. The bytes of a single line are bounded by the
#: terminal, see :data:`sekft_engine.worlds.shell.driver.LONGEST_LINE`.
MAX_BYTES = 64 * 1024
MAX_LINES = 1024
#: Characters that are recorded of a longer turn: half from its beginning, half from its end.
KEPT = 4096

#: Most characters of the mark that stands for what was cut.
_MARK_ROOM = 100
_SURROGATE = re.compile("[\ud800-\udfff]")


def excess(turn: str) -> str:
    """Which bound ``turn`` exceeds, such as ``70000 bytes, at most 65536``; empty = none."""
    # A character has at least one byte, so a huge turn need not be encoded to be refused.
    if len(turn) > MAX_BYTES or len(turn.encode("utf-8", "replace")) > MAX_BYTES:
        size = len(turn.encode("utf-8", "replace"))
        return f"{size} bytes, at most {MAX_BYTES}"
    lines = turn.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
    return f"{lines} lines, at most {MAX_LINES}" if lines > MAX_LINES else ""


def cut(turn: str) -> str:
    """``turn`` with a mark in place of its middle; a turn that was cut before stays as it is."""
    if len(turn) <= KEPT + _MARK_ROOM:
        return turn
    half = KEPT // 2
    left_out = len(turn) - 2 * half
    return f"{turn[:half]}\n[... {left_out} characters left out ...]\n{turn[-half:]}"


def well_formed(text: str) -> str:
    """``text`` with U+FFFD for every lone surrogate, which no terminal and no UTF-8 file holds."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
