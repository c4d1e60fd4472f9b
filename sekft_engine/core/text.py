"""Text as a terminal may show it: characters that would act or hide are made visible."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping

#: Categories of characters that act instead of showing: control, format (bidirectional marks, zero
#: width), surrogate, private use, unassigned, and the line and paragraph separators.
_ACTING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: Letters and marks without a shape.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
#: What stands for the control characters of ASCII: Unicode's pictures, and signs for line and tab.
_CONTROL_SIGNS: Mapping[int, str] = {
    **{code: chr(0x2400 + code) for code in range(0x20)},
    0x7F: "\u2421",
    ord("\n"): "⏎",
    ord("\t"): "⇥",
}
#: The zero-width joiner and the variation selectors, which hold emoji together.
_JOINERS = {ord(character): character for character in "\u200d\ufe0e\ufe0f"}
#: Characters that a table stores at most, so that hostile text cannot make it grow without end.
_MAX_ENTRIES = 20_000


def acts(character: str) -> bool:
    """Whether a character acts on a terminal, or on its neighbours, instead of showing."""
    category = unicodedata.category(character)
    if category in _ACTING or character in _BLANK:
        return True
    return category == "Mn" and "VARIATION SELECTOR" in unicodedata.name(character, "")


class CharacterTable(dict[int, str]):
    """A table for ``str.translate`` that replaces characters that act, and no others.

    Args:
        replacement: what stands for the acting character of a code point.
        known: what stands for some characters, whether they act or not.
    """

    def __init__(self, replacement: Callable[[int], str], known: Mapping[int, str]) -> None:
        super().__init__(known)
        self._replacement = replacement

    def __missing__(self, code: int) -> str:
        character = chr(code)
        shown = self._replacement(code) if acts(character) else character
        if len(self) < _MAX_ENTRIES:
            self[code] = shown
        return shown


def visible_table(known: Mapping[int, str]) -> CharacterTable:
    """The table by which every front end shows acting characters: ``␛`` for an escape, ``⏎`` for
    the end of a line, ``<202e>`` for a bidirectional mark.

    Args:
        known: other signs for some characters.
    """
    return CharacterTable(lambda code: f"<{code:x}>", {**_CONTROL_SIGNS, **known})


_BY_CHARACTER = visible_table({})
_WITH_JOINERS = visible_table(_JOINERS)


def visible(text: str, *, keep_newlines: bool = False, joiners: bool = True) -> str:
    """``text`` with no character left that could move the cursor, change colours or hide.

    Args:
        text: anything, as a hostile program may have printed it.
        keep_newlines: break the line after the sign for a newline.
        joiners: leave alone what holds emoji together. Not for text whose cells are counted
            character by character.
    """
    if text.isascii() and text.isprintable():
        return text
    shown = text.translate(_WITH_JOINERS if joiners else _BY_CHARACTER)
    return shown.replace("⏎", "⏎\n") if keep_newlines and "\n" in text else shown


def plain(text: str) -> str:
    """Several lines that only show: line breaks stay, everything else that acts is made visible."""
    return "\n".join(visible(line) for line in text.split("\n"))


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
_QUIET = CharacterTable(_escape, {code: chr(code) for code in range(0x20)})


def count(number: int, thing: str, things: str = "") -> str:
    """``1 turn``, ``1,024 turns``; ``things`` where several are not called so."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"
