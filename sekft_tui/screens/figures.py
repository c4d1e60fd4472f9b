"""All figures of the eval that is shown, computed from its episodes as in the report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.cells import cell_len
from textual import work

from sekft_engine.core.errors import SekftError, in_words
from sekft_engine.core.imports import import_module
from sekft_engine.records.evals import Counts, EvalResult, SubjectFacts
from sekft_tui.input.actions import same_key
from sekft_tui.model.measures import CONTROLS, GIVEN_UP, OVERALL
from sekft_tui.screens.box import CLOSE, SCROLL, BoxScreen, plain_title
from sekft_tui.text import Parts, clip, fit, halves, rule, told_apart, visible, wrapped

#: Cells for what a line is about, at least and at most; and at most for the title of counts.
_LEAST_NAME, _NAME, _COUNT = 10, 22, 13


class FiguresScreen(BoxScreen[None]):
    """Reads the episodes when it is opened; the eval may still be running.

    Args:
        folder: the run's.
        models: the subjects in the order of the pane, without the controls.
        controls: those behind which there is no model.
    """

    BINDINGS = [same_key("eval.figures", "close")]
    #: Cells that the box may take.
    WIDEST = 130
    DEFAULT_CSS = f"FiguresScreen #box {{ width: {WIDEST}; }}"
    HINTS = (CLOSE, SCROLL)

    def __init__(self, folder: Path, models: Sequence[str], controls: Sequence[str]) -> None:
        super().__init__()
        self._folder = folder
        self._models, self._controls = tuple(models), tuple(controls)
        self._found: Mapping[str, Any] | None = None

    def on_mount(self) -> None:
        self.query_one("#box").border_title = plain_title(self._folder.name)
        self.put((((" reading the episodes …", "quiet"),),))
        self.sheet.focus()
        self._read()

    @work(exclusive=True)
    async def _read(self) -> None:
        try:
            self._found = await asyncio.to_thread(
                facts_of, self._folder, self._models, self._controls
            )
        except (OSError, SekftError, ValueError) as error:
            self.put((((f" {visible(in_words(error))}", "bad"),),))
            return
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._found is not None:
            width = min(self.WIDEST - 4, int(self.app.size.width * 0.96) - 5)
            self.put(tuple(figures(self._found, width)))


def facts_of(folder: Path, models: Sequence[str], controls: Sequence[str]) -> dict[str, Any]:
    """The report's facts of each subject that has episodes, and its decisions."""
    report = import_module("sekft_engine.evaluation.report.document")
    store = import_module("sekft_engine.episodes.store")
    runs = import_module("sekft_engine.records.runs")
    tables = import_module("sekft_engine.evaluation.report.tables")
    endings = import_module("sekft_engine.episodes.endings")
    trajectory = import_module("sekft_engine.data.trajectory")
    errors = import_module("sekft_engine.core.errors")
    found = store.episodes_of(folder / "episodes")
    facts = [
        report.subject_facts(name, found[name], control=name in controls)
        for name in (*models, *controls)
        if name in found
    ]
    try:
        result = runs.read_run(folder).result
    except errors.SekftError:
        result = None
    whole = result if isinstance(result, EvalResult) else EvalResult()
    return {
        "subjects": facts,
        "decisions": tables.decision_lines(whole) if whole.subjects else [],
        "partial": tables.partial_line(whole),
        "passes": [tables.pass_line(subject) for subject in facts if subject.pass_at],
        "outcomes": trajectory.OUTCOMES,
        # What no world says of itself would be a table of one line.
        "breakdowns": [
            by
            for by in ("archetype", *report.BREAKDOWNS)
            if any(set(subject.groups(by)) - {"", f"(no {by})"} for subject in facts)
        ],
        "endings": endings.ENDINGS,
    }


def figures(found: Mapping[str, Any], width: int) -> list[Parts]:
    """The screen's lines, at most ``width`` cells wide."""
    subjects: Sequence[SubjectFacts] = found["subjects"]
    if not subjects:
        return [((" no episode has ended yet", "quiet"),)]
    lines: list[Parts] = []
    if found["partial"]:
        lines += [((clip(f" {found['partial']}", width), "warn"),), ()]
    whole = [_Row.of(each.name, each, control=each.control) for each in subjects]
    lines += _rates("rates [95 %]", whole, width)
    if kinds := [_Row.of_kinds(subject) for subject in subjects if subject.kinds]:
        lines += [(), *_table("doable | blocked", _KINDS, kinds, width)]
    for line in (*found["passes"], *found["decisions"]):
        lines += [(), *_wrapped(visible(line), width)]
    controls = [subject for subject in subjects if subject.control]
    models = [subject for subject in subjects if not subject.control]
    lines += [(), *_endings(models or controls, found["endings"], width)]
    if models and controls:
        lines += [rule(CONTROLS, width), *_endings(controls, found["endings"], width)]
    lines += [(), *_confusion(models or controls, found["outcomes"], width)]
    if models and controls:
        lines += [rule(CONTROLS, width), *_confusion(controls, found["outcomes"], width)]
    for by in found["breakdowns"]:
        lines += [(), *_broken_down(by, subjects, width)]
    return lines


