"""The interface of a job to the engine: events, requests to stop, the resident base."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from sekft_engine.bases import resolve_base
from sekft_engine.core.errors import BadInput, Interrupted
from sekft_engine.data.clock import Clock
from sekft_engine.data.workspace import Workspace
from sekft_engine.model.device import choose_device
from sekft_engine.model.imports import import_torch
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.jobs import Job
from sekft_engine.records.jobs.paths import absolute
from sekft_engine.records.results import AnyResult
from sekft_engine.records.runs import Run, RunFacts, create_run, reopen_run
from sekft_engine.work.board import Board
from sekft_engine.work.guest import Guest
from sekft_engine.work.residence import Residence, Wanted, is_same_folder

if TYPE_CHECKING:
    import torch

    from sekft_engine.model.resident import ResidentBase

#: How long a guest has the base between two steps of a job, in seconds.
GUEST_LEAST_S, GUEST_MOST_S = 0.02, 10.0

#: Whether a job was asked to stop, and whether it may finish its step first.
Stop = Literal["", "after step", "now"]


class Control(Protocol):
    """What a job may ask of the engine that runs it. All of it is called on the job's thread."""

    @property
    def workspace(self) -> Workspace | None:
        """Where runs go; None = only where a job says."""

    @property
    def residence(self) -> Residence:
        """What is loaded."""

    def publish(self, event: Event) -> None:
        """Journal the event, then show it."""

    def stop_requested(self) -> Stop:
        """Whether the job was asked to stop, and how soon."""

    def pause_requested(self) -> bool:
        """Whether the job was asked to pause."""

    def wait_while_paused(self) -> None:
        """Return when the job is no longer paused, or is to stop."""

    def take_checkpoint_request(self) -> bool:
        """Whether a checkpoint was asked for since this was last called."""

    @property
    def board(self) -> Board:
        """Shows what models are writing."""

    @property
    def guest(self) -> Guest | None:
        """Who uses the base between jobs."""

    def host(self, guest: Guest) -> None:
        """Let ``guest`` use the base between jobs and their steps, from now on."""

    def wake(self) -> None:
        """Look whether the guest has something to do. From any thread."""

    def receive(self, timeout: float) -> bytes | None:
        """The next message to the job, or None: none came in so many seconds, or it is to stop."""

    def run_opened(self, run: Run, *, part: bool) -> None:
        """Send the job's events to its run, beginning with those it has caused so far."""

    def do_part(self, job: Job) -> AnyResult:
        """Do another job within this one, under its id."""


class Stopped(Interrupted):
    """Raised by a handler that was asked to stop; ``result`` is what it has saved."""

    def __init__(self, what: str, *, result: AnyResult | None = None) -> None:
        super().__init__(what)
        self.result: AnyResult = {} if result is None else result


