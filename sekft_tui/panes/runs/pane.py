"""The Runs pane: a list above, the facts of the run under the cursor below."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from sekft_engine.core.errors import SekftError
from sekft_engine.core.text import count
from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.records.resuming import resuming_job
from sekft_engine.records.upkeep.run_notes import RunNotes, tags_in, write_notes
from sekft_engine.records.upkeep.trash import TRASH, discard, restore
from sekft_tui.host import Host
from sekft_tui.input.actions import Place, bindings, key_for
from sekft_tui.input.footer import FooterState, Item
from sekft_tui.messages import Evaluate, FollowTraining, ShowEpisodes, ShowRun
from sekft_tui.model.runs.stored import stored_view
from sekft_tui.panes.pane import Part
from sekft_tui.panes.runs.compare import MOST, CompareScreen
from sekft_tui.panes.runs.facts import facts
from sekft_tui.panes.runs.rows import HINT, ORDERS, Row, Rows, loss_of, text_of
from sekft_tui.panes.searching import SearchedPane
from sekft_tui.process.exporting import Writer, as_csv, as_json
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
        self.rows = Rows()
        self.marked: list[str] = []
        self._wanted = self.before.get("run", "")
        self._deleted: list[str] = []

    def compose(self) -> ComposeResult:
        self.status = Lines(self._status, id="runs-status")
        self.head = Lines(self._head)
        self.list = LineList(
            self._row, chosen=self.action_open, empty="reading runs …", id="runs-list"
        )
        self.facts_head = Lines(self._facts_head)
        self.facts = Sheet()
        with Container():
            yield Part(self.status, self.head, self.list, id="runs-top")
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
    async def _read_disk(self, under: str = "") -> None:
        row = self.row
        under = under or (row.id if row else self._wanted)
        self.rows.put(await asyncio.to_thread(self.rows.read, self.host.workspace.runs))
        ids = {row.id for row in self.rows.all}
        self.marked = [name for name in self.marked if name in ids]
        self._fill(under)

    def _fill(self, under: str = "") -> None:
        """Show the rows again, with the cursor on the run ``under``."""
        if self.rows.all and not self.rows.shown:
            clears = f"press {key_for('runs.back')} to clear the filter"
            self.list.empty = f"nothing matches {self.rows.filter!r}\n{clears}"
        else:
            train, evals = key_for("global.pane-train"), key_for("global.pane-eval")
            start = key_for("train.start")
            self.list.empty = (
                f"no runs yet\n{train} goes to Train, {evals} to Eval; {start} starts one"
            )
        self.list.set_rows(len(self.rows.shown), self.rows.position(under))
        self._heads()

    def _heads(self) -> None:
        for lines in (self.status, self.head, self.facts_head):
            lines.update()

    def engine_event(self, event: Event) -> None:
        if isinstance(event, (*events.ENDINGS, events.RunCreated)):
            self.reload()

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        shown = self.rows.shown
        return shown[self.list.cursor] if self.list.cursor < len(shown) else None

    @property
    def current(self) -> RunInfo | None:
        """The run under the cursor; None also where the folder cannot be read."""
        return self.row.run if self.row is not None else None

    # --- drawing ----------------------------------------------------------------------------

    def _status(self, width: int) -> tuple[Parts, ...]:
        """How many there are, and how they are chosen and sorted."""
        rows = self.rows
        of = f" of {len(rows.all)}" if rows.filter else ""
        broken = rows.unreadable
        unread = f"  {count(broken, 'folder')} cannot be read" if broken else ""
        marked = ""
        if self.marked:
            marked = f"  {len(self.marked)} marked: {key_for('runs.compare')} compares"
        how = f"  f: {visible(rows.filter)}" if rows.filter else ""
        order = f"  by {rows.order}" if rows.order != ORDERS[0] else ""
        parts = [
            (f" {len(rows.shown)}{of} runs", "strong"), (order, "accent"), (how, "accent"),
            (marked, "accent"), (unread, "warn"),
        ]  # fmt: skip
        out, room = [], width
        for text, style in parts:
            out.append((clip(text, max(0, room)), style))
            room -= len(text)
        return (tuple(out),)

    def _head(self, width: int) -> tuple[Parts, ...]:
        name = _name_width(width)
        titles = fit("   run", name + 3) + fit("when", 13) + fit("status", 10) + "result"
        return (((clip(titles, width), "quiet"),),)

    def _row(self, y: int, width: int) -> Parts:
        row = self.rows.shown[y]
        name = _name_width(width)
        mark = ("+" if row.id in self.marked else " ", "accent")
        indent = "  " * min(row.depth, 4) + ("└ " if row.depth else "")
        title = fit(indent + visible(row.listed), name - 1) + " "
        if row.run is None:
            why = clip(visible(row.why), max(0, width - name - 26))
            return (("?", "warn"), ("  ", ""), (title, "quiet"), (fit("", 13), ""),
                    (fit("unreadable", 11), "warn"), (why, "warn"))  # fmt: skip
        run = row.run
        glyph, style = _STATUS.get(run.status, ("·", "quiet"))
        letter = self.host.pinned.letter(run.id)
        tags = "".join(f"#{visible(tag)} " for tag in row.notes.tags)
        tags = clip(tags, 20)
        room = max(0, width - name - 26)
        return (
            (glyph, style),
            (letter or " ", "accent"),
            mark,
            (title, "text" if row.depth else "strong"),
            (fit(_when(run.created), 13), "quiet"),
            (fit(visible(run.status), 10), style),
            (clip(tags, room), "note"),
            (clip(row.short_result, max(0, room - len(tags))), "text"),
        )

    @on(LineList.Moved, "#runs-list")
    def _moved(self) -> None:
        self._show_facts()

    def on_resize(self) -> None:
        self._show_facts()

    def _show_facts(self) -> None:
        row = self.row
        width = self.facts.content_width
        self.facts.show(tuple(facts(row, width)) if row else ())
        self.facts_head.update()

    def _facts_head(self, width: int) -> tuple[Parts, ...]:
        row = self.row
        if row is None:
            return ((),)
        name = clip(f" {visible(row.title)}", width)
        path = clip("  " + short_path(str(row.folder)), max(0, width - len(name)))
        return (((name, "strong"), (path, "quiet")),)

    def searched(self) -> LineList:
        return self.list

    def row_text(self, y: int) -> str:
        return text_of(self.rows.shown[y])

    def footer(self) -> FooterState:
        run = self.current
        labels = self.match_labels()
        if run is None:
            labels |= dict.fromkeys(("evaluate", "episodes", "resume", "pin"), "")
            if not self.rows.all:
                labels |= dict.fromkeys(("side", "search", "filter"), "")
            return FooterState(labels)
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
        return {"run": self.row.id if self.row is not None else self._wanted}

    # --- keys: going there ------------------------------------------------------------------

    def action_open(self) -> None:
        run = self.current
        if run is None:
            self._unreadable()
        elif run.kind == "shell":  # one session: its replay is all there is
            self.action_episodes()
        else:
            self._open(run)

    def _unreadable(self) -> None:
        if self.row is not None:
            self.host.note("this folder cannot be read as a run; the reason is below")

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
        except (OSError, SekftError, ValueError) as error:
            self.host.error(str(error))
            return
        self.request(ShowRun(view))

    def _training_runs(self, run: RunInfo) -> list[str]:
        """The ids of the training runs of a sweep, an experiment or an improvement, in order."""
        from sekft_engine.sweep.results import planned_points

        if run.kind == "sweep":
            return [point.run for point in planned_points(run) if point.run]
        runs = (row.run for row in self.rows.all if row.run is not None)
        parts = [each for each in runs if each.id.startswith(f"{run.id}-")]
        parts.sort(key=lambda part: (part.created, part.id))
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

    def action_side(self) -> None:
        """Show or hide the facts."""
        self.toggle_class("-no-side")
        self.go_to(self.list)

    # --- keys: the list ---------------------------------------------------------------------

    def action_filter(self) -> None:
        before = self.rows.filter

        def change(text: str) -> None:
            self.rows.filter, old = text.strip(), self.rows.filter
            try:
                self.rows.arrange()
            except SekftError:
                self.rows.filter = old
                raise
            self._fill(self.row.id if self.row else "")

        self.host.prompt.ask("filter", change, value=before, hint=HINT, changed=change)

    def action_sort(self) -> None:
        under = self.row.id if self.row else ""
        self.host.note(f"sorted by {self.rows.next_order()}")
        self._fill(under)

    def action_back(self) -> None:
        """Clear the marks, else the filter."""
        if self.marked:
            self.marked = []
            self.list.redraw()
            self._heads()
        elif self.rows.filter:
            self.rows.filter = ""
            self.rows.arrange()
            self._fill(self.row.id if self.row else "")

    # --- keys: several runs -----------------------------------------------------------------

    def action_mark(self) -> None:
        run = self.current
        if run is None:
            self._unreadable()
            return
        if run.id in self.marked:
            self.marked.remove(run.id)
        elif len(self.marked) >= MOST:
            self.host.note(f"{MOST} runs are marked; more do not fit side by side")
        else:
            self.marked.append(run.id)
        self.list.refresh_line(self.list.cursor)
        self.list.redraw()
        self._heads()

    def action_compare(self) -> None:
        names = list(self.marked)
        run = self.current
        if run is not None and run.id not in names and len(names) < 2:
            names.append(run.id)
        rows = [row for name in names for row in self.rows.all if row.id == name and row.run]
        if len(rows) < 2:
            mark, compare = key_for("runs.mark"), key_for("runs.compare")
            self.host.note(
                f"mark two or more runs with {mark}, then {compare} shows them side by side"
            )
            return
        runs = [row.run for row in rows if row.run is not None]

        def answered(answer: str | None) -> None:
            trained = [run.id for run in runs if run.kind == "train"]
            if answer == "curves" and trained:
                self.host.pinned.replace(trained)
                self._open(next(run for run in runs if run.kind == "train"))

        self.host.push_screen(CompareScreen(runs, [row.title for row in rows]), answered)

    # --- keys: changing a run ---------------------------------------------------------------

    def action_rename(self) -> None:
        def change(notes: RunNotes, text: str) -> RunNotes:
            return msgspec.structs.replace(notes, title=text)

        self._annotate("title", lambda notes: notes.title, change, "empty shows the id again")

    def action_comment(self) -> None:
        def change(notes: RunNotes, text: str) -> RunNotes:
            return msgspec.structs.replace(notes, note=text)

        self._annotate("note", lambda notes: notes.note, change, "a few words about this run")

    def action_tag(self) -> None:
        def change(notes: RunNotes, text: str) -> RunNotes:
            return msgspec.structs.replace(notes, tags=tags_in(text))

        self._annotate(
            "tags",
            lambda notes: " ".join(notes.tags),
            change,
            f"words; {key_for('runs.filter')} tag:word lists them",
        )

    def _annotate(
        self,
        what: str,
        now: Callable[[RunNotes], str],
        change: Callable[[RunNotes, str], RunNotes],
        hint: str,
    ) -> None:
        row = self.row
        if row is None or row.run is None:
            self._unreadable()
            return

        def done(text: str) -> None:
            write_notes(row.folder, change(row.notes, text.strip()))
            self._read_disk(row.id)

        self.host.prompt.ask(what, done, value=now(row.notes), hint=hint)

    def action_delete(self) -> None:
        """Move the run's folder into the workspace's trash; ``U`` takes it back."""
        row = self.row
        if row is None:
            return
        try:
            place = discard(row.folder)
        except SekftError as error:
            self.host.error(str(error))
            return
        self._deleted.append(row.folder.name)
        shown = self.rows.shown
        after = shown[min(self.list.cursor + 1, len(shown) - 1)].id
        back = key_for("runs.undelete")
        self.host.note(f"moved to the workspace's {TRASH}/{place.name}; {back} takes it back", 8)
        self._read_disk(after)

    def action_undelete(self) -> None:
        if not self._deleted:
            trash = short_path(str(self.host.workspace.root / TRASH))
            self.host.note(f"nothing was deleted here; what was before is in {trash}")
            return
        name = self._deleted.pop()
        try:
            restore(name, self.host.workspace.runs)
        except SekftError as error:
            self.host.error(str(error))
            return
        self.host.note(f"{name} is back")
        self._read_disk(name)

    def folder(self) -> Path | None:
        """The folder of the run under the cursor, also where it cannot be read."""
        return self.row.folder if self.row is not None else None

    def action_shell(self) -> None:
        folder = self.folder()
        if folder is not None:
            self.host.open_shell(folder)

    def file(self) -> Path | None:
        """The notes on the run under the cursor are changed here; its manifest is for reading."""
        row = self.row
        return None if row is None else row.folder / "run.json"

    def exports(self) -> dict[str, Writer]:
        rows = [row for row in self.rows.shown if row.run is not None]
        columns: dict[str, list[object]] = {
            "run": [row.id for row in rows],
            "title": [row.notes.title for row in rows],
            "kind": [row.run.kind for row in rows if row.run],
            "status": [row.run.status for row in rows if row.run],
            "created": [row.run.created for row in rows if row.run],
            "loss": [loss_of(row.run) for row in rows],
            "result": [row.result for row in rows],
            "tags": [" ".join(row.notes.tags) for row in rows],
            "note": [row.notes.note for row in rows],
        }
        return {".csv": lambda: as_csv(columns), ".json": lambda: as_json(columns)}

    def copied(self) -> tuple[str, str]:
        """With the cursor in the list, the path of the run's folder."""
        row = self.row
        if row is not None and self.is_on(self.list):
            return f"folder of {visible(row.id)}", str(row.folder)
        return super().copied()


def _continuing(run: RunInfo, workspace: Workspace) -> jobs.Job:
    """The job that resumes ``run``; a training run says all of it in its own words."""
    if run.kind != "train":
        return resuming_job(run)
    from sekft_engine.training.run.resume import completed

    return completed(jobs.Train(base="", out=run.path, resume=True), workspace)


def _name_width(width: int) -> int:
    return 14 if width < 70 else 22 if width < 100 else 34


def _when(created: str) -> str:
    """Local time, short."""
    try:
        return dt.datetime.fromisoformat(created).astimezone().strftime("%d %b %H:%M")
    except (ValueError, OverflowError):
        return visible(created[:12])
