"""From a training run, and others beside it, to the panels of the chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sekft_tui.series import Floats, Smooth
from sekft_tui.training import MACHINE_COLUMNS, RATES, Column, MarkKind, TrainView
from sekft_tui.widgets.chart.plot import Axis, Board, Flag, Line, Plot, Points, Rule, Tag
from sekft_tui.widgets.chart.view import View

HELDOUT, OTHER_HELDOUT = "◆", "◇"
#: Sign, style and what to call it.
FLAGS: dict[MarkKind, tuple[str, str, str]] = {
    "saved": ("▲", "good", "checkpoint"),
    "eval": ("○", "hue-1", "tried"),
    "sign": ("!", "warn", "warning"),
    "bad": ("×", "bad", "not finite"),
}
BOTH = ("◬", "good", "checkpoint, tried")
#: How the curves of the rates are told apart: sign and style.
_RATES = {
    "operates": ("operates", "○", "hue-0"),
    "terminates": ("terminates", "△", "hue-1"),
    "verified": ("verified", "□", "hue-3"),
    "clean_termination": ("clean end", "◆", "hue-4"),
}
#: Checkpoints so near to the next that they would hide each other are left out of the axis.
SAVED_KEPT = 24


class Other(NamedTuple):
    """A run beside the one that is shown."""

    letter: str
    number: int
    name: str
    train: TrainView

    @property
    def style(self) -> str:
        return f"hue-{self.number % 6}"

    @property
    def dash(self) -> tuple[int, ...]:
        return _DASHES[self.number % len(_DASHES)]


#: Columns drawn and not drawn; no two alike, and none whole, for that is the run that is shown.
_DASHES = ((6, 2), (2, 2), (9, 2, 2, 2), (1, 2), (4, 4), (5, 1, 1, 1))


class Smoother:
    """The moving averages of several curves, by name."""

    def __init__(self) -> None:
        self._kept: dict[str, Smooth] = {}

    def of(self, key: str, values: Floats, weight: float) -> Floats:
        if not weight or not len(values):
            return values
        found = self._kept.get(key)
        if found is None or found.weight != weight:
            found = self._kept[key] = Smooth(weight)
        return found.of(values)


class _Run(NamedTuple):
    """A run's clock: where its steps lie on the x axis."""

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


def board(train: TrainView, others: Sequence[Other], view: View, smoother: Smoother) -> Board:
    """Everything that ``view`` may show of ``train`` and, beside it, of ``others``."""
    run = _run(train, view.axis)
    beside = [(other, _run(other.train, view.axis)) for other in others]
    if not any(len(one.steps) for one in (run, *(clock for _, clock in beside))):
        return Board(axis=view.axis)
    maker = _Maker(run, beside, view.smoothing, smoother)
    plots = (
        maker.loss(),
        maker.rates(),
        maker.norm(),
        maker.rate(),
        maker.speed(),
        maker.machine(),
    )
    last = max(float(one.places[-1]) for one in (run, *(c for _, c in beside)) if len(one.places))
    return Board(
        plots=tuple(plot for plot in plots if not plot.empty),
        axis=view.axis,
        steps=run.steps,
        places=run.places,
        last=last,
        end=_end(run),
        flags=_flags(run),
        tags=tuple(Tag(other.letter, other.style, other.name) for other in others),
    )


def _end(run: _Run) -> float:
    """Where the run will end, if it goes on as it did."""
    total, done = run.train.total, run.train.step
    if not done or not len(run.places):
        return 0.0
    return float(run.places[-1]) * total / done


def _flags(run: _Run) -> tuple[Flag, ...]:
    """What happened when; what matters more is drawn later."""
    marks = list(run.train.marks)
    saved = {mark.step for mark in [one for one in marks if one.kind == "saved"][-SAVED_KEPT:]}
    tried = {mark.step for mark in marks if mark.kind == "eval"}
    found = [(step, BOTH if step in tried else FLAGS["saved"]) for step in sorted(saved)]
    for kind in ("eval", "sign", "bad"):
        steps = {mark.step for mark in marks if mark.kind == kind}
        hidden = saved if kind == "eval" else set()
        found += [(step, FLAGS[kind]) for step in sorted(steps - hidden)]
    places = run.place(np.array([float(step) for step, _ in found]))
    return tuple(Flag(float(x), *flag) for x, (_, flag) in zip(places, found, strict=True))


class _Maker:
    """Makes the panels."""

    def __init__(
        self, run: _Run, beside: list[tuple[Other, _Run]], weight: float, smoother: Smoother
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
            "loss", "loss", "nats per trained token", lines=tuple(lines), points=tuple(points)
        )

    def _others(self, column: Column, smooth: bool = True) -> list[Line]:
        found = []
        for other, clock in self.beside:
            ys = clock.column(column)
            if smooth:
                ys = self.smoother.of(f"{other.train.path} {column}", ys, self.weight)
            style, tag = other.style, other.letter
            found.append(Line(clock.places, ys, style, dash=other.dash, tag=tag))
        return found

    def _other_heldout(self) -> list[Points]:
        found = []
        for other, clock in self.beside:
            steps, losses = other.train.heldout.view()
            place = clock.place(steps)
            found.append(Points(place, losses, OTHER_HELDOUT, other.style, told=False))
        return found

    def rates(self) -> Plot:
        table = self.run.train.rates.rows()
        places = self.run.place(table[0])
        lines, points = [], []
        for number, rate in enumerate(RATES, 2):
            name, sign, style = _RATES[rate]
            lines.append(Line(places, table[number], style, told=False))
            points.append(Points(places, table[number], sign, style, name))
        for other, clock in self.beside:
            table = other.train.rates.rows()
            ys = table[2 + RATES.index("clean_termination")]
            line = Line(clock.place(table[0]), ys, other.style, "", None, other.dash, other.letter)
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
