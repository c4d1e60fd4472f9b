"""A box over the panes, with lines that scroll."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen

from sekft_tui.input.actions import bindings, same_key
from sekft_tui.input.footer import hints
from sekft_tui.input.places import Place
from sekft_tui.text import Parts, visible
from sekft_tui.widgets.line_view import LineView
from sekft_tui.widgets.lines import Lines

Answer = TypeVar("Answer")


class Sheet(LineView):
    """Fixed lines that scroll."""

    def __init__(self) -> None:
        super().__init__(id="sheet")
        self.lines: tuple[Parts, ...] = ()

    def show(self, lines: tuple[Parts, ...]) -> None:
        self.lines = lines
        self.relines(len(lines))

    def line(self, y: int, width: int) -> Parts:
        del width
        return self.lines[y]


def plain_title(text: str) -> Content:
    """A box's title as it stands: Textual would read a string as markup."""
    return Content(visible(text))


#: Hints of many boxes.
CLOSE = ("box.close", "close")
CANCEL = ("box.close", "cancel")
SCROLL = ("motion.down motion.up", "scroll")


class BoxScreen(ModalScreen[Answer]):
    """A title, scrolling lines, and a last line with the keys."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("box"), same_key("global.help", "help")]

    DEFAULT_CSS = """
    BoxScreen { align: center middle; background: $background 60%; }
    BoxScreen #box {
        width: 84; max-width: 96%; height: auto; max-height: 94%;
        border: round $primary; background: $surface; padding: 0 1;
    }
    BoxScreen Lines { background: $surface; }
    BoxScreen #sheet { height: auto; max-height: 100%; background: $surface; }
    BoxScreen .foot { margin-top: 1; }
    """

    TITLE_TEXT = ""
    #: Whether the keys scroll; else they may be answers.
    SCROLLS = True
    #: Whose keys ``help`` shows.
    PLACE: ClassVar[Place] = "box"
    #: What the last line says: ids of keys, and what they do.
    HINTS: ClassVar[tuple[tuple[str, str], ...]] = ()

    def compose(self) -> ComposeResult:
        self.sheet = Sheet()
        self.sheet.can_focus = self.SCROLLS
        box = Vertical(self.sheet, *([self.make_foot()] if self.HINTS else []), id="box")
        box.border_title = self.TITLE_TEXT
        yield box

    def make_foot(self) -> Lines:
        """The last line, with the keys."""
        return Lines(lambda width: (hints(self.HINTS, width),), classes="foot")

    def action_help(self) -> None:
        from sekft_tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(self.PLACE))

    def action_close(self) -> None:
        self.dismiss(None)

    def put(self, lines: tuple[Parts, ...]) -> None:
        """Show ``lines``; the box is as high as they need, up to the height of the screen."""
        self.sheet.show(lines)
        room = max(3, int(self.app.size.height * 0.94) - 5)
        self.sheet.styles.height = max(1, min(len(lines), room))
