"""``?``: every key of the visible pane, and what the colours mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from textual import events

from sekft_engine.data import filters
from sekft_engine.data.filters import FilterField
from sekft_tui.input.actions import of, same_key, shown
from sekft_tui.input.places import PANES, TITLES, Place
from sekft_tui.screens.box import CLOSE, SCROLL, BoxScreen
from sekft_tui.text import Parts, fit, wrapped


class HelpScreen(BoxScreen[None]):
    """Made from the key table, so it is always complete."""

    BINDINGS = [same_key(f"{place}.help", "close") for place in ("global", "takeover", "shell")]
    HINTS = (CLOSE, SCROLL)

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place

    @property
    def _width(self) -> int:
        return min(80, int(self.app.size.width * 0.96) - 5)

    def on_mount(self) -> None:
        self.query_one("#box").border_title = "keys"
        self._put()
        self.sheet.focus()

    def on_resize(self) -> None:
        self._put()

    def _put(self) -> None:
        """Show the text, wrapped to the present width."""
        title = TITLES[self.place]
        lines: list[Parts] = [((f"{title}", "head"),)]
        lines += self._keys(self.place)
        if self.place == "trajectories":
            lines += examples("What is drawn", LEGEND, self._width)
            lines += filter_lines(filters.TRAJECTORY, self._width)
        if self.place == "replay":
            lines += filter_lines(filters.EPISODE, self._width)
        if self.place == "eval":
            lines += examples("Verdicts", VERDICTS, self._width)
        if self.place in ("takeover", "shell"):
            lines += [(), (("While you type", "head"),)]
            for keys, what in TYPING:
                lines += explained(keys, what, self._width)
        lines += [(), (("Lists and texts", "head"),)]
        lines += self._keys("motion")
        if self.place in dict(PANES):
            lines += [(), (("Everywhere", "head"),)]
            lines += self._keys("global")
            lines += explained("tab", "To the next part, shift+tab back", self._width)
            lines += [(), (("Keys of your own: sekft keys, docs/keys.md", "quiet"),)]
        self.put(tuple(lines))

    def _keys(self, place: Place) -> list[Parts]:
        return [
            line
            for key in of(place)
            for line in explained(
                "  ".join(shown(name) for name in key.keys), key.description, self._width
            )
        ]

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.dismiss()


class Example(NamedTuple):
    """A piece of the screen as it is drawn, and what it means."""

    drawn: Parts
    meaning: str


LEGEND = (
    Example((("  ▌ trained text", "trained"),), "the model learns to write it"),
    Example((("    masked text", "masked"),), "the model only reads it"),
    Example((("    <control>", "special"),), "a control token of the chat template"),
    Example((("    ", ""), ("<control>", "special-trained")), "the one that ends a turn: trained"),
    Example((("    a␛b <202e>", "text"),), "a control or invisible character, made visible"),
)
VERDICTS = (
    Example((("  ✓ exit", "good"),), "ended by itself, the right way, and the check passed"),
    Example((("  ● exit", "accent"),), "ended by itself, the right way; the check failed"),
    Example((("  ◐ panic", "warn"),), "ended by itself, but the wrong way"),
    Example((("  □ cap", "bad"),), "cut off after too many steps"),
    Example((("  ✎ prose", "bad"),), "wrote prose where a command belongs"),
    Example((("  ! invalid", "warn"),), "not the model's fault; does not count"),
    Example((("  ▸ 3", "accent"),), "running, three turns so far"),
    Example((("  ·", "quiet"),), "waiting"),
)
TYPING = (
    ("⏎", "Type it into the world"),
    ("↑  ↓", "What was typed before, and the recorded command"),
    ("tab", "In an empty line, let the model type one turn; no names are completed"),
    ("^o", "Break the line: a here-document is one command"),
    ("^c", "Clear the line; interrupt a command; take over from the model"),
    ("esc", "Use the keys above"),
)


def examples(title: str, shown: Sequence[Example], width: int) -> list[Parts]:
    """What is drawn, and beside it what that means, in as many lines as that takes."""
    room = 3 + max(cell_len(text) for each in shown for text, _ in each.drawn)
    lines: list[Parts] = [(), ((title, "head"),)]
    for each in shown:
        first, *more = wrapped(each.meaning, max(12, width - room - 1))
        gap = room - sum(cell_len(text) for text, _ in each.drawn)
        lines.append((*each.drawn, (" " * gap + first, "text")))
        lines += [((" " * room + line, "text"),) for line in more]
    return lines


def filter_lines(known: Mapping[str, FilterField], width: int) -> list[Parts]:
    """The syntax of filters, and every field."""
    each = dict.fromkeys(known.values())
    lines: list[Parts] = [(), (("Filters", "head"), ("  all terms must match", "quiet"))]
    for how, what in filters.SYNTAX:
        lines += explained(how, what, width, 23)
    lines += [
        (),
        (("Fields", "head"), ("  a name may be shortened as long as it is unique", "quiet")),
    ]
    for field in each:
        says = field.says
        if field.choices:
            says += ": " + ", ".join(field.choices)
        if field.aliases:
            says += f"; also {field.aliases[0]}"
        lines += explained(field.usage, says, width, 23)
    if any(field.late for field in each):
        late = ", ".join(field.name for field in each if field.late)
        lines.append(((f"  {late}: known once certified", "quiet"),))
    return lines


def explained(how: str, what: str, width: int, room: int = 14) -> list[Parts]:
    """A key or a word in ``room`` cells, and what it does, in as many lines as that takes."""
    rows = wrapped(what, max(12, width - room - 3)) or [""]
    lead = [fit(f"  {how}", room + 2), *[" " * (room + 2)] * (len(rows) - 1)]
    return [((start, "key"), (row, "text")) for start, row in zip(lead, rows, strict=True)]
