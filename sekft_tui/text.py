"""Text for the screen: hostile characters made visible, numbers made short.

Whatever a model, a shell or a file wrote goes through :func:`visible` before it is drawn: a control
character would move the cursor, a bidirectional mark would reorder the line, and a zero-width one
would hide. None of them may reach the terminal, and none may vanish without a trace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.cells import cell_len, chop_cells

from sekft_engine.core import text as core_text
from sekft_engine.core.cells import clip, clip_left, fit
from sekft_engine.core.paths import home_folder

__all__ = [
    "Parts",
    "bar",
    "clip",
    "clip_facts",
    "clip_left",
    "duration",
    "fit",
    "halves",
    "memory_text",
    "percent",
    "rule",
    "sentence",
    "short_number",
    "short_path",
    "told_apart",
    "visible",
    "visible_lines",
    "wrapped",
]

#: A line as pieces of (text, style name); style names are those of ``widgets/text_styles.py``.
Parts = tuple[tuple[str, str], ...]


def visible(text: str) -> str:
    """One line in which every control and invisible character is shown as a visible one."""
    return core_text.visible(text, joiners=False)


def visible_lines(text: str, tab: int = 8) -> list[str]:
    """The lines of ``text``, each visible, tabs expanded, ``\\r\\n`` taken as one line end."""
    lines = text.replace("\r\n", "\n").split("\n")
    return [visible(line.expandtabs(tab)) for line in lines]


def wrapped(text: str, width: int) -> list[str]:
    """``text`` in visible lines of at most ``width`` cells, cut at spaces if possible, else after
    a slash: long words are paths."""
    out: list[str] = []
    for line in visible_lines(text):
        rest = line
        while len(rest) > width:
            cut = rest.rfind(" ", width // 2, width)
            cut = cut if cut > 0 else rest.rfind("/", width // 2, width) + 1 or width
            out.append(rest[:cut])
            rest = rest[cut:].lstrip(" ")
        out.append(rest)
    return out


def clip_facts(text: str, width: int, between: str = "  ") -> str:
    """As many whole facts of a text as fit into so many cells, with "…" for the others; of a first
    one that does not fit by itself, as many words.

    Args:
        between: what stands between two facts.
    """
    if cell_len(text) <= width:
        return text
    for cut in (between, " "):
        facts = text.split(cut)
        while facts and cell_len(cut.join(facts)) > width - 2:
            facts.pop()
        if facts:
            return f"{cut.join(facts)} …"
    return clip(text, width)


def halves(title: str) -> tuple[str, str]:
    """A title in two lines, cut where the longer one is shortest."""
    words = title.split()
    cuts = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))]
    return min(cuts, key=lambda cut: max(map(cell_len, cut)), default=("", title))


def told_apart(names: Sequence[tuple[str, int]]) -> list[str]:
    """Each visible name in so many cells; of different ones that would look alike, the end instead
    of the beginning."""
    begun = {each: fit(*each) for each in names}
    often = Counter(begun.values())
    return [
        begun[each] if often[begun[each]] == 1 else fit(clip_left(*each), each[1]) for each in names
    ]


def chop(line: str, width: int) -> list[str]:
    """A visible line cut into pieces of at most ``width`` cells; at least one piece."""
    return chop_cells(line, width) or [""]


def short_number(value: float) -> str:
    """A count in few characters: 999, 12.3k, 4.5M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"


def memory_text(used: int, total: int = 0) -> str:
    """So many bytes of memory, of a total if there is one: 1.05 of 23.5 GiB."""
    size, unit = _in_unit(used)
    if not total:
        return f"{size} {unit}"
    whole, unit_of_whole = _in_unit(total)
    beside = "" if unit == unit_of_whole else f" {unit}"
    return f"{size}{beside} of {whole} {unit_of_whole}"


def _in_unit(count: int) -> tuple[str, str]:
    """So many bytes in the binary unit that suits them, as graphics drivers count."""
    size, unit = (count / 2**30, "GiB") if count >= 2**30 else (count / 2**20, "MiB")
    return f"{size:.3g}" if size < 100 else f"{size:.0f}", unit


def duration(seconds: float) -> str:
    """A duration for people: 4.2 s, 1:05, 2:03:09."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}:{minutes:02}:{left:02}"
    return f"{minutes}:{left:02}"


def rule(title: str, width: int) -> Parts:
    """A line across, with a title in it."""
    start = clip(f" ── {title} ", width)
    return ((start, "quiet"), ("─" * max(0, width - len(start) - 1), "rule"))


def sentence(text: str) -> str:
    """With a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def bar(share: float, width: int) -> tuple[str, str]:
    """A progress bar as (filled, empty) text; both together are ``width`` cells wide."""
    filled = round(max(0.0, min(1.0, share)) * width)
    return "━" * filled, "─" * (width - filled)


def short_path(path: str) -> str:
    """The shortest form of a path: relative to the present folder, or to the home (``~``)."""
    home = home_folder()
    try:
        near = str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        near = path
    if home is not None and near.startswith(f"{home}/"):
        near = "~" + near[len(str(home)) :]
    return visible(near)
