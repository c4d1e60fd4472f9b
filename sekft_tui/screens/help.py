"""``?``: every key of the visible pane, and what the colours mean."""

from __future__ import annotations

from collections.abc import Mapping

from textual import events
from textual.binding import Binding

from sekft_engine.data import filters
from sekft_engine.data.filters import FilterField
from sekft_tui.input.actions import PANES, SCREENS, Key, Place, of, shown
from sekft_tui.screens.box import BoxScreen
from sekft_tui.text import Parts, fit


class HelpScreen(BoxScreen[None]):
    """Made from the key table, so it is always complete."""

    BINDINGS = [Binding("escape,q,question_mark,f1", "dismiss", show=False)]
    KEYS_TEXT = (("esc", "key"), (" close   ", "quiet"), ("j k", "key"), (" scroll", "quiet"))

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place

    @property
    def _width(self) -> int:
        return min(80, int(self.app.size.width * 0.96) - 5)

    def on_mount(self) -> None:
        title = dict(PANES + SCREENS)[self.place]
        lines: list[Parts] = [((f"{title}", "head"),)]
        lines += [self._key(key) for key in of(self.place)]
        if self.place == "trajectories":
            lines += LEGEND + filter_lines(filters.TRAJECTORY)
        if self.place == "replay":
            lines += filter_lines(filters.EPISODE)
        if self.place == "eval":
            lines += VERDICTS
        if self.place == "takeover":
            lines += TYPING
        lines += [(), (("Lists and texts", "head"),)]
        lines += [self._key(key) for key in of("motion")]
        if self.place in dict(PANES):
            lines += [(), (("Everywhere", "head"),)]
            lines += [self._key(key) for key in of("global")]
            lines += [
                (("  " + fit("tab", 14), "key"), ("To the next part, shift+tab back", "text")),
            ]
        self.query_one("#box").border_title = "keys"
        self.put(tuple(lines))
        self.sheet.focus()

    def _key(self, key: Key) -> Parts:
        names = "  ".join(shown(name) for name in key.keys)
        return (("  " + fit(names, 14), "key"), (fit(key.description, self._width - 16), "text"))

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.dismiss()


LEGEND: list[Parts] = [
    (),
    (("What is drawn", "head"),),
    (("  ▌ trained text", "trained"), ("      the model learns to write it", "text")),
    (("    masked text", "masked"), ("       the model only reads it", "text")),
    (("    <control>", "special"), ("         a control token of the chat template", "text")),
    (
        ("    ", ""),
        ("<control>", "special-trained"),
        ("         the one that ends a turn: trained", "text"),
    ),
    (
        ("    a␛b <202e>", "text"),
        ("        a control or invisible character, made visible", "text"),
    ),
]
VERDICTS: list[Parts] = [
    (),
    (("Verdicts", "head"),),
    (("  ✓ exit", "good"), ("      ended by itself, the right way, and the check passed", "text")),
    (("  ● exit", "accent"), ("      ended by itself, the right way; the check failed", "text")),
    (("  ◐ panic", "warn"), ("     ended by itself, but the wrong way", "text")),
    (("  □ cap", "bad"), ("       cut off after too many steps", "text")),
    (("  ✎ prose", "bad"), ("     wrote prose where a command belongs", "text")),
    (("  ! invalid", "warn"), ("   not the model's fault; does not count", "text")),
    (("  ▸ 3", "accent"), ("         running, three turns so far", "text")),
    (("  ·", "quiet"), ("           waiting", "text")),
]
TYPING: list[Parts] = [
    (),
    (("While you type", "head"),),
    *(
        (("  " + fit(keys, 14), "key"), (what, "text"))
        for keys, what in (
            ("⏎", "Type it into the world"),
            ("↑  ↓", "What was typed before, and the recorded command"),
            ("tab", "Let the model type one turn"),
            ("^o", "Break the line: a here-document is one command"),
            ("^c", "Clear the line; interrupt a command; take over from the model"),
            ("esc", "Use the keys above"),
        )
    ),
]


def filter_lines(known: Mapping[str, FilterField]) -> list[Parts]:
    """The syntax of filters, and every field."""
    each = dict.fromkeys(known.values())
    lines: list[Parts] = [
        (),
        (("Filters", "head"), ("  all conditions must hold", "quiet")),
        *(_explained(how, what) for how, what in filters.SYNTAX),
        (),
        (("Fields", "head"), ("  a name may be shortened as long as it is unique", "quiet")),
    ]
    for field in each:
        says = field.says
        if field.choices:
            says += ": " + ", ".join(field.choices)
        if field.aliases:
            says += f"; also {field.aliases[0]}"
        lines.append(_explained(field.usage, says))
    if any(field.late for field in each):
        late = ", ".join(field.name for field in each if field.late)
        lines.append(((f"  {late}: known once certified", "quiet"),))
    return lines


def _explained(how: str, what: str) -> Parts:
    return (fit(f"  {how}", 25), "key"), (what, "text")
