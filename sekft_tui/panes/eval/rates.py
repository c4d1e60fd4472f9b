"""The rates so far: a table with intervals, and a paired comparison with the first subject."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from sekft_engine.evaluation.statistics.paired import Comparison
from sekft_tui.model.evaluation import EvalView, Tally
from sekft_tui.model.measures import BY_IMPORTANCE, CONTROLS, short_name
from sekft_tui.text import Parts, clip, fit, halves, rule, told_apart, visible

#: The most models and comparisons that are listed.
MOST_SUBJECTS, MOST_PAIRS = 7, 3
#: From this width on there is room for the rates in percent too.
_WIDE = 116
#: Cells for the difference to the first subject, and the width from which on there is room.
_DIFFERENCE, _LEAST = 15, 76


class Rates:
    """Makes the table; comparisons are computed again only after a new verdict."""

    def __init__(self) -> None:
        self._known: tuple[EvalView | None, int] = (None, -1)
        self._pairs: list[tuple[str, str, Comparison]] = []

    def lines(self, view: EvalView, width: int) -> tuple[Parts, ...]:
        """A line for each subject with its measures, n and 95 % intervals, the controls apart from
        the models; then the comparisons of models."""
        if not view.subjects:
            return ()
        wide = width >= _WIDE
        each = 22 if wide else 15
        longest = max(len(subject) for subject in view.subjects)
        compared = {other: found for _, other, found in self._compared(view)}
        beside = _DIFFERENCE if compared and width >= _LEAST else 0
        measures = BY_IMPORTANCE[: max(2, (width - 18 - beside) // each)]
        name = max(8, min(longest + 1, width - each * len(measures) - 10 - beside))
        labels = told_apart(
            [(short_name(visible(subject), name), name) for subject in view.subjects]
        )
        label_of = dict(zip(view.subjects, labels, strict=True))

        def row(subject: str, style: str) -> Parts:
            tally = view.tally(subject)
            n = f"n={tally.n}" + (f" +{tally.invalid}!" if tally.invalid else "")
            parts: list[tuple[str, str]] = [
                (" " + label_of[subject], style),
                (fit(n, 8, right=True) + " ", "warn" if tally.invalid else "quiet"),
            ]
            for measure, _ in measures:
                parts += _rate(tally, measure, each, wide)
            if beside and subject in compared:
                parts.append(_difference(compared[subject]))
            return tuple(parts)

        against = (_against(visible(view.subjects[0])), beside)
        columns = [(title, each) for _, title in measures] + [against] * bool(beside)
        lines = [
            *_heads(name + 10, columns),
            *(row(subject, "strong") for subject in view.models[:MOST_SUBJECTS]),
        ]
        if view.controls:
            lines.append(rule(CONTROLS, width))
            lines += [row(subject, "text") for subject in view.controls]
        pairs = [pair for pair in self._compared(view) if pair[1] not in view.controls]
        return (*lines, *(_pair_line(*pair, width) for pair in pairs))

    def _compared(self, view: EvalView) -> list[tuple[str, str, Comparison]]:
        """The first model with the others, and with each control."""
        if self._known != (view, view.done):
            self._known = (view, view.done)
            first, *others = view.models or [""]
            others = [*others[:MOST_PAIRS], *view.controls] if first else []
            self._pairs = [(first, other, view.pairs(first, other)) for other in others]
        return [pair for pair in self._pairs if pair[2].pairs]


def _heads(name: int, columns: Sequence[tuple[str, int]]) -> list[Parts]:
    """The titles of columns of so many cells; those that are too long take a second line."""
    first: list[tuple[str, str]] = [(fit(" rate [95 %]", name), "quiet")]
    above: list[tuple[str, str]] = [(fit("", name), "quiet")]
    for title, room in columns:
        before, last = halves(title) if cell_len(title) >= room else ("", title)
        above.append((fit(before, room), "quiet"))
        first.append((fit(last, room), "quiet"))
    return (
        [tuple(above), tuple(first)] if any(text.strip() for text, _ in above) else [tuple(first)]
    )


def _against(first: str) -> str:
    """The title of the differences to the ``first`` model: its whole name, or none."""
    titles = (f"against {first}", f"vs {first}", "vs the first")
    return next(title for title in titles if cell_len(title) < _DIFFERENCE)


def _difference(found: Comparison) -> tuple[str, str]:
    """How many clean terminations more or fewer than the first model in the same worlds, and p."""
    by = found.only_b - found.only_a
    style = "quiet" if found.p >= 0.05 or not by else "good" if by > 0 else "bad"
    return fit(f"{by:+d}  p={found.p:.2g}", _DIFFERENCE), style


def _rate(tally: Tally, measure: str, each: int, wide: bool) -> Parts:
    n, k = tally.of(measure), tally.counts[measure]
    if not n:
        return ((fit("-", each), "quiet"),)
    low, high = tally.interval(measure)
    text = f"{k}/{n}"
    if wide:
        text += f"  {100 * k / n:.0f} %"
    interval = f" [{100 * low:.0f},{100 * high:.0f}]"
    return ((clip(text, each), "strong"), (fit(interval, max(0, each - len(text))), "quiet"))


def _pair_line(first: str, other: str, found: Comparison, width: int) -> Parts:
    """In how many worlds one terminated cleanly and the other did not, where both are judged."""
    better, worse = found.only_b, found.only_a
    short = f" {visible(other)}: "
    names = f" {visible(other)} against {visible(first)}: "
    counts = f"clean termination in {better} more, {worse} fewer of {found.pairs} worlds"
    p = f"  p = {found.p:.2g}" + (" at any time" if found.test == "any time" else "")
    style = "good" if found.p < 0.05 and better > worse else "quiet"
    if len(short) + len(counts) + len(p) >= width:
        counts = f"{better} more, {worse} fewer of {found.pairs}"
    room = max(0, width - len(counts) - len(p) - 1)
    if len(names) > room:
        names = short if len(short) <= room else clip(short, max(0, room - 1)) + " "
    return ((names, "quiet"), (counts, "text"), (p, style))