class _Row(NamedTuple):
    """A line of rates: its name, and of each rate how often, of how many, and the interval; None =
    it is a title. ``control``: to be set apart from those of models."""

    name: str
    rates: tuple[tuple[int, int, Sequence[float]], ...] | None = None
    style: str = "text"
    control: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        facts: Counts | SubjectFacts,
        style: str = "text",
        *,
        control: bool = False,
    ) -> _Row:
        rates = tuple(
            (facts.count(measure), facts.n, facts.intervals[measure]) for measure, _ in OVERALL
        )
        return cls(name, rates if facts.n else (), style, control)

    @classmethod
    def of_kinds(cls, subject: SubjectFacts) -> _Row:
        """Doable and blocked worlds apart."""
        kinds = subject.kinds
        if not kinds:
            return cls(subject.name, (), control=subject.control)
        spans = kinds.intervals
        rates = (
            (kinds.solved, kinds.doable, spans["solved"]),
            (kinds.wrongly_given_up, kinds.doable, spans["wrongly_given_up"]),
            (kinds.rightly_given_up, kinds.blocked, spans["rightly_given_up"]),
        )
        return cls(subject.name, rates, control=subject.control)

    @property
    def cells(self) -> list[tuple[str, str]]:
        """The counts and the interval of each rate."""
        return [
            (f"{count}/{n}", f"[{100 * low:.0f},{100 * high:.0f}]") if n else ("-", "")
            for count, n, (low, high) in self.rates or ()
        ]


_KINDS = ("solved", f"wrongly {GIVEN_UP}", f"rightly {GIVEN_UP}")


def _rates(title: str, rows: Sequence[_Row], width: int) -> list[Parts]:
    return _table(title, [name for _, name in OVERALL], rows, width)


def _table(title: str, columns: Sequence[str], rows: Sequence[_Row], width: int) -> list[Parts]:
    """Rates with their intervals beside them, or below them where there is no room; the rows of
    controls stand apart."""
    names = (cell_len(visible(row.name)) for row in rows)
    longest = max(_LEAST_NAME, min(_NAME, 2 + max(*names, cell_len(title))))
    cells = [row.cells for row in rows if row.rates]

    heads = [("", head) for head in columns]

    def widths(gap: int, room: Callable[[str, str], int]) -> list[int]:
        return [
            gap + max([*map(cell_len, head), *(room(*row[at]) for row in cells)])
            for at, head in enumerate(heads)
        ]

    gap = 2
    each = widths(gap, lambda count, interval: len(f"{count} {interval}"))
    if longest + sum(each) > width + gap:  # nothing stands behind the last one
        gap = 1
        each = [room - 1 for room in each]
    if stacked := longest + sum(each) > width + gap:
        each = widths(gap, lambda count, interval: max(len(count), len(interval)))
        if _LEAST_NAME + sum(each) > width + gap:
            heads = [halves(head) for head in columns]
            each = widths(gap, lambda count, interval: max(len(count), len(interval)))
    # Where there is room, the columns of all tables begin in the same cell.
    name = max(_LEAST_NAME, min(_NAME, width + gap - sum(each)))
    above, below = (
        tuple((fit(head[at], room), "quiet") for head, room in zip(heads, each, strict=True))
        for at in (0, 1)
    )
    first = ((fit(f" {title}", name), "head"),)
    if cell_len(title) + 2 > name:
        lines: list[Parts] = [((f" {title}", "head"),)]
        first = ((" " * name, ""),)
    else:
        lines = []
    if any(head[0] for head in heads):
        lines.append((*first, *above))
        first = ((" " * name, ""),)
    lines.append((*first, *below))
    labels = _labels([row.name for row in rows], name - 1)
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        if row.control and not (number and rows[number - 1].control):
            lines.append(rule(CONTROLS, width))
        start = (label + " ", row.style)
        if not row.rates:
            lines.append((start, ("none that counts" if row.rates is not None else "", "warn")))
        elif stacked:
            pairs = list(zip(row.cells, each, strict=True))
            lines.append((start, *((fit(count, room), "strong") for (count, _), room in pairs)))
            intervals = ((fit(interval, room), "quiet") for (_, interval), room in pairs)
            lines.append(((" " * name, ""), *intervals))
        else:
            parts = [start]
            for (count, interval), room in zip(row.cells, each, strict=True):
                parts.append((count, "strong"))
                parts.append((fit(f" {interval}", room - len(count)), "quiet"))
            lines.append(tuple(parts))
    return lines


