"""The Train pane: its parts and its keys."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from sekft_engine.core.errors import SekftError
from sekft_engine.core.text import count
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.records.trainings import FindRateResult
from sekft_tui.host import Host
from sekft_tui.input.actions import bindings, key_for
from sekft_tui.input.footer import FooterState, Item
from sekft_tui.input.places import Place
from sekft_tui.messages import OpenTrajectory
from sekft_tui.model.job_text import (
    begun_elsewhere,
    hint,
    labelled,
    next_run,
    resumed_run,
    state_text,
)
from sekft_tui.model.reducer import Shared
from sekft_tui.model.training import COLUMNS, TrainView
from sekft_tui.panes.pane import Part
from sekft_tui.panes.train import choose_runs, figures, find_rate, plots, start_sweep
from sekft_tui.panes.train.batch import Batch
from sekft_tui.panes.train.counting import refuse_nothing
from sekft_tui.panes.train.curve_keys import CurveKeys
from sekft_tui.panes.train.recipe import RecipePart
from sekft_tui.process.attachment import has_files_here
from sekft_tui.process.exporting import Writer, as_csv, as_json, file_name
from sekft_tui.text import Parts, fit, short_number, visible
from sekft_tui.widgets.chart import Chart
from sekft_tui.widgets.chart import view as views
from sekft_tui.widgets.chart.plot import Board
from sekft_tui.widgets.chart.view import View
from sekft_tui.widgets.form import enter_label
from sekft_tui.widgets.lines import Lines

_WAITING = ("no step yet", "", "{start} starts a run with this recipe")
#: From this height on, the batch in training is shown below the chart.
TALL = 36
#: Seconds between two looks whether a run has stalled.
STALLED_LOOK_S = 5.0


class TrainPane(CurveKeys):
    """The form to the left; chart, figures and batch to the right; in a narrow terminal, one side
    at a time."""

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
    TrainPane #train-stats { height: 4; }
    TrainPane #train-batch { display: none; }
    TrainPane.-tall #train-batch { display: block; }
    TrainPane.-batch #train-batch { display: block; height: 1fr !important; }
    TrainPane.-batch #train-chart { display: none; }
    """

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.view = TrainView()
        self._earlier: list[TrainView] = []
        self._smoother = plots.Smoother()
        self._last: events.StepDone | None = None
        self._stepped = time.monotonic()  # when it was seen
        self._resumed = ""  # the run that the job resumes, before it says so itself
        self._next = ""  # what is said of a run that is to begin

    def compose(self) -> ComposeResult:
        pressed = {
            "find_rate": self.action_find_rate,
            "sweep": self.action_sweep,
            "start": self.action_start,
        }
        self.left = RecipePart(self.host, pressed)
        self.form = self.left.form
        self.chart = Chart(self._build_board, id="train-chart")
        self.stats = Lines(self._stats, id="train-stats")
        self.step_batch = Batch(self._open_row, id="train-batch")
        self.chart_head = Lines(self._chart_head)
        with Container(id="train-split"):
            yield self.left
            yield Part(self.chart_head, self.chart, self.stats, self.step_batch, id="train-right")

    def on_mount(self) -> None:
        self.chart.hint = "\n".join(self._waiting())
        self.chart.view = views.restored(self.before)
        self.host.pinned.refresh()
        self.show_last()
        self.set_interval(STALLED_LOOK_S, self._look_whether_stalled)

    def _look_whether_stalled(self) -> None:
        """A run that stalls says nothing, so that nothing else draws it again."""
        if self._active:
            self.stats.update()

    def extent(self, view: TrainView) -> int:
        return len(view.steps)

    def kept(self) -> dict[str, str]:
        run = self.view.run if self.opened is not None else ""
        return {"run": run, **views.kept(self.chart.view)}

    def shown(self) -> None:
        self.left.plan()
        if self.host.base:
            self.host.bridge.make_ready()

    # --- the run ----------------------------------------------------------------------------

    def open_run(self, view: TrainView) -> None:
        """Show a run from its journal, until a new run starts."""
        self.opened = view
        self.show_right()
        self.follow(view.path)

    def show_running(self) -> None:
        """Show the run that is running."""
        self.opened = None
        self.show_right()

    def draw(self, shared: Shared) -> None:
        view = self.show_told(shared.train, shared.jobs.get(shared.train.job))
        self._earlier = [] if self.opened is not None else shared.earlier
        running = shared.queue.running if shared.queue is not None else None
        is_training = running is not None and running.kind == "train"
        self._resumed = resumed_run(running) if running is not None and is_training else ""
        self._next = next_run(shared, ("train", "sweep"), "a run")
        before, self.view = self.view, view
        if before is not self.view:
            self.chart.view = self.chart.view._replace(span=0.0, follow=True, cursor=0)
        batch = self.view.batch
        self._look_at_step()
        begun = f"step {batch.step} is in training" if batch else "preparing the run"
        since = batch.t if batch else 0.0
        self.chart.hint = hint(self._job, self._waiting(), begun, since)
        self._fit_batch()
        self.chart.draw()
        self._below()
        self.chart_head.update()

    def _waiting(self) -> tuple[str, ...]:
        """The text of an empty chart."""
        if self.followed is not None:
            batch = self.view.batch
            return (begun_elsewhere(self.view.run, batch.step if batch is not None else 0),)
        if self._next:
            return self._next, "", f"{key_for('global.queue')} shows the queue"
        lines = [line.format(start=key_for("train.start")) for line in _WAITING]
        if self.has_class("-no-form"):
            lines.append(f"{key_for('train.recipe')} shows the recipe")
        else:
            lines.append(f"{key_for('motion.choose')} edits a value")
        return tuple(lines)

    def footer(self) -> FooterState:
        labels: dict[str, str] = {}
        status = self._job.status if self._job is not None and self._active else ""
        if not status or status == "queued":
            labels |= dict.fromkeys(("pause", "checkpoint"), "")
        if not status:
            labels["stop"] = ""
        if status in ("paused", "pausing"):
            labels["pause"] = "resume"
        if status == "stopping":
            labels |= {"stop": "stopping", "pause": "", "checkpoint": ""}
        if self.has_class("-no-form"):
            labels["recipe"] = "show recipe"
        enter = enter_label(self.form.field) if self.is_on(self.form) else ""
        return FooterState(labels, (Item(key_for("motion.choose"), enter),) if enter else ())

    def _build_board(self, view: View) -> Board:
        others = self.host.pinned.beside(self.view, self._earlier)
        return plots.board(self.view, others, view, self._smoother)

    def _below(self) -> None:
        self.stats.update()
        self._show_batch()

    def _show_batch(self) -> None:
        self.step_batch.show(self.view, self.chart.view.cursor, self._goes_on)

    @on(Chart.Moved)
    def _moved(self) -> None:
        self._below()

    def _fit_batch(self) -> None:
        known = self.view.batch is not None or bool(self.view.batches.get(self.view.step))
        tall = known and self.size.height >= TALL
        self.set_class(tall, "-tall")
        if tall:
            self.remove_class("-batch")

    def watchable(self) -> tuple[Widget, ...]:
        return self.chart, self.step_batch.list

    def on_resize(self) -> None:
        self._fit_batch()
        if self._watched is self.step_batch.list and not self.has_class("-tall"):
            self.add_class("-batch")

    def engine_event(self, event: Event) -> None:
        match event:
            case events.JobStarted(kind="train" | "sweep"):
                self.opened = None
            case events.JobDone(kind="setup"):
                self.left.fill()
            case events.JobDone(result=FindRateResult() as found):
                key = key_for("train.find-rate")
                self.host.note(f"a learning rate is found: {found.suggested:g}; {key} shows it")
            case (
                events.JobDone(kind="train" | "sweep")
                | events.JobFailed(kind="train" | "sweep")
                | events.JobCancelled(kind="train" | "sweep")
            ):
                self.host.pinned.refresh()
                self.left.look_at_runs()

    def reload(self) -> None:
        self.left.fill()
        self.left.look_at_runs()
        self.host.pinned.refresh()

    def _chart_head(self, width: int) -> tuple[Parts, ...]:
        view, job = self.view, self._job
        name = visible(view.run or self._resumed)
        none = "no run shown" if self.has_runs else "no run yet"
        name = name or ("new run" if job and job.active else self._next or none)
        name += f" · pinned as {letter}" if (letter := self.host.pinned.letter(view.run)) else ""
        state, style = state_text(
            job, loaded=view.last is not None, elsewhere=self.followed is not None
        )
        rows = view.rows
        about = ""
        if job is not None and job.active and job.progress is not None and view.last is not None:
            about = f"  {labelled(job.progress)}"
        elif rows is not None:
            dropped = sum(rows.dropped.values())
            about = f"  {count(rows.kept, 'trajectory', 'trajectories')} · loss on "
            about += f"{short_number(rows.trained_tokens)} of {short_number(rows.tokens)} tokens"
            about += f" · {dropped} dropped" if dropped else ""
            about += f" · {sum(rows.notes.values())} noted" if rows.notes else ""
        room = max(0, width - len(name) - len(state) - 4)
        return (((f" {name}", "strong"), (fit(about, room), "quiet"), (f" {state} ", style)),)

    def _stats(self, width: int) -> tuple[Parts, ...]:
        # What another process does between two steps is not known.
        waited = time.monotonic() - self._stepped if self._active else 0.0
        return figures.lines(self.view, self._goes_on, width, waited)

    def _look_at_step(self) -> None:
        """Note since when no step has come; a run that measures or is paused makes none."""
        job, last = self._job, self.view.last
        waits = job is not None and job.status == "running" and job.progress is None
        if not waits or last is not self._last:
            self._last, self._stepped = last, time.monotonic()

    @property
    def _active(self) -> bool:
        return self._job is not None and self._job.active

    @property
    def _goes_on(self) -> bool:
        """Whether the run that is shown is trained now, here or in another process."""
        return self._active or self.followed is not None

    # --- keys: the run ----------------------------------------------------------------------

    def _job_from_form(self) -> jobs.Train | None:
        """The run that the form describes; None = it is invalid, and the reason is shown."""
        if self.form.typing and not self.form.commit():
            return None
        if not self.has_base():
            return None
        try:
            if has_files_here(self.host.bridge):
                refuse_nothing(self.host.data)
            return self.left.job()
        except SekftError as error:
            self.host.error(str(error))
            return None

    def action_start(self) -> None:
        job = self._job_from_form()
        if job is not None:
            self.start(job, self._begun, self.left.run_size())

    def _begun(self) -> None:
        self.left.put("name", "")  # the base can have only one adapter of a name
        self.show_started()

    def show_started(self) -> None:
        """Show the run that was just started."""
        self.opened = None
        self.watch_started()

    def action_find_rate(self) -> None:
        job = self._job_from_form()
        if job is not None:
            find_rate.find(self.host, job, self.left)

    def action_sweep(self) -> None:
        job = self._job_from_form()
        if job is not None:
            start_sweep.ask(
                self.host, job, lambda sweep, size: self.start(sweep, self.show_started, size)
            )

    def action_stop(self) -> None:
        if not self._active:
            self.say_no_job("run", "stop")
        elif self.host.bridge.stop(after_step=True):
            self.host.note("stopping after this step; the adapter is saved")

    def action_pause(self) -> None:
        self.toggle_pause("run", "train.pause")

    def action_checkpoint(self) -> None:
        if not self._active:
            self.say_no_job("run", "save")
        else:
            self.host.bridge.submit(jobs.Checkpoint())
            self.host.note("saving after this step; ▲ marks it")

    # --- keys: the view ---------------------------------------------------------------------

    def action_recipe(self) -> None:
        self.toggle_form()

    def action_batch(self) -> None:
        """Go to the batch, or back to the chart."""
        if self.is_on(self.step_batch.list):
            self.remove_class("-batch")
            self.go_to(self.chart)
            return
        if self.narrow:
            self.add_class("-no-form")
        if not self.has_class("-tall"):
            self.add_class("-batch")
        self._show_batch()
        self.go_to(self.step_batch.list)

    def _open_row(self, trajectory: str) -> None:
        self.request(OpenTrajectory(trajectory))

    def action_pin(self) -> None:
        if self.view.run:
            self.host.note(self.host.pinned.toggle(self.view.run))
            self.redraw()
        else:
            self.host.note("no run to pin")

    def action_beside(self) -> None:
        self.host.open_after(choose_runs.ask(self.host, self.redraw))

    def action_back(self) -> None:
        if self.form.cancel_edit():
            return
        if self.is_on(self.step_batch.list):
            self.action_batch()
        elif self.chart.view.cursor:
            self.chart.point(0)
        elif self.opened is not None:
            self.opened = None
            self.redraw()

    def export_name(self) -> str:
        return f"sekft-{file_name(self.view.run or 'train')}"

    def exports(self) -> dict[str, Writer]:
        """The curves: every step with its numbers."""
        view = self.view
        if view.last is None:
            return {}
        columns: dict[str, list[object]] = {
            name: list(view.column(name).tolist()) for name in COLUMNS
        }
        heldout = dict(zip(*(part.tolist() for part in view.heldout.view()), strict=True))
        columns["heldout"] = [heldout.get(step) for step in view.column("step").tolist()]
        about = {"run": view.run, "marks": [mark._asdict() for mark in view.marks]}
        return {".csv": lambda: as_csv(columns), ".json": lambda: as_json(columns, **about)}

    def plain(self) -> str:
        if self.is_on(self.form):
            return self.form.plain()
        return self.step_batch.plain() if self.is_on(self.step_batch.list) else self.chart.plain()
