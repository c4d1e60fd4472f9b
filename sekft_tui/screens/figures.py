"""All figures of the eval that is shown, computed from its episodes as in the report."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from textual import work

from sekft_engine.core.errors import SekftError
from sekft_engine.core.imports import import_module
from sekft_engine.records.evals import Counts, EvalResult, SubjectFacts
from sekft_tui.input.actions import same_key
from sekft_tui.model.measures import OVERALL
from sekft_tui.screens.box import CLOSE, SCROLL, BoxScreen, plain_title
from sekft_tui.text import Parts, clip, fit, visible, wrapped

_NAME, _COLUMN = 20, 14


class FiguresScreen(BoxScreen[None]):
    """Reads the episodes when it is opened; the eval may still be running.

    Args:
        folder: the run's.
        subjects: in the order of the pane.
    """

    BINDINGS = [same_key("eval.figures", "close")]
    #: Cells that the box may take.
    WIDEST = 130
    DEFAULT_CSS = f"FiguresScreen #box {{ width: {WIDEST}; }}"
    HINTS = (CLOSE, SCROLL)

    def __init__(self, folder: Path, subjects: Sequence[str]) -> None:
        super().__init__()
        self._folder = folder
        self._subjects = tuple(subjects)

    def on_mount(self) -> None:
        self.query_one("#box").border_title = plain_title(self._folder.name)
        self.put((((" reading the episodes …", "quiet"),),))
        self.sheet.focus()
        self._read()

    @work(exclusive=True)
    async def _read(self) -> None:
        try:
            found = await asyncio.to_thread(facts_of, self._folder, self._subjects)
        except (OSError, SekftError, ValueError) as error:
            self.put((((f" {visible(str(error))}", "bad"),),))
            return
        width = min(self.WIDEST - 4, int(self.app.size.width * 0.96) - 5)
        self.put(tuple(figures(found, width)))


def facts_of(folder: Path, subjects: Sequence[str]) -> dict[str, Any]:
    """The report's facts of each subject that has episodes, and its decisions."""
    report = import_module("sekft_engine.evaluation.report.document")
    store = import_module("sekft_engine.episodes.store")
    runs = import_module("sekft_engine.records.runs")
    tables = import_module("sekft_engine.evaluation.report.tables")
    endings = import_module("sekft_engine.episodes.endings")
    trajectory = import_module("sekft_engine.data.trajectory")
    errors = import_module("sekft_engine.core.errors")
    found = store.episodes_of(folder / "episodes")
    facts = [report.subject_facts(name, found[name]) for name in subjects if name in found]
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
    lines += [_head("rates [95 %]"), *(_rates(subject.name, subject) for subject in subjects)]
    if any(subject.kinds for subject in subjects):
        lines += [(), *_kinds(subjects)]
    for line in (*found["passes"], *found["decisions"]):
        lines += [(), *_wrapped(visible(line), width)]
    lines += [(), _title("how episodes ended", [subject.name for subject in subjects], width)]
    for name, meaning in found["endings"].items():
        counts = [subject.endings.get(name, 0) for subject in subjects]
        if any(counts):
            lines.append(_counts(name, counts, meaning, width))
    outcomes = found["outcomes"]
    lines += [(), _title("expected vs. actual", outcomes, width)]
    for subject in subjects:
        for expected, ended in subject.confusion.items():
            name = f"{subject.name}: {expected}"
            lines.append(_counts(name, [ended[outcome] for outcome in outcomes], "", width))
    for by in found["breakdowns"]:
        lines += [(), _head(f"by {by}"), *_broken_down(subjects, by)]
    return lines


def _broken_down(subjects: Sequence[SubjectFacts], by: str) -> list[Parts]:
    groups = [subject.groups(by) for subject in subjects]
    lines: list[Parts] = []
    for name in sorted({name for group in groups for name in group}):
        label = name or f"(no {by})"
        if len(subjects) == 1:
            lines.append(_rates(label, groups[0][name]))
            continue
        lines.append(((f" {visible(label)}", "text"),))
        lines += [
            _rates(f"  {subject.name}", group[name], "quiet")
            for subject, group in zip(subjects, groups, strict=True)
            if name in group
        ]
    return lines


def _head(title: str) -> Parts:
    columns = ((fit(heading, _COLUMN), "quiet") for _, heading in OVERALL)
    return ((fit(f" {title}", _NAME), "head"), *columns)


def _rates(name: str, facts: SubjectFacts | Counts, style: str = "text") -> Parts:
    n = facts.n
    parts = [(fit(f" {visible(name)}", _NAME - 1) + " ", style)]
    for measure, _ in OVERALL:
        parts += _rate(facts.count(measure), n, facts.intervals[measure])
    return tuple(parts) if n else (parts[0], ("none that counts", "warn"))


def _kinds(subjects: Sequence[SubjectFacts]) -> list[Parts]:
    """Doable and blocked worlds apart."""
    headings = ("solved", "wrong panic", "right panic")
    columns = ((fit(heading, _COLUMN), "quiet") for heading in headings)
    lines: list[Parts] = [((fit(" doable | blocked", _NAME), "head"), *columns)]
    for subject in subjects:
        kinds = subject.kinds
        if not kinds:
            continue
        spans = kinds.intervals
        lines.append(
            (
                (fit(f" {visible(subject.name)}", _NAME - 1) + " ", "text"),
                *_rate(kinds.solved, kinds.doable, spans["solved"]),
                *_rate(kinds.wrongly_given_up, kinds.doable, spans["wrongly_given_up"]),
                *_rate(kinds.rightly_given_up, kinds.blocked, spans["rightly_given_up"]),
            )
        )
    return lines


def _rate(count: int, n: int, interval: Sequence[float]) -> Parts:
    if not n:
        return ((fit("-", _COLUMN), "quiet"),)
    low, high = interval
    text = f"{count}/{n}"
    within = f" [{100 * low:.0f},{100 * high:.0f}]"
    return ((text, "strong"), (fit(within, max(1, _COLUMN - len(text))), "quiet"))


def _title(title: str, columns: Sequence[str], width: int) -> Parts:
    each = _each(len(columns), width)
    names = ((fit(visible(name), each - 1, right=True) + " ", "quiet") for name in columns)
    return ((fit(f" {title}", _NAME + 2), "head"), *names)


def _counts(name: str, counts: Sequence[int], meaning: str, width: int) -> Parts:
    each = _each(len(counts), width)
    cells = (
        (
            fit(str(count) if count else "–", each - 1, right=True) + " ",
            "strong" if count else "rule",
        )
        for count in counts
    )
    return ((fit(f" {visible(name)}", _NAME + 1) + " ", "text"), *cells, (f" {meaning}", "quiet"))


def _each(columns: int, width: int) -> int:
    return max(6, min(13, (width - _NAME - 2) // max(1, columns)))


def _wrapped(text: str, width: int) -> list[Parts]:
    return [((f" {line}", "text"),) for line in wrapped(text, width - 1)]
