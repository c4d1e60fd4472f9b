"""JSON that a terminal can be shown as it lies: what acts is escaped, and reads back the same."""

from __future__ import annotations

import re

#: DEL, the C1 controls, and what is invisible or turns text around. JSON escapes C0 by itself.
_ACTING = re.compile(
    "[\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\U000110bd\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0001-\U000e007f]"
)


def quiet_json(text: bytes) -> bytes:
    """``text``, UTF-8 JSON, with every acting character in its strings written as ``\\uXXXX``."""
    if text.isascii() and b"\x7f" not in text:
        return text
    # Outside of strings JSON has no such characters, so a replacement anywhere is one inside.
    return _ACTING.sub(_escape, text.decode("utf-8")).encode("utf-8")


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
