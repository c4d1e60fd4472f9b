"""Runs: every training run, eval, sweep and experiment of the workspace, with its result."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from sekft_engine.core.errors import SekftError
from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.records.resuming import resuming_job
from sekft_tui.host import Host
from sekft_tui.input.actions import Place, bindings, key_for
from sekft_tui.input.footer import FooterState, Item
from sekft_tui.messages import Evaluate, FollowTraining, ShowEpisodes, ShowRun
from sekft_tui.model.runs.groups import ListedRun, grouped
from sekft_tui.model.runs.stored import last_step, stored_view
from sekft_tui.model.runs.summary import summary
from sekft_tui.panes.pane import Part
from sekft_tui.panes.searching import SearchedPane
from sekft_tui.screens.box import Sheet
from sekft_tui.text import Parts, clip, fit, short_path, visible
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.lines import Lines

if TYPE_CHECKING:
    from sekft_engine.records.runs import RunInfo

_STATUS = {
    "running": ("▸", "accent"),
    "done": ("✓", "good"),
    "failed": ("✗", "bad"),
    "stopped": ("■", "warn"),
    "died": ("†", "bad"),
}


class RunsPane(SearchedPane):
    """A table above, the facts of the run under the cursor below."""

    place: ClassVar[Place] = "runs"
    BINDINGS = bindings("runs")
    SCOPED_CSS = False
    DEFAULT_CSS = """
    RunsPane #runs-top { height: 3fr; }
    RunsPane #runs-below { height: 2fr; }
    RunsPane.-no-side #runs-below { display: none; }
    """

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.runs: list[RunInfo] = []
        self.listed: list[ListedRun] = []
        self._wanted = self.before.get("run", "")
        self._steps: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        self.head = Lines(self._head)
        self.list = LineList(
            self._row, chosen=self.action_open, empty="reading runs …", id="runs-list"
        )
        self.facts_head = Lines(self._facts_head)
        self.facts = Sheet()
        with Container():
            yield Part(self.head, self.list, id="runs-top")
            yield Part(self.facts_head, self.facts, id="runs-below")

    def on_mount(self) -> None:
        self.reload()

    def first_focus(self) -> Widget:
        return self.list

    def shown(self) -> None:
        self.reload()

    def reload(self) -> None:
        self._read_disk()

    @work(exclusive=True, group="runs")
    async def _read_disk(self) -> None:
        from sekft_engine.records.runs import list_runs

        under = self.current.id if self.current else self._wanted
        try:
            found = await asyncio.to_thread(list_runs, self.host.workspace.runs)
        except (OSError, SekftError) as error:
            self.host.error(str(error))
            found = ()
        self.listed = grouped(found)
        self.runs = [each.run for each in self.listed]
        cut = [run for run in self.runs if run.kind == "train" and not run.error and not run.result]
        self._steps = await asyncio.to_thread(lambda: {run.id: last_step(run) for run in cut})
        ids = [run.id for run in self.runs]
        train, evals = key_for("global.pane-train"), key_for("global.pane-eval")
        start = key_for("train.start")
        self.list.empty = f"no runs yet\n{train} goes to Train, {evals} to Eval; {start} starts one"
        self.list.set_rows(len(self.runs), ids.index(under) if under in ids else 0)
        self.head.update()

    def engine_event(self, event: Event) -> None:
        if isinstance(event, (*events.ENDINGS, events.RunCreated)):
            self.reload()

    @property
    def current(self) -> RunInfo | None:
        return self.runs[self.list.cursor] if self.list.cursor < len(self.runs) else None

    def _head(self, width: int) -> tuple[Parts, ...]:
        name = _name_width(width)
        titles = fit("   run", name + 3) + fit("when", 13) + fit("status", 10) + "result"
        return (((titles, "quiet"),),)

    def _row(self, y: int, width: int) -> Parts:
        listed = self.listed[y]
        run, depth = listed.run, listed.depth
        glyph, style = _STATUS.get(run.status, ("·", "quiet"))
        name = _name_width(width)
        letter = self.host.pinned.letter(run.id)
        return (
            (glyph, style),
            (f"{letter or ' '} ", "accent"),
            (
                fit("  " * depth + visible(listed.name), name - 1) + " ",
                "text" if depth else "strong",
            ),
            (fit(_when(run.created), 13), "quiet"),
            (fit(run.status, 10), style),
            (clip(listed.short(self._summary(run)), max(0, width - name - 26)), "text"),
        )

    def _summary(self, run: RunInfo) -> str:
        """Its result; of a run that has none, how far it came."""
        return summary(run) or self._steps.get(run.id, "")

    @on(LineList.Moved, "#runs-list")
    def _moved(self) -> None:
        run = self.current
        self.facts.show(tuple(_facts(run)) if run else ())
        self.facts_head.update()

    def _facts_head(self, width: int) -> tuple[Parts, ...]:
        run = self.current
        if run is None:
            return ((),)
        return (
            (
                (f" {visible(run.id)}", "strong"),
                (clip("  " + short_path(run.path), width), "quiet"),
            ),
        )

    def searched(self) -> LineList:
        return self.list

    def row_text(self, y: int) -> str:
        run = self.runs[y]
        return f"{run.id} {run.kind} {run.name} {run.status} {self._summary(run)}"

    def footer(self) -> FooterState:
        run = self.current
        labels = self.match_labels()
        if run is None:
            none = dict.fromkeys(("evaluate", "episodes", "resume", "pin", "side", "search"), "")
            return FooterState({**labels, **none})
        if not run.adapter:
            labels["evaluate"] = ""
        if run.kind == "train":
            labels["episodes"] = ""
            if self.host.pinned.letter(run.id):
                labels["pin"] = "unpin"
        else:
            labels["pin"] = ""
        if run.status in ("done", "running"):
            labels["resume"] = ""
        return FooterState(labels, first=(Item(key_for("motion.choose"), "open"),))

    def kept(self) -> dict[str, str]:
        return {"run": self.current.id if self.current else self._wanted}

    # --- keys -------------------------------------------------------------------------------

    def action_side(self) -> None:
        """Show or hide the facts."""
        self.toggle_class("-no-side")
        self.go_to(self.list)

    def action_open(self) -> None:
        if self.current is None:
            return
        if self.current.kind == "shell":  # one session: its replay is all there is
            self.action_episodes()
        else:
            self._open(self.current)

    @work(exclusive=True, group="open")
    async def _open(self, run: RunInfo) -> None:
        """Show its journal in Train or Eval; of a sweep, an experiment or an improvement all
        training runs, one beside the other."""
        from sekft_engine.records.runs import read_run

        try:
            if run.kind in ("sweep", "experiment", "improve"):
                points = self._training_runs(run)
                if not points:
                    self.host.note(f"this {run.kind} has no training runs yet")
                    return
                self.host.pinned.replace(points)
                run = await asyncio.to_thread(read_run, self.host.workspace.runs / points[0])
            view = await asyncio.to_thread(stored_view, run)
        except (OSError, SekftError) as error:
            self.host.error(str(error))
            return
        self.request(ShowRun(view))

    def _training_runs(self, run: RunInfo) -> list[str]:
        """The ids of the training runs of a sweep, an experiment or an improvement, in order."""
        if run.kind == "sweep":
            return [str(point.get("run", "")) for point in run.about.get("points", [])]
        parts = (each.run for each in self.listed if each.run.id.startswith(f"{run.id}-"))
        return [part.id for part in parts if part.kind == "train"]

    def action_pin(self) -> None:
        run = self.current
        if run is None or run.kind != "train":
            self.host.note("only training runs have curves")
            return
        self.host.note(self.host.pinned.toggle(run.id))
        self.list.redraw()

    def action_resume(self) -> None:
        run = self.current
        if run is None or run.status in ("done", "running"):
            self.host.note("nothing to resume: choose a run that was stopped or died")
        elif self._is_queued(run):
            key = key_for("global.queue")
            self.host.note(f"{visible(run.id)} is in the queue already ({key} shows it)")
        else:
            self._resume(run)

    def _is_queued(self, run: RunInfo) -> bool:
        """Whether a job that resumes ``run`` waits, held or not."""
        with self.host.bridge.shared() as shared:
            waiting = shared.queue.waiting if shared.queue is not None else []
            return any(str(job.spec.get("out", "")) == run.path for job in waiting)

    @work(exclusive=True, group="resume")
    async def _resume(self, run: RunInfo) -> None:
        """Resume with the settings of the run's start."""
        try:
            job = await asyncio.to_thread(_continuing, run, self.host.workspace)
        except (OSError, SekftError) as error:
            self.host.error(str(error))
            return

        def begun() -> None:
            if run.kind == "train":
                self.request(FollowTraining())
            else:
                self.host.note(f"{run.kind} resumes: {visible(run.id)}")

        self.start(job, begun)

    def action_evaluate(self) -> None:
        run = self.current
        if run is None or not run.adapter:
            self.host.note("this run has no adapter")
            return
        self.request(Evaluate(run.adapter))

    def action_episodes(self) -> None:
        run = self.current
        if run is not None:
            self.request(ShowEpisodes(run.id))


