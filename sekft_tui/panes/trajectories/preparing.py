"""A base that is not converted or fetched yet: the engine does it, the pane waits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sekft_engine import events, jobs
from sekft_engine.events import Event

if TYPE_CHECKING:
    from sekft_tui.panes.trajectories.browser import Browser


class Preparing:
    """At most one job at a time; only the engine may load what converting takes."""

    def __init__(self, pane: Browser) -> None:
        self._pane = pane
        #: The job that is under way; '' = none.
        self.job = ""

    def start(self) -> None:
        library = self._pane.library
        if library is not None and not self.job:
            self.job = self._pane.host.bridge.submit(jobs.Prepare(base=library.renderer.base))
            self._pane.show_nothing()

    def forget(self) -> None:
        """Another data set or base is opened."""
        self.job = ""

    def heard(self, event: Event) -> None:
        library = self._pane.library
        if not self.job or event.job != self.job or library is None:
            return
        if isinstance(event, events.JobDone):
            self.job = ""
            library.renderer.use(Path(str(event.result["path"])))
            library.ready()
            self._pane.look_again()
        elif isinstance(event, (events.JobFailed, events.JobCancelled)):
            self.job = ""
            why = event.error if isinstance(event, events.JobFailed) else "stopped"
            self._pane.view.show(None, f"the base could not be made ready: {why}\n\nR tries again")
