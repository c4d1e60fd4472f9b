"""``f``: all figures of the eval that is shown, as the report has them, from its episodes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from textual import work
from textual.binding import Binding

from sekft_engine.importing import import_module
from sekft_tui.screens.box import BoxScreen
from sekft_tui.text import Parts, clip, fit, visible, wrapped

#: The measures as columns, in order of importance: the last may be cut.
_MEASURES = (
    ("clean_termination", "clean end"),
    ("verified", "verified"),
    ("operates", "operates"),
    ("terminates", "terminates"),
)
_NAME, _COLUMN = 20, 14


class FiguresScreen(BoxScreen[None]):
    """Reads what is there when it is opened, also of an eval that still runs.

    Args:
        folder: the run's.
        subjects: in the order of the pane.
    """

    BINDINGS = [Binding("escape,q,f", "dismiss", show=False)]
    KEYS_TEXT = (("esc", "key"), (" close   ", "quiet"), ("j k", "key"), (" scroll", "quiet"))

    def __init__(self, folder: Path, subjects: Sequence[str]) -> None:
        super().__init__()
        self._folder = folder
        self._subjects = tuple(subjects)

    def on_mount(self) -> None:
        self.query_one("#box").border_title = visible(self._folder.name)
        self.put((((" reading the episodes …", "quiet"),),))
        self.sheet.focus()
        self._read()

    @work(exclusive=True)
    async def _read(self) -> None:
        found = await asyncio.to_thread(facts_of, self._folder, self._subjects)
        width = min(80, int(self.app.size.width * 0.96) - 5)
        self.put(tuple(figures(found, width)))


def facts_of(folder: Path, subjects: Sequence[str]) -> dict[str, Any]:
    """The facts of each subject that has episodes, and what was decided: the report's own."""
    report = import_module("sekft_engine.evaluate.report")
    store = import_module("sekft_engine.evaluate.store")
    runs = import_module("sekft_engine.runs")
    tables = import_module("sekft_engine.evaluate.tables")
    endings = import_module("sekft_engine.evaluate.endings")
    errors = import_module("sekft_engine.errors")
    found = store.episodes_of(folder / "episodes")
    facts = [report.subject_facts(name, found[name]) for name in subjects if name in found]
    try:
        result = runs.read_run(folder).result
    except errors.SekftError:
        result = {}
    return {
        "subjects": facts,
        "decisions": tables.decision_lines(result) if result.get("subjects") else [],
        "partial": tables.partial_line(result),
        "passes": [tables.pass_line(one) for one in facts if "pass_at" in one],
        "outcomes": report.OUTCOMES,
        "breakdowns": ("archetype", *report.BREAKDOWNS),
        "endings": endings.ENDINGS,
    }


def figures(found: Mapping[str, Any], width: int) -> list[Parts]:
    """The screen's lines, made for ``width`` cells; what is beyond is cut."""
    subjects: Sequence[Mapping[str, Any]] = found["subjects"]
    if not subjects:
        return [((" no episode has ended yet", "quiet"),)]
    lines: list[Parts] = []
    if found["partial"]:
        lines += [((clip(f" {found['partial']}", width), "warn"),), ()]
    lines += [_head("rates [95 %]"), *(_rates(one["name"], one) for one in subjects)]
    for told in (*found["passes"], *found["decisions"]):
        lines += [(), *_wrapped(visible(told), width)]
    lines += [(), _title("how episodes ended", [one["name"] for one in subjects], width)]
    for name, meaning in found["endings"].items():
        counts = [one["endings"].get(name, 0) for one in subjects]
        if any(counts):
            lines.append(_counts(name, counts, meaning, width))
    outcomes = found["outcomes"]
    lines += [(), _title("expected, and the end", outcomes, width)]
    for one in subjects:
        for expected, ended in one["confusion"].items():
            name = f"{one['name']}: {expected}"
            lines.append(_counts(name, [ended[outcome] for outcome in outcomes], "", width))
    for by in found["breakdowns"]:
        lines += [(), _head(f"by {by}"), *_broken_down(subjects, by)]
    return lines


def _broken_down(subjects: Sequence[Mapping[str, Any]], by: str) -> list[Parts]:
    groups = [one["by_archetype"] if by == "archetype" else one["by"][by] for one in subjects]
    lines: list[Parts] = []
    for name in sorted({name for group in groups for name in group}):
        label = name or f"(no {by})"
        if len(subjects) == 1:
            lines.append(_rates(label, groups[0][name]))
            continue
        lines.append(((f" {visible(label)}", "text"),))
        lines += [
            _rates(f"  {one['name']}", group[name], "quiet")
            for one, group in zip(subjects, groups, strict=True)
            if name in group
        ]
    return lines


def _head(title: str) -> Parts:
    columns = ((fit(heading, _COLUMN), "quiet") for _, heading in _MEASURES)
    return ((fit(f" {title}", _NAME), "head"), *columns)


def _rates(name: str, facts: Mapping[str, Any], style: str = "text") -> Parts:
    n = facts["n"]
    parts = [(fit(f" {visible(name)}", _NAME - 1) + " ", style)]
    for measure, _ in _MEASURES:
        low, high = facts["intervals"][measure]
        count = f"{facts[measure]}/{n}"
        interval = f" [{100 * low:.0f},{100 * high:.0f}]"
        parts += [(count, "strong"), (fit(interval, max(1, _COLUMN - len(count))), "quiet")]
    return tuple(parts) if n else (parts[0], ("none that counts", "warn"))


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
