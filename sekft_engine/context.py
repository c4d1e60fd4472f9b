"""What a job's handler sees of the engine: events out, requests to stop in, the resident base."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sekft_engine import events
from sekft_engine.errors import BadInput, Interrupted
from sekft_engine.events import Event
from sekft_engine.jobs import Job
from sekft_engine.runs import Run, create_run, reopen_run
from sekft_engine.workspace import Workspace

if TYPE_CHECKING:
    from sekft_engine.base import ResidentBase
    from sekft_engine.engine import Engine


class Stopped(Interrupted):
    """Raised by a handler that was asked to stop: what it had done is kept, as ``result`` says."""

    def __init__(self, what: str, *, result: dict[str, Any] | None = None) -> None:
        super().__init__(what)
        self.result = result or {}


class Context:
    """One job on the engine's thread; ``part``: it is done within another one, under its id."""

    def __init__(self, engine: Engine, job: Job, kind: str, *, part: bool = False) -> None:
        self._engine = engine
        self.part = part
        self.job = job
        self.kind = kind
        self.run: Run | None = None

    @property
    def workspace(self) -> Workspace | None:
        return self._engine.workspace

    def emit(self, event: Event) -> None:
        """Journal the event, then show it. Fills in the job and the time."""
        self._engine.publish(msgspec.structs.replace(event, job=self.job.id, t=time.time()))

    def progress(self, label: str, done: int, total: int = 0, detail: str = "") -> None:
        self.emit(events.Progress(job="", label=label, done=done, total=total, detail=detail))

    def log(self, text: str, level: str = "info") -> None:
        self.emit(events.Log(job="", level=level, text=text))

    def cancelled(self) -> bool:
        """Whether the job was asked to stop, in whichever way."""
        return self._engine.stop_requested(self.job.id) != ""

    def cancelled_now(self) -> bool:
        """Whether the job was asked to stop without finishing its step."""
        return self._engine.stop_requested(self.job.id) == "now"

    def checkpoint_wanted(self) -> bool:
        """Whether someone asked for a checkpoint since this was last called."""
        return self._engine.take_checkpoint_request(self.job.id)

    def pausing(self) -> bool:
        """Whether :meth:`wait_while_paused` would wait."""
        return self._engine.pause_requested()

    def wait_while_paused(self) -> None:
        """Return at once unless the job is paused; then when it goes on or is cancelled."""
        self._engine.hold_while_paused(self)

    @property
    def base(self) -> ResidentBase | None:
        """What is resident; None before the first load."""
        return self._engine.resident

    @property
    def resident(self) -> ResidentBase:
        """What is resident, refusing where nothing is."""
        if self._engine.resident is None:
            raise BadInput("no base is loaded", mend='send {"job":"load","base":...} first')
        return self._engine.resident

    def load_base(
        self, spec: str, load_4bit: bool = False, *, sharded: bool = False
    ) -> ResidentBase:
        """The resident base for ``spec``, loaded only where another one (or none) is there."""
        return self._engine.make_resident(self, spec, load_4bit, sharded)

    def open_run(
        self,
        kind: str,
        *,
        about: dict[str, Any],
        facts: dict[str, Any] | None = None,
        out: str = "",
        name: str = "",
    ) -> Run:
        """Make the run's folder; from here on this job's events go into its journal."""
        root: Path | None = self.workspace.runs if self.workspace else None
        self.run = create_run(root, kind, about=about, facts=facts, out=out, name=name)
        self._engine.run_opened(self, self.run)
        self.emit(
            events.RunCreated(
                job="", run=self.run.id, path=str(self.run.folder), kind=kind, about=about
            )
        )
        return self.run

    def reopen_run(self, folder: Path) -> Run:
        """Go on with an earlier run; this job's events are added to its journal."""
        self.run = run = reopen_run(folder)
        self._engine.run_opened(self, run)
        self.emit(
            events.RunCreated(
                job="", run=run.id, path=str(folder), kind=run.info.kind, about=run.info.about
            )
        )
        return run

    def do_part(self, job: Job) -> dict[str, Any]:
        """Do another job within this one: it shares the base, the id and the requests to stop, and
        has a run of its own. Raises what it raises."""
        return self._engine.run_part(self, job)
