"""The panels of the chart, made of a training run and of those beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sekft_engine.episodes.verdict import MEASURES
from sekft_tui.model.measures import TITLES
from sekft_tui.model.runs.pinned import BesideRun
from sekft_tui.model.series import Floats, Smooth
from sekft_tui.model.training import (
    MACHINE_COLUMNS,
    Column,
    MarkKind,
    TrainView,
)
from sekft_tui.widgets.chart.plot import Axis, Board, Flag, Line, Plot, Points, Rule, Tag
from sekft_tui.widgets.chart.view import View

HELDOUT, OTHER_HELDOUT = "◆", "◇"
#: Sign, style and name of each kind of mark.
FLAGS: dict[MarkKind, tuple[str, str, str]] = {
    "saved": ("▲", "good", "checkpoint"),
    "eval": ("○", "hue-1", "tried"),
    "sign": ("!", "warn", "warning"),
    "bad": ("×", "bad", "not finite"),
}
BOTH = ("◬", "good", "checkpoint, tried")
#: The points and the curve of each measure: sign and style.
_MEASURE_LOOKS = {
    "operates": ("○", "hue-0"),
    "terminates": ("△", "hue-1"),
    "verified": ("□", "hue-3"),
    "clean_termination": ("◆", "hue-4"),
}
#: The most checkpoints marked on the axis; more would hide each other.
SAVED_KEPT = 24


#: Columns drawn and not drawn, in turn; a solid curve is that of the run that is shown.
_DASHES = ((6, 2), (2, 2), (9, 2, 2, 2), (1, 2), (4, 4), (5, 1, 1, 1))


def _style_of(other: BesideRun) -> str:
    """The colour of all its curves."""
    return f"hue-{other.number % 6}"


def _dash_of(other: BesideRun) -> tuple[int, ...]:
    return _DASHES[other.number % len(_DASHES)]


class Smoother:
    """The moving averages of several curves, by name."""

    def __init__(self) -> None:
        self._cache: dict[str, Smooth] = {}

    def of(self, key: str, values: Floats, weight: float) -> Floats:
        if not weight or not len(values):
            return values
        found = self._cache.get(key)
        if found is None or found.weight != weight:
            found = self._cache[key] = Smooth(weight)
        return found.of(values)


class _Run(NamedTuple):
    """A run, and the places of its steps on the x axis."""

    train: TrainView
    steps: Floats
    places: Floats

    def place(self, steps: Floats) -> Floats:
        if self.places is self.steps or not len(self.steps):
            return steps
        return np.interp(steps, self.steps, self.places)

    def column(self, name: Column) -> Floats:
        return self.train.column(name)[: len(self.steps)]


def _run(train: TrainView, axis: Axis) -> _Run:
    steps = train.column("step")
    if axis == "step":
        return _Run(train, steps, steps)
    column: Column = "tokens" if axis == "tokens" else "seconds"
    return _Run(train, steps, train.column(column)[: len(steps)])


def board(train: TrainView, others: Sequence[BesideRun], view: View, smoother: Smoother) -> Board:
    """All panels that ``view`` may show of ``train`` and, beside it, of ``others``."""
    run = _run(train, view.axis)
    beside = [(other, _run(other.train, view.axis)) for other in others]
    if not any(len(clock.steps) for clock in (run, *(clock for _, clock in beside))):
        return Board(axis=view.axis)
    builder = _BoardBuilder(run, beside, view.smoothing, smoother)
    plots = (
        builder.loss(),
        builder.rates(),
        builder.norm(),
        builder.rate(),
        builder.speed(),
        builder.machine(),
    )
    last = max(
        float(clock.places[-1]) for clock in (run, *(c for _, c in beside)) if len(clock.places)
    )
    return Board(
        plots=tuple(plot for plot in plots if not plot.empty),
        axis=view.axis,
        steps=run.steps,
        places=run.places,
        last=last,
        end=_end(run),
        flags=_flags(run),
        tags=tuple(Tag(other.letter, _style_of(other), other.name) for other in others),
    )


def _end(run: _Run) -> float:
    """The place of the run's end at the pace so far; 0 = not known."""
    total, done = run.train.total, run.train.step
    if not done or not len(run.places):
        return 0.0
    return float(run.places[-1]) * total / done


