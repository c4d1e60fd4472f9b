"""The one way out of the workbench: what leaving would lose, the question, and a last line."""

from __future__ import annotations

import math
import shlex
from collections.abc import Set
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from textual.screen import Screen

from sekft_engine.core.text import count
from sekft_engine.data.workspace import naming
from sekft_tui.host import Host
from sekft_tui.input.actions import key_for
from sekft_tui.model.endings import name_of, stop_of
from sekft_tui.process.attachment import cannot_move_out
from sekft_tui.process.hangup import LastWords
from sekft_tui.screens.busy import BusyScreen
from sekft_tui.screens.quit import QuitScreen
from sekft_tui.text import duration, visible

if TYPE_CHECKING:
    from sekft_engine.engine.attached.remote import RemoteEngine
    from sekft_tui.app import Workbench
    from sekft_tui.engine_switch import EngineSwitch
    from sekft_tui.model.reducer import JobView, Shared
    from sekft_tui.model.training import TrainView


class App(Host, Protocol):
    """What is needed of the app."""

    next_workspace: str

    @property
    def screen(self) -> Screen[object]: ...
    @property
    def switch(self) -> EngineSwitch: ...
    def leave(self) -> None: ...


class Leaving:
    """Asks before anything is lost."""

    def __init__(self, app: App) -> None:
        self._app = app

    def ask(self, *, interrupt: bool = False, to: str = "") -> None:
        """Leave if nothing is lost by it, else ask.

        Args:
            interrupt: it was ctrl+c, so that ctrl+c again within a moment leaves.
            to: the folder of the workspace to open then; "" = none.
        """
        app = self._app
        if isinstance(app.screen, QuitScreen | BusyScreen):
            return
        app.next_workspace = to
        attached = app.bridge.remote is not None
        with app.bridge.shared() as shared:
            job = shared.active
            lost = [] if attached else losses(shared, app.workspace.root)
            loaded = shared.base is not None
        if job is None and not lost:
            app.leave()
            return
        refused = cannot_move_out(app.bridge.engine)
        if refused is not None:
            lost = [*lost, f"It cannot move to the background: {refused.what}."]
            if job is not None and refused.mend:
                lost.append(f"{refused.mend[:1].upper()}{refused.mend[1:]}.")
        screen = QuitScreen(
            job.kind if job is not None else "",
            lost,
            attached=attached,
            moves=refused is None,
            loaded=loaded,
            interrupt=interrupt,
        )
        app.push_screen(screen, self._answer)

    def _answer(self, answer: str | None) -> None:
        app = self._app
        if answer == "leave" or (answer == "detach" and app.bridge.remote is not None):
            app.leave()
        elif answer == "detach":
            app.switch.move_out(then_leave=True)
        elif answer == "stop":
            self._stop()
        else:  # it goes on here
            app.next_workspace = ""
            with app.bridge.shared() as shared:
                job = shared.active
            if answer == "cancel" and app.bridge.stop(after_step=False):
                kept = stop_of(job.kind).cancelled if job is not None else ""
                app.note(f"cancelling: {kept}" if kept else "cancelling")

    def _stop(self) -> None:
        """Leave as soon as the running job has stopped, and saved what it keeps."""
        app = self._app
        with app.bridge.shared() as shared:
            job = shared.active
        app.bridge.stop(after_step=True)
        waits = BusyScreen("leaving", partial(ending_text, job=job))
        app.push_screen(waits, lambda _: app.leave())


def losses(shared: Shared, root: Path) -> list[str]:
    """What ends with an engine of this process on the workspace at ``root``, each in a line."""
    out = []
    job = shared.active
    if job is not None and job.kind == "train" and (unsaved := _unsaved(shared.train)):
        out.append(unsaved)
    waiting = shared.queue.waiting if shared.queue is not None else []
    if waiting:
        some = "1 job is" if len(waiting) == 1 else f"{len(waiting)} jobs are"
        out.append(f"{some} waiting; sekft tui{naming(root)} would offer to resume next time")
    if (base := shared.base) is not None:
        name = visible(Path(base.base).name)
        out.append(f"{name} is loaded; loading it took {duration(base.seconds)}")
    return out


