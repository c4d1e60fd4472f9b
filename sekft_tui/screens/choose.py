"""Choose one of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Vertical

from sekft_tui.screens.box import CANCEL, BoxScreen, plain_title
from sekft_tui.text import Parts, clip, fit, visible
from sekft_tui.widgets.line_list import LineList


class Choice(NamedTuple):
    """The answer, the title that is shown for it, and a few words about it."""

    answer: str
    title: str
    about: str


def title_room(choices: Sequence[Choice]) -> int:
    """Cells for the titles of these choices, so that what is said of them begins in one column."""
    return max((cell_len(visible(choice.title)) for choice in choices), default=0)


def choice_line(choice: Choice, width: int, room: int = 0) -> Parts:
    """The line of a choice; its title in at least ``room`` cells, as far as the rest has some."""
    title = f" {visible(choice.title)}"
    title = (
        fit(title, 1 + room) if cell_len(title) <= 1 + room <= width // 2 else clip(title, width)
    )
    about = clip(f"  {visible(choice.about)}", max(0, width - len(title)))
    return ((title, "text"), (about, "quiet"))


class ChooseScreen(BoxScreen[str]):
    """Enter answers with the choice under the cursor; Escape closes without an answer."""

    DEFAULT_CSS = """
    ChooseScreen #choices { max-height: 100%; background: $surface; }
    ChooseScreen #box { width: 60; }
    """
    HINTS = (("motion.choose", "choose"), CANCEL)

    def __init__(self, title: str, choices: tuple[Choice, ...], chosen: str = "") -> None:
        super().__init__()
        self._title = title
        self._choices = choices
        self._room = title_room(choices)
        answers = [choice.answer for choice in choices]
        self._first = answers.index(chosen) if chosen in answers else 0

    def compose(self) -> ComposeResult:
        self.list = LineList(self._row, chosen=self._chosen, id="choices")
        box = Vertical(self.list, self.make_foot(), id="box")
        box.border_title = plain_title(self._title)
        yield box

    def on_mount(self) -> None:
        self.list.styles.height = min(len(self._choices), max(3, self.app.size.height - 8))
        self.list.set_rows(len(self._choices), self._first)
        self.set_focus(self.list)

    def _row(self, y: int, width: int) -> Parts:
        return choice_line(self._choices[y], width, self._room)

    def _chosen(self) -> None:
        self.dismiss(self._choices[self.list.cursor].answer)
