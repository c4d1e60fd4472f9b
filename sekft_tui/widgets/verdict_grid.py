"""The verdict grid: a row for each scenario, a column for each subject."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

from textual import events as textual_events

from sekft_engine.records.events import EpisodeDone
from sekft_tui.model.measures import short_name
from sekft_tui.text import Parts, clip, duration, fit, told_apart, visible
from sekft_tui.widgets.line_list import LineList

#: In fewer cells a verdict's word would not be known again: its glyph stands alone.
_WORDS = 5
#: Cells for each subject: what a verdict takes with its figures, and the least that shows its word.
_USUAL, _LEAST = 16, 11


class Mark(NamedTuple):
    """How a verdict is drawn: a glyph and a word, never colour alone."""

    glyph: str
    word: str
    style: str


def mark_of(verdict: EpisodeDone) -> Mark:
    """The most important fact about an episode: the worst that happened."""
    if verdict.invalid:
        return Mark("!", "invalid", "warn")
    if not verdict.clean:
        return Mark("✎", "prose", "bad")
    if verdict.outcome == "cap":
        return Mark("□", "cap", "bad")
    if not verdict.terminates:
        return Mark("✗", verdict.outcome, "bad")
    if not verdict.clean_termination:
        return Mark("◐", verdict.outcome, "warn")
    if not verdict.verified:
        return Mark("●", verdict.outcome, "accent")
    return Mark("✓", verdict.outcome, "good")


class CellLook(NamedTuple):
    """A copy of what the grid draws of a cell, made while the shared state was locked."""

    status: str = "waiting"
    turns: int = 0
    seconds: float = 0.0
    verdict: EpisodeDone | None = None


class GridRow(NamedTuple):
    scenario: str
    archetype: str
    cells: tuple[CellLook, ...]


class VerdictGrid(LineList):
    """Rows of scenarios with a cursor on one subject's cell."""

    def __init__(self, chosen: Callable[[], None], *, id: str) -> None:  # noqa: A002
        super().__init__(self._grid_row, chosen=chosen, id=id, empty="")
        self.subjects: tuple[str, ...] = ()
        #: How many of the subjects are models; those after them are controls.
        self.models = 0
        self.grid: list[GridRow] = []
        self.column = 0
        self._longest = 0
        self._labels: tuple[int, list[str]] = (-1, [])  # for so many cells

    def fill(self, subjects: tuple[str, ...], models: int, grid: list[GridRow]) -> None:
        """Show another grid."""
        self.subjects, self.models, self.grid = subjects, models, grid
        self.column = max(0, min(self.column, len(subjects) - 1))
        self._labels = (-1, [])
        self._longest = max((len(row.scenario) for row in grid), default=0)
        self.set_rows(len(grid))

    def put(self, y: int, row: GridRow) -> None:
        """Replace row ``y``; only this row is painted again."""
        if row != self.grid[y]:
            self.grid[y] = row
            self.refresh_line(y)

    def cache_key(self, y: int) -> Hashable:
        row = self.grid[y] if y < len(self.grid) else None
        return y == self.cursor, row, self.column if y == self.cursor else -1

    def step_column(self, by: int) -> None:
        self.column = max(0, min(self.column + by, len(self.subjects) - 1))
        self.refresh_line(self.cursor)

    def step_differing(self, by: int) -> bool:
        """Go to the next or previous row in which the verdicts of models differ (or a lone one
        failed); whether there is one."""
        y = self.cursor + by
        while 0 <= y < len(self.grid) and not _differs(self.grid[y].cells[: self.models]):
            y += by
        if 0 <= y < len(self.grid):
            self.move_to(y)
            return True
        return False

    @property
    def chosen(self) -> tuple[str, str] | None:
        """Subject and scenario under the cursor."""
        if self.cursor < len(self.grid) and self.subjects:
            return self.subjects[self.column], self.grid[self.cursor].scenario
        return None

    def widths(self, width: int) -> tuple[int, int]:
        """Cells for the scenario's name and for each subject."""
        count = max(1, len(self.subjects))
        wanted = min(self._longest + 3, 40)
        name = min(wanted, width - _USUAL * count)
        if name < wanted:  # the figures are in Replay; which world it is, is nowhere else
            name = min(wanted, width - 1 - _LEAST * count)
        name = max(12, name)
        return name, max(4, min(28, (width - name - 1) // count))

    def header(self, width: int) -> Parts:
        name, each = self.widths(width)
        parts = [(" " + fit("scenario", name - 1), "quiet")]
        lines = [self._line_after(number) for number in range(len(self.subjects))]
        rooms = [each - len(line) - 1 for line in lines]
        labels = told_apart(
            [
                (short_name(visible(name), room), room)
                for name, room in zip(self.subjects, rooms, strict=True)
            ]
        )
        for number, (label, line) in enumerate(zip(labels, lines, strict=True)):
            parts.append((label, "strong" if number < self.models else "quiet"))
            parts.append((line + " ", "rule"))
        return tuple(parts)

    def _line_after(self, number: int) -> str:
        """What stands behind a column: a line between the models and the controls."""
        return "│" if number == self.models - 1 and self.models < len(self.subjects) else ""

    def _grid_row(self, y: int, width: int) -> Parts:
        row = self.grid[y]
        name, each = self.widths(width)
        here = y == self.cursor and self.has_focus
        parts: list[tuple[str, str]] = [(" " + self._label(y, name - 2) + " ", "text")]
        for number, cell in enumerate(row.cells):
            lit = here and number == self.column and len(self.subjects) > 1
            text, style, tail = _cell_text(cell)
            room = each - 3
            if cell.verdict is not None and len(text) > room < _WORDS:
                text = text[:1]
            if len(text) + len(tail) + 1 > room:
                tail = ""
            parts.append((clip(text, room), "read" if lit else style))
            parts.append((fit("", room - len(tail) - len(text)), ""))
            line = self._line_after(number)
            parts += [(tail + " ", "quiet"), (line, "rule"), (" " * (2 - len(line)), "quiet")]
        return tuple(parts)

    def _label(self, y: int, room: int) -> str:
        """The name of a row; of names that would look alike, the end."""
        if self._labels[0] != room:
            names = [(visible(row.scenario), room) for row in self.grid]
            self._labels = (room, told_apart(names))
        return self._labels[1][y]

    def on_click(self, event: textual_events.Click) -> None:
        name, each = self.widths(self.content_width)
        if event.x >= name and self.subjects:
            self.column = min((event.x - name) // each, len(self.subjects) - 1)
        super().on_click(event)


def _differs(cells: tuple[CellLook, ...]) -> bool:
    good = [
        cell.verdict.clean_termination and cell.verdict.verified
        for cell in cells
        if cell.verdict is not None and not cell.verdict.invalid
    ]
    return bool(good) and (len(set(good)) > 1 if len(cells) > 1 else not good[0])


def _cell_text(cell: CellLook) -> tuple[str, str, str]:
    """Glyph and word, their style, and figures to add if there is room."""
    if cell.verdict is not None:
        mark = mark_of(cell.verdict)
        tail = f"{cell.verdict.steps:>2} cmd {duration(cell.seconds):>6}"
        return f"{mark.glyph} {visible(mark.word)}", mark.style, tail
    if cell.status == "running":
        return f"▸ {cell.turns}", "key", ""
    return "·", "quiet", ""
