"""Token losses before and after a run: choose the run, and measure what is missing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

from sekft_engine.core.errors import SekftError, in_words
from sekft_engine.core.imports import import_module
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_tui.input.actions import key_for
from sekft_tui.screens.choose import Choice, ChooseScreen

if TYPE_CHECKING:
    from sekft_engine.maskview.document import Losses
    from sekft_engine.render import Row
    from sekft_engine.training.token_losses.losses import LossFile
    from sekft_tui.panes.trajectories.browser import Browser


class Measured(Message):
    """The losses of ``run`` are read; or ``problem`` says why they cannot be shown."""

    def __init__(self, run: str, file: LossFile | None, problem: str = "") -> None:
        super().__init__()
        self.run = run
        self.file = file
        self.problem = problem


class Runs(Message):
    """The runs whose losses can be shown; ``then`` is called once one is read."""

    def __init__(self, choices: tuple[Choice, ...], then: Callable[[], None]) -> None:
        super().__init__()
        self.choices = choices
        self.then = then


class RunLosses:
    """The token losses of one chosen run."""

    def __init__(self, pane: Browser) -> None:
        self._pane = pane
        #: The run's id; "" = no losses are shown.
        self.run = ""
        self._file: LossFile | None = None
        self._job = ""
        self._reported: set[str] = set()
        self._then: Callable[[], None] = lambda: None

    def of(self, row: Row) -> Losses | None:
        """The losses of a row's tokens; None = not measured. Called on the rendering thread."""
        file = self._file
        measured = file.get(row.id) if file is not None else None
        if measured is None:
            return None
        try:
            return measured.arrays(row)
        except SekftError as error:
            self._pane.post_message(Measured(self.run, file, str(error)))
            return None

    def known(self, trajectory: str) -> bool:
        return self._file is not None and trajectory in self._file

    # --- keys -------------------------------------------------------------------------------

    def choose(self, then: Callable[[], None] = lambda: None) -> None:
        """Let the user choose a run; ``then`` is called once its losses are read."""
        runs = self._pane.host.workspace.runs

        def read() -> None:
            import_module("sekft_engine.training.token_losses.losses")
            from sekft_engine.records.runs import list_runs
            from sekft_engine.training.token_losses.losses import read_token_losses

            choices = []
            for run in reversed(list_runs(runs)):
                if run.kind == "train" and run.adapter:
                    count = len(read_token_losses(run.path))
                    about = f"{count:,} measured" if count else "nothing measured yet"
                    choices.append(Choice(run.id, run.id, about))
            self._pane.post_message(Runs(tuple(choices), then))

        self._on_thread(read)

    def offer(self, message: Runs) -> None:
        """Ask the user to choose one of these runs."""
        if not message.choices:
            self._pane.host.note(
                f"no run with an adapter yet; {key_for('global.pane-train')} goes to Train"
            )
            return
        none = (Choice("", "show no losses", ""),) if self.run else ()

        def chosen(run: str | None) -> None:
            if run is not None:
                self._use(run, message.then)

        screen = ChooseScreen("losses of which run?", (*message.choices, *none), self.run)
        self._pane.host.push_screen(screen, chosen)

    def _use(self, run: str, then: Callable[[], None]) -> None:
        self._then = then if run else lambda: None
        if not run:
            self.take(Measured("", None))
            return
        folder = self._pane.host.workspace.runs / run

        def read() -> None:
            import_module("sekft_engine.training.token_losses.losses")
            from sekft_engine.training.token_losses.losses import read_token_losses

            self._pane.post_message(Measured(run, read_token_losses(folder)))

        self._on_thread(read)

    def take(self, message: Measured) -> None:
        """Show the losses that were read."""
        if message.problem:
            if message.problem not in self._reported:
                self._reported.add(message.problem)
                self._pane.host.error(message.problem)
            return
        self.run, self._file = message.run, message.file
        self._pane.rerender("loss" if message.run else "context")
        then, self._then = self._then, lambda: None
        then()
        facts = self._pane.current
        if message.run and facts is not None and not self.known(facts.id) and not self._job:
            key = key_for("trajectories.measure")
            self._pane.host.note(f"not measured for this trajectory: {key} measures it")

    def measure(self) -> None:
        """Have the engine measure the trajectory under the cursor with the chosen run's adapter."""
        host, facts = self._pane.host, self._pane.current
        if facts is None:
            return
        if not self.run:
            self.choose(self.measure)
        elif self.known(facts.id):
            self._pane.rerender("loss")
        else:
            self._job = host.bridge.submit(
                jobs.MeasureLosses(
                    run=self.run,
                    ids=(facts.id,),
                    data=host.data.path,
                    hub=host.data.hub,
                    base=host.base,
                )
            )
            host.note(f"measuring {facts.id} before and after {self.run}")

    def engine_event(self, event: Event) -> None:
        if self._job and event.job == self._job and isinstance(event, events.ENDINGS):
            self._job = ""
            if isinstance(event, events.JobDone):
                self._use(self.run, lambda: None)

    def _on_thread(self, read: Callable[[], None]) -> None:
        def work() -> None:
            try:
                read()
            except (SekftError, OSError) as error:
                self._pane.post_message(Measured(self.run, self._file, in_words(error)))

        threading.Thread(target=work, name="sekft-losses", daemon=True).start()