def broken_off(shared: Shared, job: str) -> list[str]:
    """What ``job`` did and had not saved when its process was gone, each in a line."""
    lost = []
    steps, spent = shared.train.unsaved() if shared.train.job == job else (0, 0.0)
    if steps:
        lost.append(f"{count(steps, 'step')} of training ({duration(spent)})")
    episodes = shared.eval.in_play if shared.eval.job == job else 0
    if episodes:
        lost.append(f"{count(episodes, 'episode')} in play")
    return [f"Not on disk: {what}; resuming does that again." for what in lost]


def ending_text(shared: Shared, job: JobView | None = None) -> str:
    """What ``job``, else the one at work, does that was asked to stop; "" = it has ended."""
    job = shared.jobs.get(job.id, job) if job is not None else shared.active
    if job is None or not job.active:
        return ""
    batch = shared.train.batch
    if job.id == shared.train.job and batch is not None and batch.step > shared.train.step:
        return f"step {batch.step} ends and is saved"
    return f"{name_of(job.kind)} {stop_of(job.kind).ending}"


def _unsaved(train: TrainView) -> str:
    """Steps since the last save; "" = none."""
    steps, spent = train.unsaved()
    if not steps:
        return ""
    done = "1 step is" if steps == 1 else f"{steps} steps are"
    return f"{done} not saved yet ({duration(spent)})"


def farewell(shared: Shared, root: Path, ended: Set[str] = frozenset()) -> str:
    """A line for the terminal that is left: what was done, what waits in the workspace at ``root``;
    "" = nothing to say. The jobs ``ended`` were not done when the engine closed."""
    parts = []
    train, job = shared.train, _training(shared)
    if job is not None and train.last is not None:
        loss = train.last.loss
        of = f"step {train.step} of {train.total}"
        number = f"loss {loss:.4f}" if math.isfinite(loss) else "loss not finite"
        parts.append(f"{visible(train.run)}: {of}, {number}")
        if job.active and (unsaved := _unsaved(train)):
            parts.append(unsaved)
    if left := len(_unfinished(shared) | ended):
        keys = f"{key_for('global.queue')}, or {key_for('runs.resume')} in Runs"
        parts.append(f"{left} unfinished: sekft tui{naming(root)} offers to resume ({keys})")
    return "; ".join(parts)


def last_words(app: Workbench) -> LastWords:
    """What the terminal shows after a signal. To be called before the engine closes: what is not
    done then is unfinished. An engine of another process goes on."""
    bridge, remote = app.bridge, app.bridge.remote
    if remote is not None and remote.state != "ended":
        return LastWords("", partial(keeps_running, remote))
    with bridge.shared() as shared:
        ended, waits = _unfinished(shared), ending_text(shared)

    def text() -> str:
        with bridge.shared() as shared:
            return farewell(shared, app.workspace.root, ended)

    return LastWords(waits, text)


def keeps_running(remote: RemoteEngine) -> str:
    """A line for the terminal that is left: how to come back to the engine, and how to end it."""
    where, begins = remote.where, f"the engine keeps running (process {remote.greeting.pid}): "
    if where.path is not None:
        return f"{begins}sekft tui --attach {shlex.quote(str(where.path))} shows it again"
    name = naming(where.workspace.root)
    return f"{begins}sekft tui{name} shows it again, sekft resident stop{name} ends it"


def _unfinished(shared: Shared) -> set[str]:
    """The ids of the jobs that wait or are at work."""
    found = {job.id for job in shared.queue.waiting} if shared.queue is not None else set()
    if shared.active is not None:  # which may be the first that waits
        found.add(shared.active.id)
    return found


def _training(shared: Shared) -> JobView | None:
    return next((job for job in shared.jobs.values() if job.kind == "train"), None)
