"""JSON that a terminal can be shown as it lies: what acts is escaped, and reads back the same."""

from __future__ import annotations

from sekft_engine.visible import Shown


def quiet_json(text: bytes) -> bytes:
    """``text``, UTF-8 JSON, with every acting character in its strings written as ``\\uXXXX``."""
    if text.isascii() and b"\x7f" not in text:
        return text
    # Outside of strings JSON has no such characters, so a replacement anywhere is one inside.
    return text.decode("utf-8").translate(_QUIET).encode("utf-8")


def _escape(code: int) -> str:
    units = chr(code).encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


#: JSON escapes C0 by itself: what is left of it stands between values.
_QUIET = Shown(_escape, {code: chr(code) for code in range(0x20)})
