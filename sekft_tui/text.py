"""Text for the screen: hostile characters made visible, numbers made short.

Whatever a model, a shell or a file wrote goes through :func:`visible` before it is drawn: a control
character would move the cursor, a bidirectional mark would reorder the line, and a zero-width one
would hide. None of them may reach the terminal, and none may vanish without a trace.
"""

from __future__ import annotations

import re
from pathlib import Path

from rich.cells import cell_len, set_cell_size

#: A line as pieces of (text, style name); style names are those of ``LineView.COMPONENT_CLASSES``.
Parts = tuple[tuple[str, str], ...]

_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
# C1 controls, soft hyphen, bidi and zero-width characters, separators, tags, lone surrogates.
_HIDDEN = re.compile(
    "[\x80-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff\ud800-\udfff]"
)


def visible(text: str) -> str:
    """One line with every control and invisible character as something one can see."""
    text = text.translate(_PICTURES)
    return _HIDDEN.sub(lambda found: f"<{ord(found[0]):x}>", text)


def visible_lines(text: str, tab: int = 8) -> list[str]:
    """The lines of ``text``, each visible, tabs expanded, ``\\r\\n`` taken as one line end."""
    lines = text.replace("\r\n", "\n").split("\n")
    return [visible(line.expandtabs(tab)) for line in lines]


def wrapped(text: str, width: int) -> list[str]:
    """``text`` in visible lines of at most ``width`` cells, cut at spaces if possible."""
    out: list[str] = []
    for line in visible_lines(text):
        rest = line
        while len(rest) > width:
            cut = rest.rfind(" ", width // 2, width)
            cut = cut if cut > 0 else width
            out.append(rest[:cut])
            rest = rest[cut:].lstrip(" ")
        out.append(rest)
    return out


def clip(text: str, width: int) -> str:
    """``text`` in at most ``width`` cells, ending in an ellipsis where something was cut."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)) + "…" if width > 0 else ""


def fit(text: str, width: int, *, right: bool = False) -> str:
    """``text`` in exactly ``width`` cells."""
    text = clip(text, width)
    gap = " " * (width - cell_len(text))
    return gap + text if right else text + gap


def short_number(value: float) -> str:
    """A count in few characters: 999, 12.3k, 4.5M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Seconds as a person reads them: 4.2 s, 1:05, 2:03:09."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}:{minutes:02}:{left:02}"
    return f"{minutes}:{left:02}"


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def bar(share: float, width: int) -> tuple[str, str]:
    """A progress bar as (filled, empty) text of together ``width`` cells."""
    filled = round(max(0.0, min(1.0, share)) * width)
    return "━" * filled, "─" * (width - filled)


def short_path(path: str) -> str:
    """A path as short as it can be said: relative to here, or to the home."""
    home = str(Path.home())
    try:
        near = str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        near = path
    return visible("~" + near[len(home) :] if near.startswith(home + "/") else near)


def clip_left(text: str, width: int) -> str:
    """``text`` in at most ``width`` cells, cut at its beginning: for paths."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return "…" + text
