"""A pane with a form to the left and what is watched while a job runs to the right."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from pathlib import Path
from typing import Generic, TypeVar

from textual import work
from textual.widget import Widget

from sekft_engine.records.journal import is_being_written
from sekft_engine.records.runs import EVENTS
from sekft_tui.input.actions import key_for
from sekft_tui.model.evaluation import EvalView
from sekft_tui.model.job_text import no_base
from sekft_tui.model.reducer import JobView
from sekft_tui.model.runs.stored import FollowedRun, last_view
from sekft_tui.model.training import TrainView
from sekft_tui.panes.pane import Pane
from sekft_tui.widgets.form import Form

View = TypeVar("View", TrainView, EvalView)
#: The notes for what :meth:`Bridge.toggle_pause` returns.
_PAUSED = {
    True: "pausing at the next step; {key} resumes",
    False: "resumed",
    None: "nothing to pause: the {what} has ended",
}


class FormPane(Pane, Generic[View]):
    """Without the class ``-no-form`` it shows the form and, if the terminal is wide enough, the
    right side; with it the right side alone."""

    form: Form
    view: View  #: what is shown
    opened: View | None = None  #: the run that is shown from its journal
    _job: JobView | None = None  #: the engine's job that is shown
    _is_beside = False  #: the engine's job makes another run than the one that is shown
    _watched: Widget | None = None  #: the widget of the right side that had the focus last

    followed: FollowedRun | None = None  #: the run that is shown while another process writes it
    has_runs = False  #: there is a run of this kind, even if none is shown
    _found = False  #: a job of the engine was seen
    _joined = ""  #: the run of another process that was shown unasked
    _unasked = ""  #: the run that is shown because nothing else was asked for
    _written = ""  #: the run that is shown, where it was being written at the last look

    def on_mount(self) -> None:
        self.set_interval(1.0, self._tick)

    def _tick(self) -> None:
        """Follow what another process writes; else count the seconds while a job prepares, when
        nothing else moves."""
        run = self.followed
        if run is not None and str(run.folder) != self.opened_path:
            run = self.followed = None
        if run is not None and self.display:
            over = not run.alive
            if run.advance() or over:
                self.put_followed(run.view)
                self.redraw()
            if over:
                self.followed = None
        elif self.display and self._is_resumed_elsewhere():
            self._follow_shown()
        elif self.display and self._is_to_join():
            self._join()
        elif self.display and self.is_preparing():
            self.redraw()

    @abstractmethod
    def extent(self, view: View) -> int:
        """How much ``view`` tells: a number that only grows while a run goes on; 0 = nothing."""

    def is_preparing(self) -> bool:
        """Whether a job has begun and there is nothing to watch yet."""
        job = self._job
        at_work = job is not None and job.status in ("running", "pausing", "stopping")
        return at_work and not self.extent(self.view)

    def leave_journal(self, told: View, job: JobView | None) -> None:
        """Show the run as the engine tells it, as soon as that is no less than its journal gave:
        what the engine said before this workbench came can arrive after the journal was read."""
        stored = self.opened
        if stored is None or not told.path or told.path != stored.path:
            return
        goes_on = job is not None and job.active
        # Where the engine has ended its part, another process may have resumed the run.
        if goes_on or (self.followed is None and self.extent(told) >= self.extent(stored)):
            self.opened = None

    def show_told(self, told: View, job: JobView | None) -> View:
        """What to show: the run of the engine's job, or the one that was opened. A job is that of
        its own run alone.

        Args:
            told: the run as the engine tells it.
            job: the job that makes it.
        """
        self.leave_journal(told, job)
        self.watch_found(job)
        if job is not None and job.active and self.opened_path == self._unasked:
            self.opened = None  # nobody asked for the run that was shown
        self._job = job if self.opened is None else None
        self._is_beside = self.opened is not None and job is not None and job.active
        return told if self.opened is None else self.opened

    def say_no_job(self, what: str, verb: str) -> None:
        """Say that the run that is shown has no job of the engine.

        Args:
            what: a word for it.
            verb: what was to be done to it.
        """
        if self._is_beside:
            back = key_for(f"{self.place}.back")
            self.host.note(f"another {what} is running; {back} leaves this one")
        else:
            self.host.note(f"no {what} to {verb}")

    @work(exclusive=True, group="last-run")
    async def show_last(self) -> None:
        """Show the run that was shown last, else the newest one, until one is started or opened."""
        wanted = self.before.get("run", "")
        runs = self.host.workspace.runs
        view = await asyncio.to_thread(last_view, runs, self.place, wanted)
        if view is not None:
            self.put_last(view)

    def _is_resumed_elsewhere(self) -> bool:
        """Whether another process writes the run that is shown: it was resumed there. Two looks
        have to agree, since this process's engine lets go of a journal just after the run's end."""
        path = self.view.path
        with self.host.bridge.shared() as shared:
            own = path in shared.writing
        written = bool(path) and not own and is_being_written(Path(path) / EVENTS)
        before, self._written = self._written, path if written else ""
        return written and before == path

    def _is_to_join(self) -> bool:
        """Whether another process has begun a run of this kind and nothing that was asked for is
        shown."""
        run = self.host.run_elsewhere
        unasked = bool(self._unasked) and self.opened_path == self._unasked
        idle = unasked or not self.view.job
        return idle and run is not None and run.kind == self.place and run.path != self._joined

    @work(exclusive=True, group="follow")
    async def _join(self) -> None:
        """Show the run of the other process, once: it can be left as any other."""
        found = self.host.run_elsewhere
        if found is None:
            return
        run = FollowedRun(Path(found.path), self.place)
        await asyncio.to_thread(run.advance)
        # A run that has only just begun may not say yet what it is: it is looked at again.
        if self._is_to_join() and run.view.path == str(run.folder):
            self._joined = self._unasked = found.path
            self.has_runs = True
            self.followed = run
            self.put_followed(run.view)
            self.redraw()

    def follow(self, path: str) -> None:
        """If the run in the folder ``path`` is alive in another process, show what it does."""
        with self.host.bridge.shared() as shared:
            own = path in shared.writing
        self.followed, self._unasked = None, ""
        if path and not own:
            run = FollowedRun(Path(path), self.place)
            if run.alive:
                self._begin_following(run)

    @work(exclusive=True, group="follow")
    async def _follow_shown(self) -> None:
        """Show what another process adds to the run that is shown."""
        run = FollowedRun(Path(self.view.path), self.place)
        await asyncio.to_thread(run.advance)
        if str(run.folder) == self.view.path and run.view.path == self.view.path:
            self.followed = run
            self.put_followed(run.view)
            self.redraw()

    @work(exclusive=True, group="follow")
    async def _begin_following(self, run: FollowedRun) -> None:
        await asyncio.to_thread(run.advance)
        if str(run.folder) == self.opened_path:
            self.followed = run
            self.put_followed(run.view)
            self.redraw()

    @property
    def opened_path(self) -> str:
        """The folder of the run that is shown from its journal; "" = none is."""
        return self.opened.path if self.opened is not None else ""

    def put_followed(self, view: TrainView | EvalView) -> None:
        """Show ``view`` in place of the same run as it was before."""
        if isinstance(view, type(self.view)):
            self.opened = view

    def put_last(self, view: TrainView | EvalView) -> None:
        """Show ``view`` if nothing else is shown."""
        self.has_runs = True
        if isinstance(view, type(self.view)) and self.opened is None and not self.view.job:
            self.opened = view
            self.redraw()
            self.follow(view.path)
            self._unasked = view.path

    @abstractmethod
    def watchable(self) -> tuple[Widget, ...]:
        """The widgets of the right side that can have the focus, the main one first."""

    def first_focus(self) -> Widget:
        return self.watchable()[0] if self.has_class("-no-form") else self.form

    def show_right(self) -> None:
        """Show the right side alone, drawn again."""
        self.has_runs = self.has_runs or self.opened is not None
        self.add_class("-no-form")
        self.redraw()
        self.go_to(self.watchable()[0])

    def watch_started(self) -> None:
        """Go to the right side after a job was started."""
        if self.narrow:
            self.add_class("-no-form")
        self.go_to(self.watchable()[0])

    def watch_found(self, job: JobView | None) -> None:
        """Go to the right side where the first job that is seen was given from elsewhere: the
        engine was at work when this workbench came to it."""
        remote = self.host.bridge.remote
        if job is None or not job.active or self._found or remote is None or remote.state != "live":
            return
        self._found = True
        if self.narrow and self.display:
            self.add_class("-no-form")
            self.go_to(self.watchable()[0])

    def toggle_form(self) -> None:
        """Go to the form, shown if it was not; from the form, show the right side alone."""
        self.set_class(self.is_on(self.form), "-no-form")
        self.go_to(self.first_focus())

    def toggle_pause(self, what: str, identity: str) -> None:
        """Pause the job that is shown, or let it go on.

        Args:
            what: a word for it.
            identity: the key that was pressed, by its id.
        """
        if self._job is None or not self._job.active:
            self.say_no_job(what, "pause")
        elif self._job.status == "stopping":
            self.host.note(f"the {what} is stopping already")
        else:
            paused = self.host.bridge.toggle_pause(self._job.id)
            self.host.note(_PAUSED[paused].format(key=key_for(identity), what=what))

    def has_base(self) -> bool:
        """Whether there is a base; if not, says so."""
        if not self.host.base:
            self.host.error(no_base(self.host.workspace, self.host.demo_made))
        return bool(self.host.base)

    def on_descendant_focus(self) -> None:
        self._watched = next(filter(self.is_on, self.watchable()), None)

    def on_resize(self) -> None:
        """If there is room for one side only now, show the one that had the focus."""
        if self._watched is not None and self.display:
            if self.narrow:
                self.add_class("-no-form")
            self.call_after_refresh(self._refocus, self._watched)

    def _refocus(self, widget: Widget) -> None:
        """Give the focus back if the widget lost it by being hidden for a moment."""
        if self.display and self.screen.focused is None:
            self.go_to(widget)
