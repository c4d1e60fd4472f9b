"""What a command turn may be: bounded in size, and text that a terminal and a file can hold.

Whatever says it (a model, a server, a person, a recorded session), a turn over a bound is not
typed. Nothing reads it either: it is cut, and the environment answers that it was too long.
"""

from __future__ import annotations

import re

#: A command turn has at most so many bytes (UTF-8) and lines. A line of it may have as many bytes
#: as a terminal takes, see :data:`sekft_engine.worlds.driver.LONGEST_LINE`.
MAX_BYTES = 64 * 1024
MAX_LINES = 1024
#: So much of a longer one is recorded, in characters: half from its beginning, half from its end.
KEPT = 4096

#: The mark may have so many characters.
_MARK_ROOM = 100
_SURROGATE = re.compile("[\ud800-\udfff]")


def excess(turn: str) -> str:
    """By how much ``turn`` is over a bound, such as ``70000 bytes, at most 65536``; '' = it is
    within both."""
    # No character has less than one byte: a huge turn is not even encoded to be refused.
    if len(turn) > MAX_BYTES or len(turn.encode("utf-8", "replace")) > MAX_BYTES:
        size = len(turn.encode("utf-8", "replace"))
        return f"{size} bytes, at most {MAX_BYTES}"
    lines = turn.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
    return f"{lines} lines, at most {MAX_LINES}" if lines > MAX_LINES else ""


def cut(turn: str) -> str:
    """``turn`` without its middle, with a mark that says how much is left out; what is cut
    already stays as it is."""
    if len(turn) <= KEPT + _MARK_ROOM:
        return turn
    half = KEPT // 2
    left_out = len(turn) - 2 * half
    return f"{turn[:half]}\n[... {left_out} characters left out ...]\n{turn[-half:]}"


def well_formed(text: str) -> str:
    """``text`` with U+FFFD for every lone surrogate, which no terminal and no UTF-8 file holds."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
