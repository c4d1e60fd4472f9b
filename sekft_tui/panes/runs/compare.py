"""Two or more runs side by side: what their recipes differ in, results, curves, paired tests."""

from __future__ import annotations

import asyncio
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from rich.cells import cell_len
from textual import work

from sekft_engine.core.errors import SekftError, in_words
from sekft_engine.core.imports import import_module
from sekft_engine.records.evals import EvalResult, PairedComparison
from sekft_engine.records.trainings import TrainResult
from sekft_tui.input.actions import bindings, same_key
from sekft_tui.model.measures import OVERALL
from sekft_tui.model.reducer import replayed
from sekft_tui.model.runs.summary import loss_text, summary
from sekft_tui.model.series import Floats
from sekft_tui.screens.box import CLOSE, SCROLL, BoxScreen
from sekft_tui.text import Parts, duration, fit, short_number, told_apart, visible, wrapped

if TYPE_CHECKING:
    from sekft_engine.records.runs import RunInfo

#: More than these do not fit side by side.
MOST = 6
_NAME = 18
#: Cells for the p of a paired test.
_P = 17
_BLOCKS = "▁▂▃▄▅▆▇█"


class CompareScreen(BoxScreen[str]):
    """A column for each run, which has a letter.

    Args:
        runs: at least two.
        titles: how each of them is called.
    """

    DEFAULT_CSS = "CompareScreen #box { width: 96%; }"
    TITLE_TEXT = "runs side by side"
    PLACE = "compare"
    BINDINGS = [
        *bindings("compare"),
        same_key("runs.compare", "close"),
        # The lines have a use for it, too.
        same_key("motion.choose", "dismiss('curves')", priority=True),
    ]
    HINTS = (("motion.choose compare.curves", "curves in one chart"), SCROLL, CLOSE)

    def __init__(self, runs: Sequence[RunInfo], titles: Sequence[str]) -> None:
        super().__init__()
        self._runs = list(runs)
        self._titles = list(titles)

    def on_mount(self) -> None:
        self.put((((" reading the runs …", "quiet"),),))
        self.sheet.focus()
        self._read()

    def on_resize(self) -> None:
        self._read()

    @work(exclusive=True)
    async def _read(self) -> None:
        width = max(30, int(self.app.size.width * 0.96) - 5)
        lines = await asyncio.to_thread(side_by_side, self._runs, self._titles, width)
        self.put(tuple(lines))


