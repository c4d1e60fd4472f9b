"""The Runs pane: what can be done with the runs of the list."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from textual import work

from sekft_engine.core.errors import BadInput, SekftError, in_words
from sekft_engine.data.workspace import Workspace
from sekft_engine.records import jobs
from sekft_engine.records.journal import is_being_written
from sekft_engine.records.resuming import resuming_job
from sekft_engine.records.upkeep.run_notes import RunNotes, tags_in, write_notes
from sekft_engine.records.upkeep.trash import TRASH, discard, last_deleted, restore
from sekft_tui.host import Host
from sekft_tui.input.actions import key_for
from sekft_tui.messages import Evaluate, FollowTraining, ShowEpisodes, ShowRun
from sekft_tui.model.runs.stored import stored_view
from sekft_tui.panes.runs.compare import MOST, CompareScreen
from sekft_tui.panes.runs.listing import RunList
from sekft_tui.panes.runs.rows import PREPARING
from sekft_tui.text import visible

if TYPE_CHECKING:
    from sekft_engine.records.events import Queued
    from sekft_engine.records.runs import RunInfo


class RunsPane(RunList):
    """Opens, resumes, compares, annotates and deletes runs."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._deleted: list[str] = []

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
            self.host.error(in_words(error))
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
        if run is not None and self._is_written_elsewhere(run):
            self.host.note(
                f"another process is still at {visible(run.id)}; resume it when that has ended", 8
            )
        elif run is not None and run.status == PREPARING:
            self.host.note(f"{visible(run.id)} is being resumed")
        elif run is None or run.status in ("done", "running"):
            self.host.note("nothing to resume: choose a run that was stopped or died")
        elif (job := self._waiting(run)) is None:
            self._resume(run)
        elif job.held and self.host.bridge.release(job.id):
            self.host.note(f"{visible(run.id)} resumes: it was held in the queue")
        else:
            key = key_for("global.queue")
            self.host.note(f"{visible(run.id)} is in the queue already ({key} shows it)")

    def _waiting(self, run: RunInfo) -> Queued | None:
        """The job that resumes ``run``: it waits, held or not, or has just begun."""
        with self.host.bridge.shared() as shared:
            queue = shared.queue
            queued = [queue.running, *queue.waiting] if queue is not None else []
        return next((job for job in queued if job and job.spec.get("out", "") == run.path), None)

    def _is_written_elsewhere(self, run: RunInfo) -> bool:
        """Whether another process writes the run: an earlier workbench may end its step."""
        with self.host.bridge.shared() as shared:
            own = run.path in shared.writing
        return not own and is_being_written(run.events_path)

    @work(exclusive=True, group="resume")
    async def _resume(self, run: RunInfo) -> None:
        """Resume with the settings of the run's start."""
        try:
            job = await asyncio.to_thread(_continuing, run, self.host.workspace)
        except (OSError, SekftError) as error:
            self.host.error(in_words(error))
            return

        def begun() -> None:
            if run.kind == "train":
                self.request(FollowTraining())
            else:
                self.host.note(f"{run.kind} resumes: {visible(run.id)}")

        self.start(job, begun, resumes=run.id)

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
        if row.run is not None and row.run.status == PREPARING:
            self.host.note(f"{visible(row.id)} is being resumed; stop that first")
            return
        if not os.path.lexists(row.folder):  # the list is not read again yet
            return
        try:
            place = discard(row.folder)
        except SekftError as error:
            self.host.error(str(error))
            return
        self._deleted.append(row.folder.name)
        shown, at = self.rows.shown, self.list.cursor
        beside = [*shown[at + 1 : at + 2], *reversed(shown[:at])]  # below it, else above it
        after = beside[0].id if beside else ""
        back = key_for("runs.undelete")
        where = f"{TRASH}/{visible(place.name)}"
        self.host.note(f"moved to the workspace's {where}; {back} takes it back", 8)
        self._read_disk(after)

    def action_undelete(self) -> None:
        """Take back what was deleted last, also in an earlier session."""
        name = self._deleted.pop() if self._deleted else last_deleted(self.host.workspace.runs)
        if not name:
            self.host.note(f"nothing to take back: the workspace's {TRASH} is empty")
            return
        try:
            place = restore(name, self.host.workspace.runs)
        except BadInput as error:
            self.host.note(f"{visible(name)} cannot come back: {error.what}", 8)
            return
        except SekftError as error:
            self.host.error(visible(str(error)))
            return
        self.host.note(f"{visible(place.name)} is back from the workspace's {TRASH}")
        self._read_disk(place.name)

    def action_shell(self) -> None:
        folder = self.folder()
        if folder is not None:
            self.host.open_shell(folder)


def _continuing(run: RunInfo, workspace: Workspace) -> jobs.Job:
    """The job that resumes ``run``; a training run says all of it in its own words."""
    if run.kind != "train":
        return resuming_job(run)
    from sekft_engine.training.run.resume import completed

    return completed(jobs.Train(base="", out=run.path, resume=True), workspace)