def _broken_down(by: str, subjects: Sequence[SubjectFacts], width: int) -> list[Parts]:
    groups = [subject.groups(by) for subject in subjects]
    rows: list[_Row] = []
    for name in sorted({name for group in groups for name in group}):
        label = name or f"(no {by})"
        if len(subjects) == 1:
            rows.append(_Row.of(label, groups[0][name]))
            continue
        rows.append(_Row(label))
        rows += [
            _Row.of(f"  {subject.name}", group[name], "quiet")
            for subject, group in zip(subjects, groups, strict=True)
            if name in group
        ]
    return _rates(f"by {by}", rows, width)


def _endings(
    subjects: Sequence[SubjectFacts], meanings: Mapping[str, str], width: int
) -> list[Parts]:
    """How often the episodes of each subject ended in which way."""
    counts = {name: [subject.endings.get(name, 0) for subject in subjects] for name in meanings}
    some = {name: each for name, each in counts.items() if any(each)}
    names = [subject.name for subject in subjects]
    return _counts("how episodes ended", names, some, width, meanings)


def _confusion(
    subjects: Sequence[SubjectFacts], outcomes: Sequence[str], width: int
) -> list[Parts]:
    """How episodes ended, by the ending that was right."""
    rows = {
        f"{subject.name}: {expected}": [ended[outcome] for outcome in outcomes]
        for subject in subjects
        for expected, ended in subject.confusion.items()
    }
    return _counts("expected vs. actual", outcomes, rows, width)


def _counts(
    title: str,
    columns: Sequence[str],
    rows: Mapping[str, Sequence[int]],
    width: int,
    meanings: Mapping[str, str] = {},
) -> list[Parts]:
    """A table of counts; where there is no room for all columns, one table below the other. What a
    row means stands behind it, else below it."""
    heads = told_apart([(head, min(_COUNT, cell_len(head))) for head in map(visible, columns)])
    rooms = [
        2 + max([cell_len(head), *(len(str(counts[at])) for counts in rows.values())])
        for at, head in enumerate(heads)
    ]
    lines: list[Parts] = []
    first = 0
    while first < len(columns):
        last = first + 1
        while last < len(columns) and _NAME + sum(rooms[first : last + 1]) <= width:
            last += 1
        part = slice(first, last)
        titles = zip(heads[part], rooms[part], strict=True)
        lines.append(
            (
                (fit(f" {title}", _NAME - 2), "head"),
                *((fit(head, room, right=True), "quiet") for head, room in titles),
            )
        )
        for (name, counts), label in zip(rows.items(), _labels([*rows], _NAME - 2), strict=True):
            cells = tuple(
                (fit(str(n) if n else "–", room, right=True), "strong" if n else "rule")
                for n, room in zip(counts[part], rooms[part], strict=True)
            )
            lines.append(((label, "text"), *cells))
            meaning = meanings.get(name, "") if last == len(columns) else ""
            if cell_len(meaning) + 2 <= width - _NAME + 2 - sum(rooms[part]):
                lines[-1] += ((f"  {meaning}", "quiet"),)
            else:
                lines += [((f"   {line}", "quiet"),) for line in wrapped(meaning, width - 4)]
        first = last
    return lines


def _labels(names: Sequence[str], width: int) -> list[str]:
    """Names at the beginning of lines, in so many cells, indented as they are and told apart."""
    indents = [" " * (1 + len(name) - len(name.lstrip())) for name in names]
    texts = [
        (visible(name.strip()), width - len(indent))
        for name, indent in zip(names, indents, strict=True)
    ]
    return [indent + text for indent, text in zip(indents, told_apart(texts), strict=True)]


def _wrapped(text: str, width: int) -> list[Parts]:
    return [((f" {line}", "text"),) for line in wrapped(text, width - 1)]