class Context:
    """One job on the engine's thread.

    Args:
        control: the engine, as far as a job may use it.
        job: what is to be done.
        kind: the job's name as in JSON.
        part: it is done within another job, under the id of that.
    """

    def __init__(self, control: Control, job: Job, kind: str, *, part: bool = False) -> None:
        self._control = control
        self.part = part
        self.job = job
        self.kind = kind
        self.run: Run | None = None
        self._guest_left = time.monotonic()

    @property
    def workspace(self) -> Workspace | None:
        return self._control.workspace

    # --- events -------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Journal the event, then show it. Fills in the job and the time."""
        self._control.publish(msgspec.structs.replace(event, job=self.job.id, t=time.time()))

    def progress(self, label: str, done: int, total: int = 0, detail: str = "") -> None:
        self.emit(events.Progress(job="", label=label, done=done, total=total, detail=detail))

    def log(self, text: str, level: str = "info") -> None:
        self.emit(events.Log(job="", level=level, text=text))

    # --- requests -----------------------------------------------------------------------------

    def cancelled(self) -> bool:
        """Whether the job was asked to stop, in whichever way."""
        return self._control.stop_requested() != ""

    def cancelled_now(self) -> bool:
        """Whether the job was asked to stop without finishing its step."""
        return self._control.stop_requested() == "now"

    def checkpoint_wanted(self) -> bool:
        """Whether someone asked for a checkpoint since this was last called."""
        return self._control.take_checkpoint_request()

    def receive(self, timeout: float) -> bytes | None:
        """Wait for the next message to the job, which is JSON. None = none came in so many seconds,
        or the job was asked to stop."""
        return self._control.receive(timeout)

    @property
    def board(self) -> Board:
        """Shows what models are writing."""
        return self._control.board

    # --- the guest ----------------------------------------------------------------------------

    @property
    def guest(self) -> Guest | None:
        """Who uses the base between jobs: a server."""
        return self._control.guest

    def let_guest_work(self) -> None:
        """Let the guest use the base, if it wants to, for as long as the job did since the last
        time, so that each has half of the time."""
        guest = self._control.guest
        if guest is None or not guest.wants:
            return
        mine = time.monotonic() - self._guest_left
        guest.work(self._control.residence, min(max(mine, GUEST_LEAST_S), GUEST_MOST_S))
        self._guest_left = time.monotonic()

    def host(self, guest: Guest) -> None:
        """Let ``guest`` use the base between jobs and their steps, until it is over."""
        self._control.host(guest)

    @property
    def wake(self) -> Callable[[], None]:
        """To be called, from any thread, when the guest has something to do."""
        return self._control.wake

    def pausing(self) -> bool:
        """Whether :meth:`wait_while_paused` would wait."""
        return self._control.pause_requested()

    def wait_while_paused(self) -> None:
        """Return at once unless the job is paused; then when it is resumed or cancelled."""
        if not self._control.pause_requested():
            return
        self.emit(events.JobPaused(job="", kind=self.kind))
        self._control.wait_while_paused()
        self.emit(events.JobResumed(job="", kind=self.kind))

    # --- the base -----------------------------------------------------------------------------

    @property
    def base(self) -> ResidentBase | None:
        """The resident base; None before the first load."""
        return self._control.residence.base

    @property
    def resident(self) -> ResidentBase:
        """The resident base.

        Raises:
            BadInput: none is loaded.
        """
        base = self._control.residence.base
        if base is None:
            raise BadInput("no base is loaded", mend='send {"job":"load","base":...} first')
        return base

    def find_base(self, spec: str) -> Path:
        """The folder of the base called ``spec``, converted first where it is a GGUF file; without
        a name the resident base, else the workspace's."""
        if not spec and self.base is not None:
            return self.base.path
        return resolve_base(spec, self.workspace, report=self.progress)

    def four_bits(self, spec: str, asked: bool | None, recorded: bool | None = None) -> bool:
        """Whether the base is to be held in 4 bits: as was asked, else as it is resident, else as
        was recorded, else not.

        Args:
            spec: the base, as for :meth:`find_base`.
            asked: what the job says; None = nothing.
            recorded: how what is to act on the base was trained; None = unknown.
        """
        if asked is not None:
            return asked
        if self.base is not None and is_same_folder(self.base.path, self.find_base(spec)):
            return self.base.quantised
        return bool(recorded)

    def device(self, spec: str, asked: str) -> torch.device:
        """Where the base is to compute: as was asked, else where it is resident, else on a card if
        there is one.

        Args:
            spec: the base, as for :meth:`find_base`.
            asked: what the job says; ``auto`` = nothing.

        Raises:
            BadInput: there is no such device here.
        """
        import_torch()
        import torch

        base = self.base if asked in ("", "auto") else None
        if base is not None and is_same_folder(base.path, self.find_base(spec)):
            return torch.device(base.placed)
        return choose_device(asked)

    def load_base(
        self,
        spec: str,
        load_4bit: bool | None = None,
        *,
        device: str = "auto",
        sharded: bool = False,
        replace: bool = False,
    ) -> ResidentBase:
        """The resident base for ``spec``, loaded only where another one (or none) is there.

        Args:
            spec: the base, as for :meth:`find_base`.
            load_4bit: as for :meth:`four_bits`.
            device: as for :meth:`device`.
            sharded: it is to be spread over several processes.
            replace: the resident base may be replaced, also in a process that keeps its base.

        Raises:
            BadInput: this process keeps another base, or the same one otherwise.
        """
        folder = self.find_base(spec)
        place = self.device(spec, device)
        wanted = Wanted(folder, self.four_bits(spec, load_4bit), sharded, str(place))
        base = self._control.residence.obtain(wanted, self.emit, replace=replace)
        base.set_clock(Clock.now())  # it may have been loaded days ago
        return base

    def drop_adapter(self, name: str) -> None:
        """Take the adapter from the base, and say so to all who know that it is there."""
        self.resident.drop(name)
        self.emit(events.AdapterDropped(job="", name=name))

    # --- the run ------------------------------------------------------------------------------

    def open_run(
        self,
        kind: str,
        *,
        about: dict[str, Any],
        facts: RunFacts | None = None,
        out: str = "",
        name: str = "",
        asked: Job | None = None,
    ) -> Run:
        """Make the run's folder; from here on this job's events go into its journal.

        Args:
            asked: the job by which the run can be resumed in any engine; None = as it came.
        """
        root: Path | None = self.workspace.runs if self.workspace else None
        job = msgspec.to_builtins(absolute(asked or self.job))
        run = create_run(root, kind, about=about, facts=facts, out=out, name=name, job=job)
        return self._opened(run)

    def reopen_run(self, folder: Path) -> Run:
        """Continue an earlier run; this job's events are added to its journal."""
        return self._opened(reopen_run(folder))

    def _opened(self, run: Run) -> Run:
        self.run = run
        self._control.run_opened(run, part=self.part)
        self.emit(
            events.RunCreated(
                job="",
                run=run.id,
                path=str(run.folder),
                kind=run.info.kind,
                about=run.info.about,
            )
        )
        return run

    def do_part(self, job: Job) -> AnyResult:
        """Do another job within this one, with a run of its own. It shares the base, the id and
        requests to stop. Raises what that job raises."""
        return self._control.do_part(job)
