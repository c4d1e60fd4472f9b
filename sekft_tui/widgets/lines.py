"""A few fixed lines: legends, status, tab bar, footer. Only lines that changed are painted."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.strip import Strip

from sekft_tui.text import Parts
from sekft_tui.widgets.line_view import LineView


class Lines(LineView, can_focus=False):
    """Lines that are set with :meth:`show`, or made by a function of the width."""

    DEFAULT_CSS = "Lines { height: 1; overflow: hidden; background: $panel; }"

    def __init__(
        self,
        build: Callable[[int], tuple[Parts, ...]] | None = None,
        *,
        id: str | None = None,  # noqa: A002
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._build = build
        self._lines: tuple[Parts, ...] = ()
        #: Actions of clicks: (line, first cell, cell after the last, action).
        self.clicks: tuple[tuple[int, int, int, str], ...] = ()

    def show(self, *lines: Parts) -> None:
        before, self._lines = self._lines, lines
        self.repaint(before, lines)

    def update(self) -> None:
        """Make the lines again."""
        if self._build is not None:
            self.show(*self._build(self.size.width))

    def on_resize(self) -> None:
        self.update()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.refresh()

    def line(self, y: int, width: int) -> Parts:
        del width
        return self._lines[y] if y < len(self._lines) else ()

    def render_line(self, y: int) -> Strip:
        return self.strip(self.line(y, self.size.width), self.size.width)

    def plain(self) -> str:
        return "\n".join("".join(text for text, _ in line) for line in self._lines)

    async def on_click(self, event: events.Click) -> None:
        for y, start, end, action in self.clicks:
            if y == event.y and start <= event.x < end:
                await self.app.run_action(action)
