"""Log: the engine's messages, in their order."""

from __future__ import annotations

import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.widget import Widget

from sekft_tui.host import Host
from sekft_tui.input.actions import Place, bindings, key_for
from sekft_tui.input.footer import FooterState
from sekft_tui.model.reducer import Shared
from sekft_tui.panes.pane import Part
from sekft_tui.panes.searching import SearchedPane
from sekft_tui.text import Parts, wrapped
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.lines import Lines

_STYLES = {"error": "bad", "warning": "warn", "info": "text", "debug": "quiet"}


class LogPane(SearchedPane):
    """Follows the newest line until the cursor is moved away from it."""

    place: ClassVar[Place] = "log"
    BINDINGS = bindings("log")

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._lines: list[Parts] = []
        self._logged = 0
        self._width = 0

    def compose(self) -> ComposeResult:
        self.head = Lines(self._head)
        self.list = LineList(lambda y, _: self._lines[y], empty="nothing logged yet", id="log-list")
        yield Part(self.head, self.list, id="log-part")

    def first_focus(self) -> Widget:
        return self.list

    @property
    def _at_end(self) -> bool:
        return self.list.cursor >= self.list.rows - 1

    def _head(self, width: int) -> tuple[Parts, ...]:
        del width
        follows = f"{key_for('log.follow')} follows"
        state = ("following", "accent") if self._at_end else (follows, "quiet")
        count = "1 entry" if self._logged == 1 else f"{self._logged} entries"
        return (((" Log", "strong"), (f"  {count}  ", "quiet"), state),)

    def on_resize(self) -> None:
        self.call_after_refresh(self.redraw)

    def draw(self, shared: Shared) -> None:
        width = self.list.content_width
        if shared.logged == self._logged and width == self._width:
            return
        at_end = self._at_end
        self._logged, self._width = shared.logged, width
        self._lines = [
            line for entry in shared.log for line in _entry(*entry, width=width)
        ]  # fmt: skip
        self.list.set_rows(len(self._lines), len(self._lines) - 1 if at_end else None)
        self.head.update()

    def on_line_list_moved(self) -> None:
        self.head.update()

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
    rows = wrapped(text, max(20, width - 12))
    return [
        ((f" {clock if not number else '':8}  ", "quiet"), (row, style))
        for number, row in enumerate(rows)
    ]
