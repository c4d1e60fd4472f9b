"""The pane: set-up, grid and rates wired together."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from sekft_engine import demo, events
from sekft_engine.errors import SekftError
from sekft_engine.events import Event
from sekft_tui.actions import Place, bindings
from sekft_tui.eval_view import EvalView
from sekft_tui.panes.eval.rates import Rates
from sekft_tui.panes.eval.setup import Choice, SetUp
from sekft_tui.panes.pane import FormPane, Part
from sekft_tui.panes.state_text import hint, state_text
from sekft_tui.reducer import JobView, Shared
from sekft_tui.screens.figures import FiguresScreen
from sekft_tui.text import Parts, duration, fit, visible, wrapped
from sekft_tui.widgets.lines import Lines
from sekft_tui.widgets.recipe_form import RecipeForm
from sekft_tui.widgets.verdict_grid import CellLook, GridRow, VerdictGrid

_IDLE = ("no verdicts yet", "", "s lets the chosen subjects act", "space chooses who")


class EvalPane(FormPane):
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
    EvalPane #eval-help { height: 6; }
    .-narrow EvalPane #eval-help { height: 3; }
    EvalPane #eval-rates { height: auto; min-height: 2; max-height: 11; }
    """

    def __init__(self) -> None:
        super().__init__(id="eval")
        self.setup = SetUp()
        self.opened: EvalView | None = None
        self.view = EvalView()
        self._job: JobView | None = None
        self._table = Rates()
        self._drawn = 0  # of what the view says was touched
        self._row_of: dict[str, int] = {}
        self._told: tuple[str, bool] = ("", False)
        self._wanted: str = ""

    def compose(self) -> ComposeResult:
        self.form = RecipeForm(
            check=self.setup.check,
            changed=self._changed,
            pressed=lambda _: self.action_start(),
            told=self._tell,
            id="eval-form",
        )
        self.help = Lines(self._help, id="eval-help")
        self.grid = VerdictGrid(self._open, id="eval-grid")
        self.grid_head = Lines(self._grid_head)
        self.columns = Lines(lambda width: (self.grid.header(width),), id="eval-columns")
        self.rates = Lines(lambda width: self._table.lines(self.view, width), id="eval-rates")
        form_head = Lines(lambda _: (((" Who acts, on what", "strong"),),))
        with Container(id="eval-split"):
            yield Part(form_head, self.form, self.help, id="eval-left")
            yield Part(self.grid_head, self.columns, self.grid, self.rates, id="eval-right")

    def on_mount(self) -> None:
        if self.host.is_demo:
            limits = {"step_cap": str(demo.STEP_CAP), "turn_tokens": str(demo.TURN_TOKENS)}
            self.setup.values |= limits
        self._fill()
        self.reload()

    def first_focus(self) -> Widget:
        return self.grid if self.has_class("-no-form") else self.form

    def watchable(self) -> tuple[Widget, ...]:
        return (self.grid,)

    # --- set-up -----------------------------------------------------------------------------

    def reload(self) -> None:
        self._read_disk()

    @work(exclusive=True, group="eval-load")
    async def _read_disk(self) -> None:
        """Look for finished runs with an adapter, newest first."""
        host = self.host
        adapters, count = await asyncio.to_thread(
            _look, host.workspace.runs, host.workspace.holdout_scenarios
        )
        self.setup.offer(adapters, count, self._wanted)
        if self._wanted in {adapter.path for adapter in adapters}:
            self._wanted = ""
        self._fill()

    def choose(self, path: str) -> None:
        """Take the adapter in ``path`` in."""
        self._wanted = path
        self.reload()

    def _fill(self) -> None:
        self.form.set_fields(self.setup.fields(self.host.workspace.holdout_scenarios))
        if self.form.cursor == 0:
            self.form.move_to(1)

    def _changed(self, name: str, value: str) -> None:
        self.setup.change(name, value)
        self._fill()

    def _tell(self, text: str, wrong: bool) -> None:
        self._told = (text, wrong)
        self.help.update()

    def _help(self, width: int) -> tuple[Parts, ...]:
        text, wrong = self._told
        lines = wrapped(text, max(10, width - 3))[: self.help.size.height]
        style = "bad" if wrong else "quiet"
        return tuple(
            (("✗ " if wrong and not number else "  ", "bad"), (line, style))
            for number, line in enumerate(lines)
        )

    # --- grid -------------------------------------------------------------------------------

    def open_run(self, view: EvalView) -> None:
        """Show a run from its journal, until a new one starts."""
        self.opened = view
        self.add_class("-no-form")
        self.host.redraw_pane()
        self.go_to(self.grid)

    def draw(self, shared: Shared) -> None:
        self._job = shared.jobs.get(shared.eval.job) if self.opened is None else None
        view = self.opened if self.opened is not None else shared.eval
        self.grid.empty = hint(self._job, _IDLE, "preparing the worlds", self.grid.content_width)
        self._fill_grid(view)
        self.rates.styles.height = max(2, len(self._table.lines(view, 80)))
        for lines in (self.grid_head, self.columns, self.rates):
            lines.update()

    def _fill_grid(self, view: EvalView) -> None:
        """Only the rows that changed, where it is the grid of before."""
        subjects = tuple(view.subjects)
        before, self.view = self.view, view
        if view is before and subjects == self.grid.subjects and self.grid.rows:
            fresh = view.touched[self._drawn :]
            self._drawn += len(fresh)
            for scenario in {scenario for _, scenario in fresh}:
                y = self._row_of.get(scenario)
                if y is not None:
                    self.grid.put(y, _row_of(view, y))
            return
        self._drawn = len(view.touched)
        self._row_of = {scenario: y for y, scenario in enumerate(view.scenarios)}
        self.grid.fill(subjects, [_row_of(view, y) for y in range(len(view.scenarios))])

    def _grid_head(self, width: int) -> tuple[Parts, ...]:
        view = self.view
        state, style = state_text(self._job, loaded=bool(view.cells))
        name = visible(view.run) or "no eval yet"
        about = f"  {view.done} of {view.total} episodes" if view.total else ""
        if self._job is not None and self._job.status == "running":
            eta = view.eta(time.time())
            about += f"   about {duration(eta)} left" if eta else ""
        room = max(0, width - len(name) - len(state) - 4)
        return (((f" {name}", "strong"), (fit(about, room), "quiet"), (f" {state} ", style)),)

    # --- keys -------------------------------------------------------------------------------

    async def _open(self) -> None:
        chosen = self.grid.chosen
        if chosen is None:
            return
        cell = self.view.cells.get(chosen)
        if cell is None or cell.status == "waiting":
            self.host.note("this episode has not begun")
            return
        await self.host.open_episode(self.view, *chosen)

    def action_start(self) -> None:
        if self.form.typing and not self.form.commit():
            return
        host = self.host
        if not host.base:
            host.error("no base in this workspace (sekft base add smollm2-135m adds one)")
            return
        if why := self.setup.contradiction():
            host.note(why)
            return
        self.opened = None
        host.bridge.submit(self.setup.job(host.base, host.workspace.holdout_scenarios))
        if host.narrow:
            self.add_class("-no-form")
        self.go_to(self.grid)

    def action_stop(self) -> None:
        if self._job is None or not self._job.active:
            self.host.note("no eval to stop")
        elif self.host.bridge.stop(after_step=True):
            self.host.note("stopping; finished episodes are kept")

    def action_setup(self) -> None:
        self.toggle_class("-no-form")
        self.go_to(self.grid if self.has_class("-no-form") else self.form)

    def action_take(self) -> None:
        field = self.form.field
        if self.is_on(self.form) and field is not None and field.kind == "check":
            self.form.action_choose()

    def action_column(self, by: int) -> None:
        self.grid.step_column(by)

    def action_telling(self, by: int) -> None:
        if not self.grid.step_telling(by):
            self.host.note("no further world in which they differ")

    def action_figures(self) -> None:
        if self.view.path:
            self.host.push_screen(FiguresScreen(Path(self.view.path), self.view.subjects))
        else:
            self.host.note("no eval is shown")

    def action_back(self) -> None:
        if self.form.drop():
            return
        if self.is_on(self.grid):
            self.remove_class("-no-form")
            self.go_to(self.form)
        elif self.opened is not None:
            self.opened = None
            self.host.redraw_pane()

    def heard(self, event: Event) -> None:
        if isinstance(event, events.JobStarted) and event.kind == "eval":
            self.opened = None
        elif isinstance(event, events.AdapterSaved):
            self.choose(event.path)
        elif isinstance(event, events.JobDone) and event.kind in ("train", "setup"):
            self.reload()

    def plain(self) -> str:
        if self.is_on(self.form):
            return self.form.plain()
        rows = [self.columns.plain(), self.grid.plain(), "", self.rates.plain()]
        return "\n".join(rows)


def _look(runs: Path, scenarios: Path) -> tuple[tuple[Choice, ...], int]:
    """Finished runs with an adapter, newest first, and how many scenarios there are."""
    from sekft_engine.runs import list_runs

    try:
        found = [run for run in list_runs(runs) if run.kind == "train" and run.adapter]
    except (OSError, SekftError):
        found = []
    adapters = tuple(Choice(run.id, run.adapter) for run in reversed(found))
    return adapters, sum(1 for _ in scenarios.glob("*.json"))


def _row_of(view: EvalView, y: int) -> GridRow:
    scenario = view.scenarios[y]
    archetype = view.archetypes[y] if y < len(view.archetypes) else ""
    return GridRow(
        scenario, archetype, tuple(_look_of(view, name, scenario) for name in view.subjects)
    )


def _look_of(view: EvalView, subject: str, scenario: str) -> CellLook:
    cell = view.cells.get((subject, scenario))
    if cell is None:
        return CellLook()
    return CellLook(cell.status, cell.turns, cell.seconds, cell.verdict)
