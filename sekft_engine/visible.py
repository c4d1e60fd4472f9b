"""Make what a terminal would obey, or not show at all, visible."""

from __future__ import annotations

import unicodedata

#: Categories of characters that act instead of showing: control, format (bidi, zero width),
#: surrogate, private use, unassigned, and the line and paragraph separators.
_ACTING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_CARRIERS = {"\n": "⏎", "\t": "⇥", "\x7f": "␡"}
#: These hold emoji together and act on nothing else.
_JOINERS = frozenset({"\u200d", "\ufe0e", "\ufe0f"})


def visible(text: str, *, keep_newlines: bool = False) -> str:
    """``text`` with no character left that could move the cursor, change colours or hide.

    Args:
        text: anything, as a hostile program may have printed it.
        keep_newlines: break the line after the sign for a newline.
    """
    if text.isascii() and text.isprintable():
        return text
    shown = "".join(map(_show, text))
    return shown.replace("⏎", "⏎\n") if keep_newlines and "\n" in text else shown


def _show(character: str) -> str:
    if character in _CARRIERS:
        return _CARRIERS[character]
    if character in _JOINERS or unicodedata.category(character) not in _ACTING:
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def plain(text: str) -> str:
    """Several lines that only show: line breaks stay, everything else that acts is made visible."""
    return "\n".join(visible(line) for line in text.split("\n"))
