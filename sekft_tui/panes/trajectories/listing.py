"""The list of trajectories: its rows, and the lines above and below it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rich.cells import cell_len

from sekft_engine.data.read_report import passed_over_text
from sekft_tui.input.actions import key_for
from sekft_tui.library import ListState
from sekft_tui.library.certifier import NOT_KEPT
from sekft_tui.library.verdicts import PASSES
from sekft_tui.model.job_size import DataCount
from sekft_tui.text import Parts, clip, fit, visible
from sekft_tui.widgets.line_list import LineList

if TYPE_CHECKING:
    from sekft_engine.sources import Facts
    from sekft_tui.library import Library

OUTCOMES = {"exit": "good", "panic": "note", "cap": "warn", "error": "bad"}
#: Cells for the kind of task.
_KIND = 20
#: From these widths on a row has its number of turns, and its kind of task.
_TURNS, _ROOMY = 48, 72


class TrajectoryList(LineList):
    """Rows are made from the index when they are drawn; nothing is stored for those out of view."""

    def __init__(self, chosen: Callable[[], None]) -> None:
        super().__init__(self._row, chosen=chosen, empty="reading trajectories …", id="tra-list")
        self.library: Library | None = None
        self.listed = ListState()
        self.marks: dict[str, set[int]] = {}
        self._drawn: dict[int, int] = {}

    def number(self, position: int) -> int:
        """The trajectory at a position; -1 beyond the end."""
        return self.listed.number(position) if 0 <= position < self.listed.rows else -1

    def facts(self, position: int) -> Facts | None:
        number = self.number(position)
        return self.library.facts(number) if self.library and number >= 0 else None

    def code(self, number: int) -> int:
        return self.library.certifier.verdicts.code(number) if self.library else 0

    def cache_key(self, y: int) -> Hashable:
        number = self.number(y)
        return y == self.cursor, number, self.code(number)

    def certified(self) -> None:
        """Paint those rows in view again whose verdict is new."""
        top = round(self.scroll_y)
        bottom = min(self.rows, top + self.size.height)
        drawn = {y: self.code(self.number(y)) for y in range(top, bottom)}
        for y, code in drawn.items():
            if self._drawn.get(y, 0) != code:
                self.refresh_line(y)
        self._drawn = drawn

    @property
    def titled(self) -> bool:
        """Whether the titles of the columns stand above it."""
        return not self.screen.has_class("-narrow") and self.screen.maximized is not self

    def _row(self, y: int, width: int) -> Parts:
        facts = self.facts(y)
        if facts is None:
            return ((" gone", "quiet"),)
        code = self.code(self.number(y))
        dropped = code > PASSES and self._reason(code) != NOT_KEPT
        marked = "•" if self.marks.get(facts.id) else " "
        name, kind, turns, titled = _layout(width, titled=self.titled)
        sign = ("✗", "bad") if dropped else ("●", "good") if facts.keep else ("○", "quiet")
        return (
            sign,
            (marked, "accent"),
            (fit(visible(facts.id), name), "text"),
            (" " + fit(visible(facts.archetype or "-"), kind - 1) if kind else "", "quiet"),
            (f" {facts.outcome:<5}", OUTCOMES.get(facts.outcome, "quiet")),
            (
                f"{_few(facts.steps):>4}"
                + ("" if titled else " cmd " if facts.steps == 1 else " cmds"),
                "quiet",
            ),
            (f"{_few(facts.turns):>{6 if titled else 5}}" if turns else "", "quiet"),
            (
                (" turn  " if facts.turns == 1 else " turns ") if turns and not titled else " ",
                "quiet",
            ),
        )

    def _reason(self, code: int) -> str:
        return self.library.certifier.verdicts.reasons[code] if self.library else ""


class _Layout(NamedTuple):
    """Cells for the id, for the kind of task (0 = none), and whether the number of turns is shown;
    where ``titled``, a line above the rows says what they count, else they say it themselves."""

    name: int
    kind: int
    turns: bool
    titled: bool

    @property
    def counts(self) -> int:
        """Cells for what a row counts, and a blank after it."""
        return (5 if self.titled else 10) + self.turns * (6 if self.titled else 11)


def _layout(width: int, *, titled: bool) -> _Layout:
    found = _Layout(0, _KIND if width >= _ROOMY else 0, width >= _TURNS, titled)
    return found._replace(name=max(8, width - 2 - found.kind - 6 - found.counts))


def _few(count: int) -> str:
    """A count in at most four characters."""
    return str(count) if count < 1000 else f"{min(99, count // 1000)}k+"


def columns(width: int, by: str) -> Parts:
    """The titles of the columns of a list as wide as this; ``by`` is what it is sorted by."""
    layout = _layout(width, titled=True)
    titles = {"name": f"  {fit('session', layout.name)}"}
    if layout.kind:
        titles["kind"] = fit(" kind of task", layout.kind)
    titles |= {"end": f" {'end':<5}", "commands": f"{'cmds':>4}"}
    if layout.turns:
        titles["turns"] = f"{'turns':>6}"
    return tuple((title, "accent" if each == by else "quiet") for each, title in titles.items())


def head(listed: ListState, more: Parts, width: int) -> Parts:
    """How many there are and how many of them are kept; then ``more``, as far as it fits."""
    of = f"{listed.rows:,} of " if listed.filtered else ""
    count = f"{of}{listed.total:,}"
    if listed.reading or listed.checked < listed.total:
        state = " read …" if not listed.filtered else f" · {listed.checked:,} filtered …"
    else:
        plural = "trajectory" if listed.rows == 1 and not listed.filtered else "trajectories"
        state = f" {plural} · {listed.kept:,} kept"
    start = ((f" {count}", "strong"), (state, "quiet"))
    used = sum(cell_len(text) for text, _ in start)
    return (*start, *fitted(more, width - used - 1))


def fitted(parts: Parts, width: int) -> Parts:
    """As many of ``parts`` as fit, two blanks before each, the last one cut short. Where others do
    not fit at all, an ellipsis stands for them."""
    out: list[tuple[str, str]] = []
    for text, style in parts:
        if text and width > 10:
            text = clip(f"  {text}", width)
            out.append((text, style))
            width -= cell_len(text)
        elif text and width >= 2:
            return (*out, (" …", style))
    return tuple(out)


def reasons(dropped: Mapping[str, int]) -> Parts:
    """How many are dropped for each reason."""
    return tuple((f"{count:,} {name.replace('_', ' ')}", "bad") for name, count in dropped.items())


def report(library: Library) -> str:
    """What reading and certifying came to, for the form of a run."""
    if not library.index.complete:
        return ""
    dropped = library.dropped()
    parts = [f"{sum(dropped.values()):,} dropped"] if dropped else []
    parts += [f"{count:,} {name.replace('_', ' ')}" for name, count in dropped.items()]
    if passed_over := library.index.passed_over:
        parts.append(f"passed over: {visible(passed_over_text(passed_over))}")
    return ", ".join(parts)


def count(library: Library) -> DataCount | None:
    """What would be trained on; None until all is certified."""
    if not library.index.complete or library.certifier.known < len(library.index):
        return None
    verdicts = library.certifier.verdicts
    kept = verdicts.codes[: len(library.index)] == PASSES
    tokens = verdicts.tokens[: len(library.index)][kept]
    return DataCount(len(tokens), int(tokens.sum(dtype=np.int64)), counted=True)


def foot(
    certified: int,
    total: int,
    dropped: Mapping[str, int],
    width: int,
    *,
    notes: Mapping[str, int] | None = None,
    passed_over: Mapping[str, int] | None = None,
) -> Parts:
    """What reading and certifying the data set came to, most frequent reason first."""
    if not certified and not dropped and not passed_over:
        return ()
    count = sum(dropped.values())
    more = f" of {certified:,} certified" if certified < total else ""
    start = ((f" {count:,} dropped", "bad" if count else "good"), (more, "quiet"))
    used = sum(cell_len(text) for text, _ in start)
    each = tuple((text, "quiet") for text, _ in reasons(dropped))
    if passed_over:
        each += ((f"passed over: {visible(passed_over_text(passed_over))}", "warn"),)
    if notes:
        each += ((f"{sum(notes.values()):,} noted ({key_for('trajectories.statistics')})", "warn"),)
    return (*start, *fitted(each, width - used - 1))
