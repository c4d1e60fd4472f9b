"""The Eval pane: set-up, grid and rates."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from sekft_engine import demo
from sekft_engine.episodes.verdict import MEASURES
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_tui.host import Host
from sekft_tui.input.actions import bindings, key_for
from sekft_tui.input.footer import FooterState, Item
from sekft_tui.input.places import Place
from sekft_tui.messages import OpenEpisode
from sekft_tui.model.evaluation import EvalView
from sekft_tui.model.job_text import (
    begun_elsewhere,
    hint,
    next_run,
    no_worlds,
    resumed_run,
    state_text,
)
from sekft_tui.model.reducer import Shared
from sekft_tui.panes.eval.grid import EvalGrid
from sekft_tui.panes.eval.rates import Rates
from sekft_tui.panes.eval.setup import EvalSetup, read_choices
from sekft_tui.panes.form_pane import FormPane
from sekft_tui.panes.pane import Part
from sekft_tui.panes.searching import SearchedPane
from sekft_tui.process.attachment import has_files_here
from sekft_tui.process.exporting import Writer, as_csv, as_json, file_name
from sekft_tui.screens.figures import FiguresScreen
from sekft_tui.screens.live import LiveScreen
from sekft_tui.text import Parts, duration, fit, visible
from sekft_tui.widgets.form import Form, enter_label
from sekft_tui.widgets.form_help import FormHelp
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.lines import Lines

_IDLE = ("no verdicts yet", "", "{start} evaluates the chosen models", "{take} chooses them")


class EvalPane(FormPane[EvalView], SearchedPane):
    """Set-up to the left, grid and rates to the right; in narrow terminals one at a time."""

    place: ClassVar[Place] = "eval"
    BINDINGS = bindings("eval")
    SCOPED_CSS = False
    DEFAULT_CSS = """
    EvalPane #eval-split { layout: horizontal; }
    EvalPane #eval-left { width: 42; border-right: solid $line; }
    EvalPane.-no-form #eval-left { display: none; }
    .-narrow EvalPane #eval-left { width: 1fr; border: none; }
    .-narrow EvalPane #eval-right { display: none; }
    .-narrow EvalPane.-no-form #eval-right { display: block; }
    EvalPane #eval-help { height: 6; min-height: 6; }
    .-narrow EvalPane #eval-help { height: 3; min-height: 3; }
    EvalPane #eval-rates { height: auto; min-height: 2; max-height: 60%; }
    """

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.setup = EvalSetup()
        self._defaults = dict(self.setup.values)
        self.view = EvalView()
        self._rates = Rates()
        self._wanted = ""  # the adapter to choose as soon as it is found
        self._next = ""  # what is said of an eval that is to begin
        self._resumed = ""  # the run that the job resumes, before it says so itself

    def compose(self) -> ComposeResult:
        self.help = FormHelp(id="eval-help")
        self.form = Form(
            check=self.setup.check,
            changed=self._changed,
            pressed=lambda _: self.action_start(),
            show_help=self.help.show_help,
            say=self.host.note,
            id="eval-form",
        )
        self.grid = EvalGrid(self._open)
        self.grid_head = Lines(self._grid_head)
        self.columns = Lines(lambda width: (self.grid.header(width),), id="eval-columns")
        self.rates = Lines(lambda width: self._rates.lines(self.view, width), id="eval-rates")
        form_head = Lines(lambda _: (((" Set-up", "strong"),),))
        with Container(id="eval-split"):
            yield Part(form_head, self.form, self.help, id="eval-left")
            yield Part(self.grid_head, self.columns, self.grid, self.rates, id="eval-right")

    def on_mount(self) -> None:
        if self.host.is_demo:
            limits = {"step_cap": str(demo.STEP_CAP), "turn_tokens": str(demo.TURN_TOKENS)}
            self.setup.values |= limits
        self._defaults = dict(self.setup.values)
        self.setup.restore(self.host.remembered.form("eval"))
        self._fill()
        self.reload()
        self.show_last()

    def extent(self, view: EvalView) -> int:
        return len(view.touched)

    def kept(self) -> dict[str, str]:
        return {"run": self.view.run if self.opened is not None else ""}

    def on_resize(self) -> None:
        super().on_resize()
        self.redraw()  # titles in one line or two

    def watchable(self) -> tuple[Widget, ...]:
        return (self.grid,)

    # --- set-up -----------------------------------------------------------------------------

    def reload(self) -> None:
        self._read_disk()

    @work(exclusive=True, group="eval-load")
    async def _read_disk(self) -> None:
        """Read the adapters and scenarios that can be chosen."""
        host = self.host
        adapters, count, worlds = await asyncio.to_thread(
            read_choices, host.workspace.runs, host.workspace.holdout_scenarios
        )
        self.setup.set_choices(adapters, count, self._wanted, worlds)
        if self._wanted in {adapter.path for adapter in adapters}:
            self._wanted = ""
            self._keep()
        self._fill()

    def choose(self, path: str) -> None:
        """Choose the adapter in ``path``, as the user asked elsewhere."""
        self.setup.decide_models()
        self._choose_saved(path)

    def _choose_saved(self, path: str) -> None:
        """Choose the adapter in ``path`` as soon as it is found."""
        self._wanted = path
        self.reload()

    def _keep(self) -> None:
        """Remember what the user has changed."""
        self.host.remembered.keep_form("eval", self.setup.changed(self._defaults))

    def _fill(self) -> None:
        self.form.set_fields(self.setup.fields(self.host.workspace.holdout_scenarios))
        if self.form.cursor == 0:
            self.form.move_to(1)

    def _changed(self, name: str, value: str) -> None:
        self.setup.change(name, value)
        self._keep()
        self._fill()

    # --- grid -------------------------------------------------------------------------------

    def open_run(self, view: EvalView) -> None:
        """Show a run from its journal, until a new eval starts."""
        self.opened = view
        self.show_right()
        self.follow(view.path)

    def draw(self, shared: Shared) -> None:
        view = self.show_told(shared.eval, shared.jobs.get(shared.eval.job))
        self._next = next_run(shared, ("eval",), "an eval")
        idle = tuple(
            line.format(start=key_for("eval.start"), take=key_for("eval.take")) for line in _IDLE
        )
        if self._next:
            idle = (self._next, "", f"{key_for('global.queue')} shows the queue")
        if self.followed is not None:
            idle = (begun_elsewhere(view.run),)
        running = shared.queue.running if shared.queue is not None else None
        is_eval = running is not None and running.kind == "eval"
        self._resumed = resumed_run(running) if running is not None and is_eval else ""
        self.grid.empty = hint(self._job, idle, "preparing the worlds")
        self.view = view
        self.grid.show(view)
        self.rates.styles.height = max(2, len(self._rates.lines(view, self.rates.size.width or 80)))
        for lines in (self.grid_head, self.columns, self.rates):
            lines.update()

    def _grid_head(self, width: int) -> tuple[Parts, ...]:
        view = self.view
        state, style = state_text(
            self._job, loaded=bool(view.cells), elsewhere=self.followed is not None
        )
        none = "no eval shown" if self.has_runs else "no eval yet"
        active = self._job is not None and self._job.active
        name = visible(view.run or self._resumed)
        name = name or ("new eval" if active else self._next or none)
        about = f"  {view.done} of {view.total} episodes" if view.total else ""
        if self._job is not None and self._job.status == "running":
            eta = view.eta(time.time())
            about += f"   about {duration(eta)} left" if eta else ""
        room = max(0, width - len(name) - len(state) - 4)
        return (((f" {name}", "strong"), (fit(about, room), "quiet"), (f" {state} ", style)),)

    # --- keys -------------------------------------------------------------------------------

    def searched(self) -> LineList:
        if self.narrow:
            self.add_class("-no-form")
        return self.grid

    def row_text(self, y: int) -> str:
        row = self.grid.grid[y]
        return f"{row.scenario} {row.archetype}"

    def footer(self) -> FooterState:
        labels = self.match_labels()
        status = self._job.status if self._job is not None and self._job.active else ""
        if not status:
            labels["stop"] = ""
        if status in ("", "queued", "stopping"):
            labels["pause"] = ""
        if status == "stopping":
            labels["stop"] = "stopping"
        elif status in ("pausing", "paused"):
            labels["pause"] = "resume"
        if not self.grid.rows:
            labels["search"] = ""
        if not self.view.path:
            labels["figures"] = ""
        field = self.form.field
        if not self.is_on(self.form) or field is None or field.kind != "check":
            labels["take"] = ""
        if self.has_class("-no-form"):
            labels["setup"] = "show set-up"
        enter = enter_label(field) if self.is_on(self.form) else "replay"
        if self.is_on(self.grid) and self.grid.chosen is None:
            enter = ""
        first = (Item(key_for("motion.choose"), enter),) if enter else ()
        return FooterState(labels, first)

    def _open(self) -> None:
        chosen = self.grid.chosen
        if chosen is None:
            return
        cell = self.view.cells.get(chosen)
        if cell is None or cell.status == "waiting":
            self.host.note("this episode has not started")
            return
        if cell.status == "running" and self.opened is None:
            self.host.push_screen(LiveScreen(self.host.bridge, chosen), self._replay)
        else:
            self._replay(chosen)

    def _replay(self, chosen: tuple[str, str] | None) -> None:
        if chosen is not None:
            self.request(OpenEpisode(self.view, *chosen))

    def action_start(self) -> None:
        if self.form.typing and not self.form.commit():
            return
        host = self.host
        if not self.has_base():
            return
        worlds = host.workspace.holdout_scenarios
        if (
            has_files_here(host.bridge)
            and not self.setup.scenarios
            and not any(worlds.glob("*.json"))
        ):
            host.error(no_worlds(host.demo_made))
            return
        if why := self.setup.problem():
            host.note(why)
            return
        job = self.setup.job(host.base, host.workspace.holdout_scenarios)
        self.start(job, self._begun, self.setup.size(self.view.pace))

    def _begun(self) -> None:
        self.opened = None
        self.watch_started()

    def action_stop(self) -> None:
        if self._job is None or not self._job.active:
            self.say_no_job("eval", "stop")
        elif self.host.bridge.stop(after_step=True):
            self.host.note("stopping; finished episodes are kept")

    def action_pause(self) -> None:
        self.toggle_pause("eval", "eval.pause")

    def action_setup(self) -> None:
        self.toggle_form()

    def action_take(self) -> None:
        field = self.form.field
        if self.is_on(self.form) and field is not None and field.kind == "check":
            self.form.action_choose()

    def action_column(self, by: int) -> None:
        self.grid.step_column(by)

    def action_differing(self, by: int) -> None:
        if not self.grid.step_differing(by):
            self.host.note("no further world in which they differ")

    def action_figures(self) -> None:
        if self.view.path:
            self.host.push_screen(
                FiguresScreen(Path(self.view.path), self.view.models, self.view.controls)
            )
        else:
            self.host.note("no eval is shown")

    def action_back(self) -> None:
        if self.form.cancel_edit():
            return
        if self.is_on(self.grid):
            self.remove_class("-no-form")
            self.go_to(self.form)
        elif self.opened is not None:
            self.opened = None
            self.redraw()

    def engine_event(self, event: Event) -> None:
        match event:
            case events.JobStarted(kind="eval"):
                self.opened = None
            case events.AdapterSaved() if not self.setup.models_are_decided:
                self._choose_saved(event.path)
            case events.AdapterSaved():
                self.reload()
            case events.JobDone(kind="train" | "setup"):
                self.reload()

    def export_name(self) -> str:
        return f"sekft-{file_name(self.view.run or 'eval')}"

    def exports(self) -> dict[str, Writer]:
        """The verdicts so far, a line for each episode."""
        view = self.view
        done = [
            (subject, cell.verdict)
            for (subject, _), cell in view.cells.items()
            if cell.verdict is not None
        ]
        if not done:
            return {}
        names = ("scenario", "archetype", "outcome", "expected", "steps", "turns", "seconds",
                 *MEASURES, "clean", "invalid")  # fmt: skip
        columns: dict[str, list[object]] = {"subject": [subject for subject, _ in done]}
        columns |= {
            name: [getattr(verdict, name) for _, verdict in done] for name in dict.fromkeys(names)
        }
        return {".csv": lambda: as_csv(columns), ".json": lambda: as_json(columns, run=view.run)}

    def plain(self) -> str:
        if self.is_on(self.form):
            return self.form.plain()
        rows = [self.columns.plain(), self.grid.plain(), "", self.rates.plain()]
        return "\n".join(rows)
