"""The keys of the Train pane that look at the curves."""

from __future__ import annotations

import math

from sekft_tui.input.actions import key_for
from sekft_tui.model.training import TrainView
from sekft_tui.panes.form_pane import FormPane
from sekft_tui.widgets.chart import Chart
from sekft_tui.widgets.chart import view as views

_AXES = {"step": "steps", "tokens": "tokens", "time": "time spent training"}


class CurveKeys(FormPane[TrainView]):
    """Moves, zooms and scales the chart of the run that is shown."""

    chart: Chart

    def _has_curve(self) -> bool:
        """Whether there is a curve to look at; if not, says so."""
        if self.view.last is None:
            self.host.note("no step yet, so there is no curve")
        return self.view.last is not None

    def action_metric(self, by: int) -> None:
        if not self._has_curve():
            return
        self.chart.set_view(views.next_metric(self.chart.view, self.chart.board, by))

    def action_log_y(self) -> None:
        if not self._has_curve():
            return
        self.chart.set_view(self.chart.view._replace(log=not self.chart.view.log))

    def action_axis(self) -> None:
        self.chart.set_view(views.next_axis(self.chart.view))
        self.host.note(f"over {_AXES[self.chart.view.axis]}")

    def action_smooth(self) -> None:
        self.chart.set_view(views.smoother(self.chart.view))
        weight = self.chart.view.smoothing
        self.host.note(f"smoothing {weight:g}" if weight else "no smoothing")

    def action_zoom_in(self) -> None:
        if self._has_curve():
            self.chart.zoom(0.5)

    def action_zoom_out(self) -> None:
        if self._has_curve():
            self.chart.zoom(2.0)

    def action_pan(self, by: float) -> None:
        if not self._has_curve():
            return
        if not self.chart.view.span:
            self.host.note(f"all of it is in view; {key_for('train.zoom-in')} zooms in")
        self.chart.pan(by / 2)

    def action_cursor(self, by: int) -> None:
        if self._has_curve():
            self.chart.move_cursor(by)

    def action_mark(self, by: int) -> None:
        """Go to the next checkpoint, trial or warning."""
        here = self.chart.view.cursor or (0 if by > 0 else math.inf)
        steps = sorted({mark.step for mark in self.view.marks})
        ahead = [step for step in steps if (step > here if by > 0 else step < here)]
        if not ahead:
            self.host.note("no further mark")
            return
        step = ahead[0 if by > 0 else -1]
        self.chart.point(step if step <= self.view.step else 0)  # a failed step is not on the curve
        texts = [mark.text for mark in self.view.marks if mark.step == step]
        self.host.note(f"step {step}: {', '.join(texts)}")

    def action_follow(self) -> None:
        self.chart.set_view(self.chart.view._replace(follow=True, cursor=0))

    def action_reset(self) -> None:
        self.chart.set_view(self.chart.view._replace(span=0.0, follow=True, cursor=0))
