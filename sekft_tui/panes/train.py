"""Train: a recipe, a button, and the loss while it falls."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from sekft_engine import events, jobs
from sekft_engine.errors import SekftError
from sekft_engine.events import Event
from sekft_engine.recipe import RecipeField, recipe_fields, recipe_from
from sekft_tui.actions import Place, bindings
from sekft_tui.panes.pane import Pane, Part
from sekft_tui.panes.state_text import hint, state_text
from sekft_tui.reducer import JobView, Shared, TrainView
from sekft_tui.text import (
    Parts,
    bar,
    clip,
    duration,
    fit,
    percent,
    short_number,
    short_path,
    visible,
)
from sekft_tui.widgets.lines import Lines
from sekft_tui.widgets.loss_chart import LossChart
from sekft_tui.widgets.recipe_form import Field, RecipeForm

_WAITING = ("no step yet", "", "s starts a run with this recipe", "enter edits a value")


class TrainPane(Pane):
    """The form to the left, chart and figures to the right; in narrow terminals one at a time."""

    place: ClassVar[Place] = "train"
    BINDINGS = bindings("train")
    SCOPED_CSS = False
    DEFAULT_CSS = """
    TrainPane #train-split { layout: horizontal; }
    TrainPane #train-left { width: 42; border-right: solid $line; }
    TrainPane.-no-form #train-left { display: none; }
    .-narrow TrainPane #train-left { width: 1fr; border: none; }
    .-narrow TrainPane #train-right { display: none; }
    .-narrow TrainPane.-no-form #train-right { display: block; }
    TrainPane #train-help { height: 2; }
    TrainPane #train-stats { height: 3; }
    """

    def __init__(self) -> None:
        super().__init__(id="train")
        self.values: dict[str, str] = {}
        self.view: TrainView = TrainView()
        self.opened: TrainView | None = None
        self._job: JobView | None = None
        self._told: tuple[str, bool] = ("", False)

    def compose(self) -> ComposeResult:
        self.form = RecipeForm(
            check=self._check,
            changed=self._changed,
            pressed=lambda _: self.action_start(),
            told=self._tell,
            id="train-form",
        )
        self.help = Lines(self._help, id="train-help")
        self.chart = LossChart(id="train-chart")
        self.stats = Lines(self._stats, id="train-stats")
        self.form_head = Lines(lambda _: (((" Recipe", "strong"),),))
        self.chart_head = Lines(self._chart_head)
        with Container(id="train-split"):
            yield Part(self.form_head, self.form, self.help, id="train-left")
            yield Part(self.chart_head, self.chart, self.stats, id="train-right")

    def on_mount(self) -> None:
        self.values = {field.name: _shown(value) for field, value in self._defaults()}
        self._fill()
        self.chart.hint = "\n".join(_WAITING)

    def _defaults(self) -> list[tuple[RecipeField, Any]]:
        return [(field, getattr(self.host.recipe, field.name)) for field in recipe_fields()]

    def first_focus(self) -> Widget:
        return self.chart if self.has_class("-no-form") else self.form

    # --- the form ---------------------------------------------------------------------------

    def _fill(self) -> None:
        base = self.host.base
        facts = [
            Field("base", short_path(base) if base else "none here",
                  base or "no base in this workspace: sekft base add smollm2-135m", "fact"),
            Field("data", self.host.data.name, self.host.data.name, "fact"),
        ]  # fmt: skip
        fields = [
            Field(
                field.name,
                self.values[field.name],
                f"{field.help} (default {_shown(field.default)})",
                choices=field.choices,
                changed=self.values[field.name] != _shown(field.default),
            )
            for field in recipe_fields()
        ]
        start = Field("start", "", "train an adapter on the base with this recipe", "button",
                      label="▸ start the run")  # fmt: skip
        self.form.set_fields((*facts, *fields, start))

    def _check(self, name: str, value: str) -> str:
        try:
            recipe_from(self.values | {name: value})
        except SekftError as error:
            return _complaint(error.what)
        return ""

    def _changed(self, name: str, value: str) -> None:
        self.values[name] = value
        self.host.recipe = recipe_from(self.values)
        self._fill()

    def _tell(self, text: str, wrong: bool) -> None:
        self._told = (text, wrong)
        self.help.update()

    def _help(self, width: int) -> tuple[Parts, ...]:
        text, wrong = self._told
        style = "bad" if wrong else "quiet"
        room = max(10, width - 4)
        cut = text.rfind(" ", 0, room) if len(text) > room else len(text)
        cut = cut if cut > 0 else room
        mark = ("✗ " if wrong else "  ", "bad")
        second = clip(visible(text[cut:].strip()), room)
        return (mark, (visible(text[:cut]), style)), (("  ", ""), (second, style))

    # --- the run ----------------------------------------------------------------------------

    def open_run(self, view: TrainView) -> None:
        """Show a run from its journal, until a new one starts."""
        self.opened = view
        self.add_class("-no-form")
        self.host.redraw_pane()
        self.go_to(self.chart)

    def draw(self, shared: Shared) -> None:
        self._job = shared.jobs.get(shared.train.job)
        if self._job is not None and not self._job.active and self.opened is not None:
            self._job = None
        self.view = self.opened if self.opened is not None else shared.train
        last, rows = self.view.last, self.view.rows
        total = last.steps if last else (rows.steps if rows else 0)
        self.chart.hint = hint(self._job, _WAITING, "preparing the run", self.chart.size.width - 10)
        self.chart.show(self.view.loss, self.view.heldout, total)
        self.stats.update()
        self.chart_head.update()

    def heard(self, event: Event) -> None:
        if isinstance(event, events.JobStarted) and event.kind == "train":
            self.opened = None
        if isinstance(event, events.JobDone) and event.kind == "setup":
            self._fill()

    def reload(self) -> None:
        self._fill()

    def _chart_head(self, width: int) -> tuple[Parts, ...]:
        view, job = self.view, self._job
        name = visible(view.run) or ("new run" if job and job.active else "no run yet")
        state, style = state_text(job, loaded=view.last is not None)
        rows = view.rows
        about = ""
        if rows is not None:
            dropped = sum(rows.dropped.values())
            about = f"  {rows.kept} trajectories · {short_number(rows.trained_tokens)} of "
            about += f"{short_number(rows.tokens)} tokens trained"
            about += f" · {dropped} dropped" if dropped else ""
        room = max(0, width - len(name) - len(state) - 4)
        return (((f" {name}", "strong"), (fit(about, room), "quiet"), (f" {state} ", style)),)

    def _stats(self, width: int) -> tuple[Parts, ...]:
        last = self.view.last
        if last is None:
            return ((), (), ())
        share = last.step / last.steps if last.steps else 0.0
        left = duration(last.eta_s) if self._job is not None and self._job.active else "-"
        head = f" step {last.step}/{last.steps} "
        tail = f" {percent(last.step, last.steps)}   eta {left}   {duration(last.seconds)}/step "
        filled, empty = bar(share, max(0, width - len(head) - len(tail)))
        one: Parts = ((head, "strong"), (filled, "accent"), (empty, "rule"), (tail, "quiet"))
        figures = [
            ("loss", f"{last.loss:.4f}"),
            ("held-out", self._heldout_text()),
            ("lr", f"{last.lr:.2e}"),
            ("grad norm", f"{last.grad_norm:.3f}"),
            ("epoch", f"{last.epoch:.2f}"),
            ("tok/s", short_number(last.tokens_per_s)),
            ("trained tokens", short_number(last.trained_tokens)),
        ]
        two: list[tuple[str, str]] = []
        used = 0
        for name, value in figures:
            size = len(name) + len(value) + 4
            if used + size > width:
                break
            two += [(f" {name} ", "quiet"), (f"{value}  ", "strong")]
            used += size
        return one, tuple(two), self._adapter_line(width)

    def _heldout_text(self) -> str:
        xs, ys = self.view.heldout.view()
        return f"{ys[-1]:.4f} @{int(xs[-1])}" if len(xs) else "-"

    def _adapter_line(self, width: int) -> Parts:
        if self.view.nan_step:
            return ((f" ✗ the loss is not a number since step {self.view.nan_step}", "bad"),)
        if self.view.adapter:
            room = max(0, width - 18)
            return (
                (" adapter saved: ", "good"),
                (clip(short_path(self.view.adapter), room), "text"),
            )
        return ()

    # --- keys -------------------------------------------------------------------------------

    def action_start(self) -> None:
        if self.form.typing and not self.form.commit():
            return
        if not self.host.base:
            self.host.error("no base in this workspace (sekft base add smollm2-135m adds one)")
            return
        try:
            recipe = recipe_from(self.values)
        except SekftError as error:
            self.host.error(str(error))
            return
        self.opened = None
        data = self.host.data
        self.host.bridge.submit(
            jobs.Train(base=self.host.base, data=data.path, hub=data.hub, recipe=recipe)
        )
        if self.host.narrow:
            self.add_class("-no-form")
        self.go_to(self.chart)

    def action_stop(self) -> None:
        if self._job is None or not self._job.active:
            self.host.note("no run to stop")
        elif self.host.bridge.stop(after_step=True):
            self.host.note("stopping after this step; what was learnt is saved")

    def action_pause(self) -> None:
        if self._job is None or not self._job.active:
            self.host.note("no run to pause")
        elif self._job.status == "paused":
            self.host.bridge.engine.resume()
        else:
            self.host.bridge.engine.pause()
            self.host.note("pausing at the next step; p goes on")

    def action_recipe(self) -> None:
        self.toggle_class("-no-form")
        self.go_to(self.chart if self.has_class("-no-form") else self.form)

    def action_log_y(self) -> None:
        self.chart.set_view(self.chart.view._replace(log=not self.chart.view.log))

    def action_smooth(self) -> None:
        weight = self.chart.next_smoothing()
        self.host.note(f"smoothing {weight:g}" if weight else "no smoothing")

    def action_zoom_in(self) -> None:
        self.chart.zoom(0.5)

    def action_zoom_out(self) -> None:
        self.chart.zoom(2.0)

    def action_cursor(self, by: int) -> None:
        self.chart.move_cursor(by)

    def action_follow(self) -> None:
        self.chart.set_view(self.chart.view._replace(follow=True, cursor=0))

    def action_reset(self) -> None:
        view = self.chart.view
        self.chart.set_view(view._replace(span=0.0, follow=True, cursor=0))

    def action_back(self) -> None:
        if self.form.drop():
            return
        if self.chart.view.cursor:
            self.chart.set_view(self.chart.view._replace(cursor=0))
        elif self.opened is not None:
            self.opened = None
            self.host.redraw_pane()

    def plain(self) -> str:
        return self.form.plain() if self.is_on(self.form) else self.chart.plain()


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _complaint(what: str) -> str:
    """msgspec's message in the words of a form."""
    text = what.split(" - at ")[0].replace("`", "")
    wanted = re.fullmatch(r"Expected (int|float)(, got \w+)?( [<>=]+ \S+)?", text)
    if wanted is None:
        return text
    kind = "a whole number" if wanted[1] == "int" else "a number"
    return f"{kind}{wanted[3] or ''} is wanted"
