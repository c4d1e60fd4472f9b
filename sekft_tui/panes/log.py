"""Log: the engine's messages, in their order."""

from __future__ import annotations

import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.widget import Widget

from sekft_tui.host import Host
from sekft_tui.input.actions import bindings, key_for
from sekft_tui.input.footer import FooterState
from sekft_tui.input.places import Place
from sekft_tui.model.reducer import Shared
from sekft_tui.panes.pane import Part
from sekft_tui.panes.searching import SearchedPane
from sekft_tui.text import Parts, clip, visible, wrapped
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.lines import Lines

_STYLES = {"error": "bad", "warning": "warn", "info": "text", "debug": "quiet"}
#: Levels from which on entries are shown, in the order in which one key goes through them.
LEVELS = ("debug", "info", "warning", "error")
_SHOWS = {
    "debug": "all",
    "info": "info and worse",
    "warning": "warnings and errors",
    "error": "errors",
}
#: A word before each entry that is not plain, so that colour is not needed.
_WORDS = {"error": "error", "warning": "warn", "debug": "debug"}
_EMPTY = "nothing logged yet"
#: When, its level, its text.
LogEntry = tuple[float, str, str]


class LogPane(SearchedPane):
    """Follows the newest line until the cursor is moved away from it."""

    place: ClassVar[Place] = "log"
    BINDINGS = bindings("log")

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._lines: list[Parts] = []
        #: Of each line, its entry, and the number of the line in it.
        self._owners: list[tuple[LogEntry, int]] = []
        #: The line that the user went to, as long as no other; None = the newest.
        self._wished: tuple[LogEntry, int] | None = None
        self._placed = 0  # where the cursor was put by it
        self._logged = 0
        self._width = 0
        self._from = LEVELS[0]
        self._words: tuple[str, ...] = ()
        self._chosen: tuple[object, ...] = ()
        self._shown = 0

    def compose(self) -> ComposeResult:
        self.head = Lines(self._head)
        self.list = LineList(lambda y, _: self._lines[y], empty=_EMPTY, id="log-list")
        yield Part(self.head, self.list, id="log-part")

    def first_focus(self) -> Widget:
        return self.list

    @property
    def _at_end(self) -> bool:
        return self.list.cursor >= self.list.rows - 1

    def _head(self, width: int) -> tuple[Parts, ...]:
        follows = f"{key_for('log.follow')} follows"
        state = ("following", "accent") if self._at_end else (follows, "quiet")
        of = f"{self._shown} of " if self._shown != self._logged else ""
        chosen = "" if self._from == LEVELS[0] else f"  {_SHOWS[self._from]}"
        words = f"  f: {visible(' '.join(self._words))}" if self._words else ""
        count = "1 entry" if self._logged == 1 and not of else f"{of}{self._logged} entries"
        count = f"  {count}  "
        return (
            ((" Log", "strong"), (count, "quiet"), state,
             (clip(chosen + words, max(0, width - len(count) - 20)), "accent")),
        )  # fmt: skip

    def on_resize(self) -> None:
        self.call_after_refresh(self.redraw)

    def draw(self, shared: Shared) -> None:
        width = self.list.content_width
        chosen = (shared.logged, width, self._from, self._words)
        if chosen == self._chosen:
            return
        self._chosen = chosen
        self._logged, self._width = shared.logged, width
        entries = [entry for entry in shared.log if self._wanted(*entry)]
        self._shown = len(entries) if self._is_filtered else shared.logged
        self._lines, self._owners = [], []
        for entry in entries:
            lines = _entry(*entry, width=width)
            self._lines += lines
            self._owners += [(entry, number) for number in range(len(lines))]
        self.list.empty = "nothing here is as chosen\nesc shows all" if shared.log else _EMPTY
        self._placed = self._place()
        self.list.set_rows(len(self._lines), self._placed)
        self.head.update()

    def _place(self) -> int:
        """The line for the cursor: a filter, or what is logged meanwhile, does not move it away
        from where the user went, and it is there again once a filter shows it again."""
        last = len(self._lines) - 1
        if self._wished is None:
            return last
        entry, number = self._wished
        found = (y for y, (own, _) in enumerate(self._owners) if own is entry)
        first = next(found, None)
        if first is None:
            return last
        return first + min(number, sum(own is entry for own, _ in self._owners[first:]) - 1)

    def on_line_list_moved(self) -> None:
        if self.list.cursor != self._placed:
            self._placed = self.list.cursor
            self._wished = None if self._at_end else self._owners[self._placed]
        self.head.update()

    @property
    def _is_filtered(self) -> bool:
        return bool(self._words) or self._from != LEVELS[0]

    def _wanted(self, t: float, level: str, text: str) -> bool:
        del t
        known = LEVELS.index(level) if level in LEVELS else LEVELS.index("info")
        text = text.lower()
        return known >= LEVELS.index(self._from) and all(word in text for word in self._words)

    def action_level(self) -> None:
        """From the next level on; after errors alone, all again."""
        self._from = LEVELS[(LEVELS.index(self._from) + 1) % len(LEVELS)]
        self.host.note(f"shown: {_SHOWS[self._from]}")
        self.redraw()

    def action_filter(self) -> None:
        def change(text: str) -> None:
            self._words = tuple(text.lower().split())
            self.redraw()

        value = " ".join(self._words)
        hint = f"words that an entry has; {key_for('log.level')} chooses levels"
        self.host.prompt.ask("filter", change, value=value, hint=hint, changed=change)

    def action_back(self) -> None:
        """Show all levels and all words again."""
        self._words, self._from = (), LEVELS[0]
        self.redraw()

    def searched(self) -> LineList:
        return self.list

    def row_text(self, y: int) -> str:
        return "".join(text for text, _ in self._lines[y])

    def footer(self) -> FooterState:
        at_end = {"follow": ""} if self._at_end else {}
        return FooterState({**self.match_labels(), **at_end})

    def action_follow(self) -> None:
        self.list.action_bottom()


def _entry(t: float, level: str, text: str, *, width: int) -> list[Parts]:
    clock = time.strftime("%H:%M:%S", time.localtime(t))
    style = _STYLES.get(level, "text")
    word = _WORDS.get(level, "")
    rows = wrapped(text, max(20, width - 18))
    return [
        (
            (f" {clock if not number else '':8}  ", "quiet"),
            (f"{word if not number else '':<5} ", style),
            (row, style),
        )
        for number, row in enumerate(rows)
    ]
