"""A description of what a chart shows, independent of how it is drawn."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from sekft_tui.model.series import Floats
from sekft_tui.widgets.chart.axes import Form

#: The quantity on the x axis; learning rates are given as their logarithm.
Axis = Literal["step", "tokens", "time", "rate"]
#: The x axes of a run.
AXES: tuple[Axis, ...] = ("step", "tokens", "time")
FORMS: dict[Axis, Form] = {"step": "plain", "tokens": "count", "time": "seconds", "rate": "power"}

NOTHING = np.zeros(0)


class Line(NamedTuple):
    """A curve.

    ``raw`` is drawn dim below it. ``dash``: columns drawn and not drawn, in turn. ``tag``: a letter
    on the curve itself, so that it can be recognised without colour.
    """

    xs: Floats
    ys: Floats
    style: str
    name: str = ""
    raw: Floats | None = None
    dash: tuple[int, ...] = ()
    tag: str = ""
    #: Whether its value is shown in the legend.
    in_legend: bool = True


class Points(NamedTuple):
    """Single measurements, each drawn as a sign."""

    xs: Floats
    ys: Floats
    glyph: str
    style: str
    name: str = ""
    in_legend: bool = True


class Rule(NamedTuple):
    """A level to compare with."""

    y: float
    name: str


class Plot(NamedTuple):
    """One panel: curves that share their axes."""

    key: str
    title: str
    unit: str = ""
    form: Form = "plain"
    lines: tuple[Line, ...] = ()
    points: tuple[Points, ...] = ()
    rule: Rule | None = None
    limits: tuple[float, float] | None = None
    #: Whether a logarithmic axis makes sense.
    can_log: bool = True
    #: Decimals of the values that are read out; None = as many as they need.
    decimals: int | None = None

    @property
    def empty(self) -> bool:
        return not any(len(xs) for xs, _ in self.curves())

    def curves(self) -> list[tuple[Floats, Floats]]:
        """The points of everything that is drawn."""
        found = [(line.xs, line.ys) for line in self.lines]
        found += [(line.xs, line.raw) for line in self.lines if line.raw is not None]
        return found + [(points.xs, points.ys) for points in self.points]


class Flag(NamedTuple):
    """Something at one place of the x axis."""

    x: float
    glyph: str
    style: str
    name: str


class Tag(NamedTuple):
    """Another run in the same chart: its letter, its style and its name."""

    letter: str
    style: str
    name: str


class Board(NamedTuple):
    """All panels at one moment, and what they share.

    ``steps`` and ``places`` map steps of the run to x, both increasing; ``last`` is the greatest x
    of any curve, ``end`` where the run is to end (0 = not known).
    """

    plots: tuple[Plot, ...] = ()
    axis: Axis = "step"
    steps: Floats = NOTHING
    places: Floats = NOTHING
    last: float = 0.0
    end: float = 0.0
    flags: tuple[Flag, ...] = ()
    tags: tuple[Tag, ...] = ()

    def place(self, step: float) -> float:
        """Where ``step`` lies on the x axis."""
        if not len(self.steps):
            return step
        return float(np.interp(step, self.steps, self.places))

    def step(self, place: float) -> int:
        """The step nearest to a place on the x axis."""
        if not len(self.steps):
            return 0
        at = int(np.searchsorted(self.places, place))
        near = [number for number in (at - 1, at) if 0 <= number < len(self.places)]
        best = min(near, key=lambda number: abs(self.places[number] - place))
        return int(self.steps[best])

    def plot(self, key: str) -> Plot | None:
        """The panel called ``key``, else the first."""
        found = [plot for plot in self.plots if plot.key == key]
        return next(iter(found or self.plots), None)


def at(xs: Floats, ys: Floats, x: float) -> float:
    """The value at ``x`` or the last one before it; NaN if there is none."""
    index = int(np.searchsorted(xs, x, side="right")) - 1
    return float(ys[index]) if index >= 0 else float("nan")
