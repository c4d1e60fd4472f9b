"""Text on streams that cannot show all of it: marks are replaced, and nothing fails.

A terminal of ISO 8859, a pipe under ``PYTHONIOENCODING=ascii`` or a name with stray bytes would
otherwise end a command in the midst of a line.
"""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata
from collections.abc import Mapping

#: The name of the error handler, as for ``open(errors=...)``.
ERRORS = "sekft.marks"

#: What stands for a mark where it cannot be shown, cell by cell where marks make pictures.
_MARKS: Mapping[str, str] = {
    "…": "...",
    "→": "->",
    "←": "<-",
    "⏎": "\\n",
    "⇥": "\\t",
    "·": ".",
    "•": "*",
    "×": "x",
    "±": "+-",
    "≤": "<=",
    "≥": ">=",
    "–": "-",
    "—": "--",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "✓": "+",
    "✗": "x",
    "⟦": "[[",  # of the views of a mask: what is trained, ...
    "⟧": "]]",
    "⟪": "<<",  # ... what is not to be trained,
    "⟫": ">>",
    "‹": "<",  # and control tokens
    "›": ">",
    "␡": "^?",
    "␣": "_",
    "⍽": "_",
    "▸": ">",
    "●": "*",
    "○": "o",
    "◆": "*",
    "▲": "^",
    "■": "#",
    "□": "o",
}
#: Box drawing, blocks and Braille, by the light one of their kind.
_PICTURES = ((0x2500, 0x2501, "-"), (0x2502, 0x2503, "|"), (0x2504, 0x257F, "+"))


def _mark(character: str) -> str:
    known = _MARKS.get(character)
    if known is not None:
        return known
    code = ord(character)
    for first, last, sign in _PICTURES:
        if first <= code <= last:
            return sign
    if 0x2400 <= code < 0x2420:  # a picture of a control character
        return f"^{chr(code - 0x2400 + 0x40)}"
    if 0x2580 <= code <= 0x259F or 0x2801 <= code <= 0x28FF:  # a block, or a dot of a chart
        return "#"
    if 0xD800 <= code <= 0xDFFF:
        return f"<{code:x}>"
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode("ascii")
    return plain or "?"


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = "".join(map(_mark, error.object[error.start : error.end]))
    return text, error.end


def forgive_streams() -> None:
    """Let standard output and error show what they can, and a mark for the rest."""
    codecs.register_error(ERRORS, _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors != ERRORS:
            stream.reconfigure(errors=ERRORS)
