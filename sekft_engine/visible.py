"""Make what a terminal would obey, or not show at all, visible: here is told what that is."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping

#: Categories of characters that act instead of showing: control, format (bidi, zero width),
#: surrogate, private use, unassigned, and the line and paragraph separators.
_ACTING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: Letters and marks that show nothing.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
#: The pictures that Unicode has of control characters.
PICTURES: Mapping[int, str] = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
#: Characters that a table keeps at most, so that hostile text cannot make it grow for ever.
_KEPT = 20_000


def acts(character: str) -> bool:
    """Whether a character acts on a terminal, or on its neighbours, instead of showing."""
    category = unicodedata.category(character)
    if category in _ACTING or character in _BLANK:
        return True
    return category == "Mn" and "VARIATION SELECTOR" in unicodedata.name(character, "")


class Shown(dict[int, str]):
    """A table for ``str.translate`` in which what acts has a name, and all else is itself.

    Args:
        name: says what stands for the acting character of a code point.
        known: what stands for some characters, whether they act or not.
    """

    def __init__(self, name: Callable[[int], str], known: Mapping[int, str]) -> None:
        super().__init__(known)
        self._name = name

    def __missing__(self, code: int) -> str:
        character = chr(code)
        shown = self._name(code) if acts(character) else character
        if len(self) < _KEPT:
            self[code] = shown
        return shown


def numbered(code: int) -> str:
    """The short name that stands for an acting character on the screen: ``<202e>``."""
    return f"<{code:x}>"


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


#: In lines of output: these hold emoji together, and a terminal that is only printed to copes.
_JOINERS = {ord(character): character for character in "\u200d\ufe0e\ufe0f"}
_SHOWN = Shown(_escaped, {**PICTURES, ord("\n"): "⏎", ord("\t"): "⇥", **_JOINERS})


def visible(text: str, *, keep_newlines: bool = False) -> str:
    """``text`` with no character left that could move the cursor, change colours or hide.

    Args:
        text: anything, as a hostile program may have printed it.
        keep_newlines: break the line after the sign for a newline.
    """
    if text.isascii() and text.isprintable():
        return text
    shown = text.translate(_SHOWN)
    return shown.replace("⏎", "⏎\n") if keep_newlines and "\n" in text else shown


def plain(text: str) -> str:
    """Several lines that only show: line breaks stay, everything else that acts is made visible."""
    return "\n".join(visible(line) for line in text.split("\n"))
