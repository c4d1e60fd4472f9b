"""The base class of what draws text: a scrollable view that makes each line on demand."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollBar
from textual.strip import Strip

from sekft_tui.input.actions import bindings
from sekft_tui.text import Parts, visible
from sekft_tui.widgets.text_styles import text_style


def changed(old: Parts, new: Parts, width: int) -> tuple[int, int]:
    """The first cell in which two lines differ, and the one after the last; the whole line if some
    characters are not one cell wide."""
    texts = ["".join(text for text, _ in parts) for parts in (old, new)]
    if any(len(text) != width or cell_len(text) != width for text in texts):
        return 0, width
    start = _alike(old, new)
    back = _alike(_reversed(old), _reversed(new))
    return start, max(start + 1, width - back)


def _alike(first: Parts, second: Parts) -> int:
    """How many cells at the beginning of two lines are equal."""
    count = 0
    for (text, style), (text2, style2) in zip(first, second, strict=False):
        if style != style2:
            break
        if text != text2:
            pairs = enumerate(zip(text, text2, strict=False))
            return count + next((at for at, (a, b) in pairs if a != b), min(len(text), len(text2)))
        count += len(text)
    return count


def _reversed(parts: Parts) -> Parts:
    return tuple((text[::-1], style) for text, style in reversed(parts))


class LineView(ScrollView, can_focus=True, inherit_bindings=False):
    """A view of ``count`` lines; a subclass makes each of them in :meth:`line`.

    Drawn lines are cached under :meth:`cache_key`. A subclass calls :meth:`relines` when their
    number changes and :meth:`redraw` when their content does.
    """

    DEFAULT_CSS = """
    LineView {
        height: 1fr; width: 1fr; overflow-x: hidden; overflow-y: auto;
        scrollbar-size-vertical: 1; background: $background;
    }
    """
    BINDINGS = bindings("motion")

    count = reactive(0, layout=False, repaint=False)

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._strips: LRUCache[Hashable, Strip] = LRUCache(600)
        self._styles: dict[str, Style] = {}

    # --- for subclasses ---------------------------------------------------------------------

    @abstractmethod
    def line(self, y: int, width: int) -> Parts:
        """Line ``y`` in at most ``width`` cells; its text has gone through ``visible`` already."""

    def cache_key(self, y: int) -> Hashable:
        """Everything that the look of line ``y`` depends on, besides width, focus and theme."""
        return y

    def line_style(self, y: int) -> str:
        """The style under the whole of line ``y``; "" = none."""
        del y
        return ""

    # --- drawing ----------------------------------------------------------------------------

    def relines(self, count: int) -> None:
        """The number of lines is now ``count``."""
        self.resize(count)
        self.redraw()

    def resize(self, count: int) -> None:
        """There are ``count`` lines now, and those there were are as they were."""
        self.count = count
        size = Size(self.content_width, count)
        barred = self.show_vertical_scrollbar
        if self.styles.auto_dimensions or barred != (count > self.container_size.height):
            self.virtual_size = size
            return
        # The view stays as large and its bar where it is. To lay the screen out again, as Textual
        # does for every new size, would be most of the time that an answer to a key takes.
        self.set_reactive(LineView.virtual_size, size)
        if barred:
            self._size_bar(count)
        if self.scroll_y > self.max_scroll_y:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True)

    def _size_bar(self, count: int) -> None:
        """Tell the scroll bar of ``count`` lines. It is painted again where it looks different:
        that is most of the lines of a screen, ten times a second while a long list grows."""
        bar = self.vertical_scrollbar
        before = _thumb(bar)
        bar.set_reactive(type(bar).window_virtual_size, count)
        if _thumb(bar) != before:
            bar.refresh()

    def refresh_lines(self, y_start: int, line_count: int = 1) -> None:
        """Paint lines again, as far as they are in view: Textual would note each of the others."""
        top = round(self.scroll_y)
        first, last = max(y_start, top), min(y_start + line_count, top + self.size.height)
        if first < last:
            super().refresh_lines(first, last - first)

    def redraw(self) -> None:
        self._strips.clear()
        self.refresh()

    def repaint(self, before: Sequence[Parts], after: Sequence[Parts]) -> None:
        """Paint the cells in which the lines ``before`` and ``after`` differ. Over a slow link,
        painting is most of the time that a frame takes."""
        width = self.size.width
        for y in range(max(len(before), len(after))):
            old = before[y] if y < len(before) else ()
            new = after[y] if y < len(after) else ()
            if old != new:
                start, end = changed(old, new, width)
                self.refresh(Region(start, y, end - start, 1))

    @property
    def content_width(self) -> int:
        return max(1, self.scrollable_content_region.width)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()
        self._styles.clear()

    def style(self, name: str) -> Style:
        found = self._styles.get(name)
        if found is None:
            found = text_style(name, self.app.theme_variables)
            self._styles[name] = found
        return found

    def strip(self, parts: Parts, width: int, under: str = "") -> Strip:
        """Pieces as a strip of exactly ``width`` cells on the view's background."""
        base = self.rich_style
        if under:
            base += self.style(under)
        segments = [
            # Whatever a pane forgot: nothing that acts reaches the terminal from here.
            Segment(
                text if text.isprintable() else visible(text),
                base + self.style(name) if name else base,
            )
            for text, name in parts
            if text
        ]
        return Strip(segments).simplify().adjust_cell_length(width, base)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        number = y + round(self.scroll_y)
        if number >= self.count or width <= 0:
            return Strip.blank(width, self.rich_style)
        # A scroll bar leaves less room: what was drawn beside none is drawn again.
        room = self.content_width
        key = (number, self.cache_key(number), width, room, self.has_focus)
        found = self._strips.get(key)
        if found is None:
            parts = self.line(number, room)
            found = self.strip(parts, width, self.line_style(number))
            self._strips[key] = found
        return found

    # --- moving -----------------------------------------------------------------------------

    def move(self, lines: int) -> None:
        """Scroll; lists move their cursor instead."""
        self.scroll_to(y=self.scroll_y + lines, animate=False)

    def action_down(self) -> None:
        self.move(1)

    def action_up(self) -> None:
        self.move(-1)

    def action_page_down(self) -> None:
        self.move(max(1, self.size.height // 2))

    def action_page_up(self) -> None:
        self.move(-max(1, self.size.height // 2))

    def action_top(self) -> None:
        self.move(-self.count)

    def action_bottom(self) -> None:
        self.move(self.count)

    def action_choose(self) -> None:
        """Open or edit what the cursor is on; for lists and forms."""

    def plain(self) -> str:
        """Everything as text, for copying."""
        width = self.content_width
        lines = ("".join(text for text, _ in self.line(y, width)) for y in range(self.count))
        return "\n".join(line.rstrip() for line in lines)


def _thumb(bar: ScrollBar) -> tuple[Segment, ...]:
    """What ``bar`` looks like, without its colours."""
    if bar.window_size >= bar.window_virtual_size:
        return ()
    drawn = bar.renderer.render_bar(
        size=bar.size.height,
        virtual_size=bar.window_virtual_size,
        window_size=bar.window_size,
        position=bar.position,
    )
    return tuple(drawn.segments)
