"""Eval: who acts on which worlds, and a grid of verdicts that fills while they do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar, NamedTuple

from textual import work
from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from sekft_engine import demo, events, jobs
from sekft_engine.errors import SekftError
from sekft_engine.evaluate.stats import what_n_shows, wilson
from sekft_engine.events import EpisodeDone, Event
from sekft_tui.actions import Place, bindings
from sekft_tui.panes.pane import Pane, Part
from sekft_tui.panes.state_text import hint, state_text
from sekft_tui.reducer import EvalView, JobView, Shared
from sekft_tui.text import Parts, clip, fit, short_path, visible
from sekft_tui.widgets.lines import Lines
from sekft_tui.widgets.recipe_form import Field, RecipeForm
from sekft_tui.widgets.verdict_grid import CellLook, GridRow, VerdictGrid

#: The measures as the table heads them, in order of importance.
MEASURES = (
    ("clean_termination", "clean end"),
    ("verified", "verified"),
    ("operates", "operates"),
    ("terminates", "terminates"),
)
_IDLE = ("no verdicts yet", "", "s lets the chosen subjects act", "space chooses who")
_NUMBERS = {
    "n": "how many held-out scenarios, spread over archetypes; 0 = all",
    "step_cap": "commands after which an episode is cut off",
    "turn_tokens": "tokens after which a command is cut off",
    "seed": "order of the scenarios, and sampling",
}


class Choice(NamedTuple):
    """Someone who can act: the base (no path) or an adapter."""

    name: str
    path: str = ""


class EvalPane(Pane):
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
    EvalPane #eval-help { height: 3; }
    EvalPane #eval-rates { height: auto; min-height: 2; max-height: 8; }
    """

    def __init__(self) -> None:
        super().__init__(id="eval")
        self.choices: tuple[Choice, ...] = (Choice("base"),)
        self.chosen: set[str] = {""}
        self.values = {"n": "16", "step_cap": "12", "turn_tokens": "64", "seed": "0"}
        self.scenarios = 0
        self.opened: EvalView | None = None
        self.view = EvalView()
        self._job: JobView | None = None
        self._rates: tuple[Parts, ...] = ()
        self._told: tuple[str, bool] = ("", False)
        self._wanted: str = ""

    def compose(self) -> ComposeResult:
        self.form = RecipeForm(
            check=self._check,
            changed=self._changed,
            pressed=lambda _: self.action_start(),
            told=self._tell,
            id="eval-form",
        )
        self.help = Lines(self._help, id="eval-help")
        self.grid = VerdictGrid(self._open, id="eval-grid")
        self.grid_head = Lines(self._grid_head)
        self.columns = Lines(lambda width: (self.grid.header(width),), id="eval-columns")
        self.rates = Lines(lambda _: self._rates, id="eval-rates")
        form_head = Lines(lambda _: (((" Who acts, on what", "strong"),),))
        with Container(id="eval-split"):
            yield Part(form_head, self.form, self.help, id="eval-left")
            yield Part(self.grid_head, self.columns, self.grid, self.rates, id="eval-right")

    def on_mount(self) -> None:
        if self.host.is_demo:
            self.values |= {"step_cap": str(demo.STEP_CAP), "turn_tokens": str(demo.TURN_TOKENS)}
        self._fill()
        self.reload()

    def first_focus(self) -> Widget:
        return self.grid if self.has_class("-no-form") else self.form

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
        self.choices = (Choice("base"), *adapters)
        self.scenarios = count
        if 0 < count < int(self.values["n"]):
            self.values["n"] = str(count)
        known = {choice.path for choice in self.choices}
        self.chosen = (self.chosen & known) or {""}
        if self._wanted and self._wanted in known:
            self.chosen.add(self._wanted)
            self._wanted = ""
        elif adapters and self.chosen == {""}:
            self.chosen.add(adapters[0].path)
        self._fill()

    def choose(self, path: str) -> None:
        """Take the adapter in ``path`` in."""
        self._wanted = path
        self.reload()

    def _fill(self) -> None:
        n = self.values["n"]
        people = [
            Field(choice.path or "base", "yes" if choice.path in self.chosen else "",
                  short_path(choice.path) if choice.path else "the base without an adapter",
                  "check", label=choice.name)
            for choice in self.choices
        ]  # fmt: skip
        numbers = [
            Field(
                name, self.values[name], what_n_shows(int(n)) if name == "n" and n != "0" else text
            )
            for name, text in _NUMBERS.items()
        ]
        where = self.host.workspace.holdout_scenarios
        self.form.set_fields(
            (
                Field("subjects", "", "space takes one in or leaves it out", "head"),
                *people,
                Field("worlds", "", "held-out scenarios: archetypes not trained on", "head"),
                Field("scenarios", f"{self.scenarios} held out", short_path(str(where)), "fact"),
                *numbers,
                Field("start", "", "let the chosen subjects act in sandboxed worlds", "button",
                      label="▸ start the eval"),
            )
        )  # fmt: skip
        if self.form.cursor == 0:
            self.form.move_to(1)

    def _check(self, name: str, value: str) -> str:
        low = 0 if name in ("n", "seed") else 1
        if name == "n" and value.isdecimal() and int(value) > self.scenarios > 0:
            return f"n: there are only {self.scenarios} held-out scenarios"
        if not value.isdecimal() or int(value) < low:
            return f"{name.replace('_', ' ')}: a whole number from {low} on is wanted"
        return ""

    def _changed(self, name: str, value: str) -> None:
        if name in self.values:
            self.values[name] = value
        else:
            self.chosen ^= {"" if name == "base" else name}
        self._fill()

    def _tell(self, text: str, wrong: bool) -> None:
        self._told = (text, wrong)
        self.help.update()

    def _help(self, width: int) -> tuple[Parts, ...]:
        from sekft_tui.text import wrapped

        text, wrong = self._told
        lines = wrapped(text, max(10, width - 3))[:3]
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
        self.view = self.opened if self.opened is not None else shared.eval
        view = self.view
        subjects = tuple(view.subjects)
        grid = tuple(
            GridRow(scenario, archetype, tuple(_look_of(view, name, scenario) for name in subjects))
            for scenario, archetype in zip(view.scenarios, view.archetypes, strict=False)
        )
        self.grid.empty = hint(self._job, _IDLE, "preparing the worlds", self.grid.content_width)
        self.grid.show(subjects, grid)
        if not grid:
            self.grid.set_rows(0)
        self._rates = self._rate_lines(view, self.rates.size.width or 80)
        self.rates.styles.height = max(2, min(8, len(self._rates)))
        for lines in (self.grid_head, self.columns, self.rates):
            lines.update()

    def _grid_head(self, width: int) -> tuple[Parts, ...]:
        view = self.view
        done = sum(cell.status == "done" for cell in view.cells.values())
        total = len(view.subjects) * len(view.scenarios)
        state, style = state_text(self._job, loaded=bool(view.cells))
        name = visible(view.run) or "no eval yet"
        about = f"  {done} of {total} episodes" if total else ""
        room = max(0, width - len(name) - len(state) - 4)
        return (((f" {name}", "strong"), (fit(about, room), "quiet"), (f" {state} ", style)),)

    def _rate_lines(self, view: EvalView, width: int) -> tuple[Parts, ...]:
        """A table: measures across, subjects down, with n and the 95 % interval."""
        if not view.subjects:
            return ()
        wide = width >= 116
        each = 22 if wide else 15
        longest = max(len(subject) for subject in view.subjects)
        name = max(8, min(longest + 1, width - each * len(MEASURES) - 10))
        head: list[tuple[str, str]] = [(" " + fit("rate [95 %]", name + 9), "quiet")]
        head += [(fit(title, each), "quiet") for _, title in MEASURES]
        lines: list[Parts] = [tuple(head)]
        for subject in view.subjects[:7]:
            verdicts = view.verdicts(subject)
            invalid = view.invalid(subject)
            n = f"n={len(verdicts)}" + (f" +{invalid}!" if invalid else "")
            row: list[tuple[str, str]] = [
                (" " + fit(visible(subject), name), "strong"),
                (fit(n, 8, right=True) + " ", "warn" if invalid else "quiet"),
            ]
            for measure, _ in MEASURES:
                row += _rate(verdicts, measure, each, wide)
            lines.append(tuple(row))
        return tuple(lines)

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
        if not self.chosen:
            host.note("choose at least one subject with space")
            return
        adapters = tuple(c.path for c in self.choices if c.path and c.path in self.chosen)
        self.opened = None
        host.bridge.submit(
            jobs.Evaluate(
                base=host.base,
                adapters=adapters,
                with_base="" in self.chosen,
                scenarios=str(host.workspace.holdout_scenarios),
                n=int(self.values["n"]),
                seed=int(self.values["seed"]),
                step_cap=int(self.values["step_cap"]),
                turn_tokens=int(self.values["turn_tokens"]),
            )
        )
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


def _look_of(view: EvalView, subject: str, scenario: str) -> CellLook:
    cell = view.cells.get((subject, scenario))
    if cell is None:
        return CellLook()
    return CellLook(cell.status, cell.turns, cell.seconds, cell.verdict)


def _rate(verdicts: list[EpisodeDone], measure: str, each: int, wide: bool) -> Parts:
    n = len(verdicts)
    k = sum(bool(getattr(verdict, measure)) for verdict in verdicts)
    if not n:
        return ((fit("-", each), "quiet"),)
    low, high = wilson(k, n)
    text = f"{k}/{n}"
    if wide:
        text += f"  {100 * k / n:.0f} %"
    interval = f" [{100 * low:.0f},{100 * high:.0f}]"
    return ((clip(text, each), "strong"), (fit(interval, max(0, each - len(text))), "quiet"))