def _continuing(run: RunInfo, workspace: Workspace) -> jobs.Job:
    """The job that resumes ``run``; a training run says all of it in its own words."""
    if run.kind != "train":
        return resuming_job(run)
    from sekft_engine.training.run.resume import completed

    return completed(jobs.Train(base="", out=run.path, resume=True), workspace)


def _name_width(width: int) -> int:
    return 20 if width < 100 else 34


def _when(created: str) -> str:
    """Local time, short."""
    try:
        return dt.datetime.fromisoformat(created).astimezone().strftime("%d %b %H:%M")
    except ValueError:
        return created[:12]


def _facts(run: RunInfo) -> list[Parts]:
    lines: list[Parts] = [_fact("result", summary(run) or "-")]
    if run.adapter:
        lines.append(_fact("adapter", short_path(run.adapter)))
    recipe = run.about.get("recipe", run.about)
    if isinstance(recipe, dict):
        for name, value in recipe.items():
            lines.append(_fact(str(name), _short(value)))
    for name, value in msgspec.to_builtins(run.facts).items():
        if text := _short(value):
            lines.append(_fact(str(name), text))
    return lines


def _fact(name: str, value: str) -> Parts:
    return ((" " + fit(visible(name.replace("_", " ")), 16) + " ", "quiet"), (value, "text"))


def _short(value: Any) -> str:
    """A fact in a line; of several those that are not empty, for a run does not have them all."""
    if isinstance(value, dict):
        return ", ".join(f"{visible(str(k))} {_short(v)}" for k, v in value.items() if v)
    if isinstance(value, list | tuple):
        return ", ".join(_short(item) for item in value)
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if len(text) >= 32 and all(letter in "0123456789abcdef" for letter in text):
        return text[:12] + "…"
    return short_path(text) if text.startswith("/") else visible(text)