def side_by_side(runs: Sequence[RunInfo], titles: Sequence[str], width: int) -> list[Parts]:
    """The screen's lines, at most ``width`` cells wide; reads journals and episodes."""
    each = max(8, (width - _NAME) // len(runs))
    table = _Table(each)
    letters = string.ascii_uppercase[: len(runs)]
    rooms = [(visible(title), each - 3) for title in titles]
    named = zip(letters, told_apart(rooms), strict=True)
    lines = [table.row("", [f"{letter} {title}" for letter, title in named], "strong")]
    lines.append(table.row("kind", [run.kind for run in runs], "text"))
    lines.append(table.row("status", [run.status for run in runs], "text"))
    kinds = Counter(run.kind for run in runs)
    lettered = list(zip(letters, runs, strict=True))
    alone = [(letter, run) for letter, run in lettered if kinds[run.kind] < 2]
    if alone:
        lines += [(), *_apart(alone, width)]
    recipes = [{} if kinds[run.kind] < 2 else _recipe(run) for run in runs]
    if any(recipes):
        lines += [(), ((" recipe, where they differ", "head"),)]
        names = dict.fromkeys(name for recipe in recipes for name in recipe)
        differing = [
            table.row(
                name.replace("_", " "), [recipe.get(name, "-") for recipe in recipes], "accent"
            )
            for name in names
            if _differs(name, runs, recipes)
        ]
        lines += differing or [((" they do not differ", "quiet"),)]
    if kinds["train"] > 1:
        if any(isinstance(run.result, TrainResult) for run in runs):
            lines += [(), ((" result", "head"),), *_training(runs, table)]
        lines += _curves(runs, each, table)
    evals = {letter: run for letter, run in lettered if run.kind == "eval"}
    if evals:
        lines += [(), *_rates(evals, width)]
    if len(evals) > 1:
        lines += [(), *_paired(evals, width)]
    return lines


class _Table:
    """Rows of a name and a column for each run."""

    def __init__(self, each: int) -> None:
        self._each = each

    def row(self, name: str, values: Sequence[str], style: str) -> Parts:
        cells = [(fit(visible(value), self._each - 1) + " ", style) for value in values]
        return ((fit(f" {visible(name)}", _NAME), "quiet"), *cells)


def _apart(runs: Sequence[tuple[str, RunInfo]], width: int) -> Iterator[Parts]:
    """What each of these runs is, none of which has another of its kind beside it."""
    yield from _said("runs of different kinds have nothing to compare", width, "warn")
    for letter, run in runs:
        text = f"{letter} {run.kind}: {summary(run) or 'no result'}"
        yield from _said(text, width, "text")


def _differs(name: str, runs: Sequence[RunInfo], recipes: Sequence[Mapping[str, str]]) -> bool:
    """Whether runs of one kind have different values under a name."""
    values: dict[str, set[str]] = {}
    for run, recipe in zip(runs, recipes, strict=True):
        values.setdefault(run.kind, set()).add(recipe.get(name, "-"))
    return any(len(found) > 1 for found in values.values())


def _recipe(run: RunInfo) -> dict[str, str]:
    """The recipe of a training run, the conditions of an eval."""
    found = run.about.get("recipe", run.about)
    if not isinstance(found, dict):
        return {}
    return {
        str(name): f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in found.items()
        if not isinstance(value, dict | list)
    }


def _training(runs: Sequence[RunInfo], table: _Table) -> Iterator[Parts]:
    results = [run.result if isinstance(run.result, TrainResult) else None for run in runs]

    def number(value: float | None) -> str:
        return f"{value:.4f}" if value is not None else "-"

    yield table.row("steps", [str(r.steps) if r else "-" for r in results], "text")
    yield table.row("first loss", [number(r.loss.first) if r else "-" for r in results], "text")
    yield table.row("last loss", [number(r.loss.last) if r else "-" for r in results], "strong")
    yield table.row(
        "held-out loss", [number(r.loss.heldout) if r else "-" for r in results], "strong"
    )
    yield table.row(
        "trained tokens", [short_number(r.trained_tokens) if r else "-" for r in results], "text"
    )
    yield table.row("time", [duration(r.seconds) if r else "-" for r in results], "text")


def _curves(runs: Sequence[RunInfo], each: int, table: _Table) -> Iterator[Parts]:
    """The loss of each run as a small curve, all on one scale."""
    read_events = import_module("sekft_engine.records.runs").read_events
    curves: list[Floats] = []
    for run in runs:
        try:
            events = read_events(run.events_path) if run.kind == "train" else []
        except OSError:
            events = []
        curves.append(replayed(events).train.column("loss"))
    finite = [curve[np.isfinite(curve)] for curve in curves]
    drawn = [curve for curve in finite if len(curve)]
    if not drawn:
        return
    low, high = min(float(c.min()) for c in drawn), max(float(c.max()) for c in drawn)
    yield ()
    yield ((" loss, on one scale", "head"),)
    yield table.row(
        f"{loss_text(low)} to {loss_text(high)}",
        [sparkline(c, low, high, each - 2) for c in finite],
        "curve",
    )


def sparkline(values: Floats, low: float, high: float, width: int) -> str:
    """``values`` as blocks from ``low`` to ``high``, at most ``width`` of them; "-" = none."""
    if not len(values) or width < 1:
        return "-"
    parts = np.array_split(values, min(width, len(values)))
    means = np.array([part.mean() for part in parts])
    steps = np.clip((means - low) / ((high - low) or 1.0) * 7, 0, 7)
    return "".join(_BLOCKS[round(float(step))] for step in steps)


def _rates(runs: Mapping[str, RunInfo], width: int) -> Iterator[Parts]:
    """Rates of every model and control, after the letter of its run."""
    found = [
        (letter, subject)
        for letter, run in runs.items()
        for subject in (run.result.subjects if isinstance(run.result, EvalResult) else [])
    ]
    counts = [[f"{subject.count(each)}/{subject.n}" for each, _ in OVERALL] for _, subject in found]
    heads = [title for _, title in OVERALL]
    rooms = [2 + max(map(len, column)) for column in zip(heads, *counts, strict=True)]
    names = _names([(letter, subject.name) for letter, subject in found], width - sum(rooms))
    yield (
        (fit(" rates", cell_len(names[0]) if names else 7), "head"),
        *_cells(heads, rooms, "quiet"),
    )
    for name, row in zip(names, counts, strict=True):
        yield ((name, "text"), *_cells(row, rooms, "strong"))


def _paired(runs: Mapping[str, RunInfo], width: int) -> Iterator[Parts]:
    """Each eval against each other one, in the worlds of both."""
    compare_runs = import_module("sekft_engine.evaluation.comparable").compare_runs
    pairs: list[PairedComparison] = []
    notes: list[str] = []
    for (letter_a, a), (letter_b, b) in combinations(runs.items(), 2):
        try:
            found = compare_runs(a, b)
        except (SekftError, OSError) as error:
            text = error.what if isinstance(error, SekftError) else in_words(error)
            notes.append(f"{letter_a} and {letter_b}: {text}")
        else:
            pairs += found.comparisons
            notes += found.notes
    yield ((" clean termination, paired by world", "head"),)
    if pairs:
        yield from _paired_table(pairs, {run.id: letter for letter, run in runs.items()}, width)
    for note in notes:
        yield from _said(note, width, "warn")


def _paired_table(
    pairs: Sequence[PairedComparison], letters: Mapping[str, str], width: int
) -> Iterator[Parts]:
    """A line for each pair: in how many worlds one did better, or worse, than the other."""
    rooms = [7, 7, 8]
    every = list(dict.fromkeys(name for pair in pairs for name in (pair.b, pair.a)))
    labels = [(letters[run], name) for run, _, name in (each.partition("/") for each in every)]
    names = dict(zip(every, _names(labels, (width - sum(rooms) - _P) // 2), strict=True))
    room = cell_len(names[every[0]])
    heads = _cells(["more", "fewer", "worlds"], rooms, "quiet")
    yield (fit(" model", room), "quiet"), (fit(" against", room), "quiet"), *heads, ("  p", "quiet")
    for pair in pairs:
        better = pair.p < 0.05 and pair.only_b > pair.only_a
        p = f"  {pair.p:.2g}" + (" at any time" if pair.test == "any time" else "")
        yield (
            (names[pair.b], "text"),
            (names[pair.a], "text"),
            *_cells([str(pair.only_b), str(pair.only_a), str(pair.pairs)], rooms, "strong"),
            (p, "good" if better else "quiet"),
        )


def _names(labels: Sequence[tuple[str, str]], width: int) -> list[str]:
    """Names of models, each after the letter of its run, all as wide as the longest, but at most
    ``width`` cells."""
    names = [visible(name) for _, name in labels]
    room = max(5, min(max([0, *map(cell_len, names)]), width - 3))  # "against" stands above it
    shown = told_apart([(name, room) for name in names])
    return [f" {letter} {name}" for (letter, _), name in zip(labels, shown, strict=True)]


def _cells(texts: Sequence[str], rooms: Sequence[int], style: str) -> Parts:
    pairs = zip(texts, rooms, strict=True)
    return tuple((fit(text, room, right=True), style) for text, room in pairs)


def _said(text: str, width: int, style: str) -> Iterator[Parts]:
    for line in wrapped(text, max(20, width - 2)):
        yield ((" " + line, style),)