def _flags(run: _Run) -> tuple[Flag, ...]:
    """The marks on the x axis; more important ones come later and cover the others."""
    marks = list(run.train.marks)
    saved = {mark.step for mark in [mark for mark in marks if mark.kind == "saved"][-SAVED_KEPT:]}
    tried = {mark.step for mark in marks if mark.kind == "eval"}
    found = [(step, BOTH if step in tried else FLAGS["saved"]) for step in sorted(saved)]
    for kind in ("eval", "sign", "bad"):
        steps = {mark.step for mark in marks if mark.kind == kind}
        hidden = saved if kind == "eval" else set()
        found += [(step, FLAGS[kind]) for step in sorted(steps - hidden)]
    places = run.place(np.array([float(step) for step, _ in found]))
    return tuple(Flag(float(x), *flag) for x, (_, flag) in zip(places, found, strict=True))


class _BoardBuilder:
    """Makes the panels."""

    def __init__(
        self, run: _Run, beside: list[tuple[BesideRun, _Run]], weight: float, smoother: Smoother
    ) -> None:
        self.run = run
        self.beside = beside
        self.weight = weight
        self.smoother = smoother

    def loss(self) -> Plot:
        ys, name = self.run.column("loss"), f"smoothed {self.weight:g}" if self.weight else ""
        smooth = self.smoother.of("", ys, self.weight)
        raw = ys if self.weight else None
        lines = [Line(self.run.places, smooth, "curve", name, raw)]
        lines += self._others("loss")
        steps, losses = self.run.train.heldout.view()
        points = [
            Points(self.run.place(steps), losses, HELDOUT, "curve-heldout", "held-out"),
            *self._other_heldout(),
        ]
        return Plot(
            "loss", "loss", "nats per trained token", lines=tuple(lines), points=tuple(points),
            decimals=4,
        )  # fmt: skip

    def _others(self, column: Column, smooth: bool = True) -> list[Line]:
        found = []
        for other, clock in self.beside:
            ys = clock.column(column)
            if smooth:
                ys = self.smoother.of(f"{other.train.path} {column}", ys, self.weight)
            style, tag = _style_of(other), other.letter
            found.append(Line(clock.places, ys, style, dash=_dash_of(other), tag=tag))
        return found

    def _other_heldout(self) -> list[Points]:
        found = []
        for other, clock in self.beside:
            steps, losses = other.train.heldout.view()
            place = clock.place(steps)
            found.append(Points(place, losses, OTHER_HELDOUT, _style_of(other), in_legend=False))
        return found

    def rates(self) -> Plot:
        table = self.run.train.rates.rows()
        places = self.run.place(table[0])
        lines, points = [], []
        for number, measure in enumerate(MEASURES, 2):
            sign, style = _MEASURE_LOOKS[measure]
            lines.append(Line(places, table[number], style, in_legend=False))
            points.append(Points(places, table[number], sign, style, TITLES[measure]))
        for other, clock in self.beside:
            table = other.train.rates.rows()
            ys = table[2 + MEASURES.index("clean_termination")]
            style, dash = _style_of(other), _dash_of(other)
            line = Line(clock.place(table[0]), ys, style, dash=dash, tag=other.letter)
            lines.append(line)
        return Plot(
            "rates", "behaviour", "share of episodes", "share", tuple(lines), tuple(points),
            limits=(0.0, 1.0), can_log=False,
        )  # fmt: skip

    def norm(self) -> Plot:
        norm = self.run.column("norm")
        smooth = self.smoother.of("norm", norm, self.weight)
        raw = norm if self.weight else None
        lines = (Line(self.run.places, smooth, "curve", raw=raw), *self._others("norm"))
        return Plot("norm", "gradient norm", "before clipping", lines=lines)

    def rate(self) -> Plot:
        line = Line(self.run.places, self.run.column("lr"), "curve")
        return Plot("lr", "learning rate", lines=(line, *self._others("lr", smooth=False)))

    def speed(self) -> Plot:
        speed = self.run.column("speed")
        smooth = self.smoother.of("speed", speed, self.weight)
        raw = speed if self.weight else None
        best = self.run.train.best_speed()
        return Plot(
            "speed", "tokens/s", "of whole trajectories", "count",
            (Line(self.run.places, smooth, "curve", raw=raw), *self._others("speed")),
            rule=Rule(best, "bound") if best else None,
        )  # fmt: skip

    def machine(self) -> Plot:
        table = self.run.train.machines.rows()
        machine = self.run.train.machine
        gpu = machine is not None and machine.gpu is not None
        places, busy = self.run.place(table[0]), table[MACHINE_COLUMNS.index("busy")]
        return Plot(
            "machine", "GPU busy" if gpu else "CPU busy", "", "share",
            (Line(places, busy, "curve"),), limits=(0.0, 1.0), can_log=False,
        )  # fmt: skip
