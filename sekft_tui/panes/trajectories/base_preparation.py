"""Has the engine fetch or convert the base, while the pane waits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.records.results import PrepareResult
from sekft_tui.input.actions import key_for

if TYPE_CHECKING:
    from sekft_tui.panes.trajectories.browser import Browser


class BasePreparation:
    """Starts the job and waits for it; at most one at a time."""

    def __init__(self, pane: Browser) -> None:
        self._pane = pane
        #: Id of the running job; "" = none.
        self.job = ""

    def start(self) -> None:
        library = self._pane.library
        if library is not None and not self.job:
            self.job = self._pane.host.bridge.submit(jobs.Prepare(base=library.renderer.base))
            self._pane.show_waiting()

    def forget(self) -> None:
        """Another data set or base is opened: ignore the job's result."""
        self.job = ""

    def engine_event(self, event: Event) -> None:
        library = self._pane.library
        if not self.job or event.job != self.job or library is None:
            return
        if isinstance(event, events.JobDone):
            self.job = ""
            if isinstance(event.result, PrepareResult):
                library.renderer.use(Path(event.result.path))
            library.ready()
            self._pane.reopen()
        elif isinstance(event, (events.JobFailed, events.JobCancelled)):
            self.job = ""
            again = key_for("global.reload")
            why = event.error if isinstance(event, events.JobFailed) else "stopped"
            self._pane.view.show(
                None, f"the base could not be prepared: {why}\n\n{again} tries again"
            )
