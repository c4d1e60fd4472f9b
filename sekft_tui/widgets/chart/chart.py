"""The widget: panels in a rectangle, with a cursor through all of them."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.message import Message
from textual.strip import Strip

from sekft_tui.text import Parts, wrapped
from sekft_tui.widgets.chart import view as views
from sekft_tui.widgets.chart.panel import GUTTER, Panel, draw, sized
from sekft_tui.widgets.chart.plot import Board
from sekft_tui.widgets.chart.view import View
from sekft_tui.widgets.line_view import LineView

#: From height TALL on, the other plots are shown below the large one; their least size.
TALL, SMALL_HEIGHT, SMALL_WIDTH = 22, 9, 36


#: Blank cells between panels side by side.
GAP = 1


class Chart(LineView):
    """Draws the board that ``build`` makes for the present view; only changed rows are painted.

    Args:
        build: makes the board of a view; it must be quick, because keys wait for it.
    """

    DEFAULT_CSS = "Chart { overflow: hidden; }"

    class Moved(Message):
        """The cursor is at another step."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Chart.Moved)

    def __init__(self, build: Callable[[View], Board], *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._build = build
        self.view = View()
        self.board = Board()
        self.hint = ""
        self._rows: tuple[Parts, ...] = ()

    # --- drawing ----------------------------------------------------------------------------

    def draw(self) -> None:
        """Build the rows again and paint those that differ."""
        width, height = self.size
        if width < GUTTER + 6 or height < 4:
            return
        before, self._rows = self._rows, tuple(self.lines(width, height))
        self.repaint(before, self._rows)

    def lines(self, width: int, height: int) -> list[Parts]:
        """The rows of a chart of this size, built again."""
        self.board = self._build(self.view)
        plot = self.board.plot(self.view.metric)
        if plot is None:
            return self._empty(width, height)
        rest = [other for other in self.board.plots if other is not plot and not other.empty]
        rest = rest[: width // SMALL_WIDTH] if height >= TALL else []
        small = SMALL_HEIGHT + max(0, height - TALL) // 5 if rest else 0
        rows = draw(Panel(plot, width, height - small, main=True), self.board, self.view)
        if rest:
            each = width // len(rest)
            widths = [each] * (len(rest) - 1) + [width - each * (len(rest) - 1)]
            parts = [
                _beside(draw(Panel(other, wide - GAP, small, main=False), self.board, self.view))
                for other, wide in zip(rest, widths, strict=True)
            ]
            rows += [
                tuple(piece for row in line for piece in row) for line in zip(*parts, strict=True)
            ]
        return rows

    def _empty(self, width: int, height: int) -> list[Parts]:
        lines = wrapped(self.hint, max(20, width - GUTTER - 8))
        top = max(1, (height - 2 - len(lines)) // 2)
        rows: list[Parts] = []
        for y in range(height - 2):
            text = lines[y - top] if top <= y < top + len(lines) else ""
            pad = max(0, (width - GUTTER - 1 - len(text)) // 2)
            side = ((" " * GUTTER, ""), ("│" if y else " ", "rule"))
            rows.append(sized((*side, (" " * pad + text, "quiet")), width))
        rows.append(((" " * GUTTER, ""), ("└" + "─" * (width - GUTTER - 1), "rule")))
        return rows

    def on_resize(self) -> None:
        self.draw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.refresh()

    def line(self, y: int, width: int) -> Parts:
        del width
        return self._rows[y] if y < len(self._rows) else ()

    def render_line(self, y: int) -> Strip:
        return self.strip(self.line(y, self.size.width), self.size.width)

    # --- keys and mouse ---------------------------------------------------------------------

    def set_view(self, view: View) -> None:
        moved = view.cursor != self.view.cursor
        self.view = view
        self.draw()
        if moved:
            self.post_message(self.Moved())

    def zoom(self, factor: float) -> None:
        self.set_view(views.zoomed(self.view, self.board, factor))

    def pan(self, share: float) -> None:
        self.set_view(views.panned(self.view, self.board, share))

    def move_cursor(self, cells: int) -> None:
        self.set_view(views.moved(self.view, self.board, cells, self.size.width - GUTTER - 1))

    def point(self, step: int) -> None:
        """Put the cursor at ``step``; 0 = no cursor."""
        if step:
            self.set_view(views.pointed(self.view, self.board, step))
        else:
            self.set_view(self.view._replace(cursor=0))

    def move(self, lines: int) -> None:
        """There is nothing to scroll."""

    def action_top(self) -> None:
        if len(self.board.steps):
            self.point(int(self.board.steps[0]))

    def action_bottom(self) -> None:
        if len(self.board.steps):
            self.point(int(self.board.steps[-1]))

    def on_click(self, event: events.Click) -> None:
        x0, x1 = views.window(self.view, self.board)
        share = (event.x - GUTTER - 1) / max(1, self.size.width - GUTTER - 2)
        self.point(self.board.step(x0 + share * (x1 - x0)))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.zoom(0.8)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.zoom(1.25)

    def plain(self) -> str:
        """The curves of the large panel as tab-separated numbers, for a clipboard."""
        plot = self.board.plot(self.view.metric)
        if plot is None or not plot.lines:
            return self.hint
        line = plot.lines[0]
        values = line.raw if line.raw is not None else line.ys
        rows = [f"{x:g}\t{y:.6g}" for x, y in zip(line.xs.tolist(), values.tolist(), strict=True)]
        return "\n".join([f"{self.board.axis}\t{plot.title}", *rows])


def _beside(rows: list[Parts]) -> list[Parts]:
    """A panel with a gap before the next."""
    return [(*row, (" " * GAP, "")) for row in rows]
