"""The app as it stands in one workspace: its base, its engine, and the runs beside others."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sekft_engine.data.workspace import Workspace
from sekft_tui.panes_app import PanesApp
from sekft_tui.process.settings import State, load_state
from sekft_tui.process.workers import Later, run_on_thread

#: Seconds between two looks for runs that other processes write.
ELSEWHERE_S = 2.0

# What is read after the first picture: tests/test_laws.py holds the start to that.
if TYPE_CHECKING:
    from sekft_engine.records.runs import RunInfo
    from sekft_tui.engine_switch import EngineSwitch
    from sekft_tui.model.runs.pinned import PinnedRuns
    from sekft_tui.process.attachment import Chosen
    from sekft_tui.process.bridge import Bridge, EngineLike
    from sekft_tui.process.remembered import Remembered


class WorkspaceApp(PanesApp):
    """Makes the way to the engine, and what else takes a moment to read, when first asked for.

    Args:
        engine: does the jobs, or chooses which does.
        workspace: the folder to show.
        base: the base to train and evaluate; "" = the workspace's.
        demo: whether it is the demo's workspace.
        remark: a line to begin with; "" = what the choice of the engine says.
    """

    remembered: Remembered

    @property
    @abstractmethod
    def switch(self) -> EngineSwitch:
        """Changes the engine that is shown."""

    def __init__(
        self,
        engine: EngineLike | Callable[[], Chosen],
        workspace: Workspace,
        *,
        base: str = "",
        demo: bool = False,
        remark: str = "",
    ) -> None:
        super().__init__()
        self._engine = engine
        self.workspace = workspace
        self._base = base
        self.demo = demo
        self.remark = remark
        self.state: State = load_state()
        self.demo_made = ""
        #: What is said of a demo that was begun here and is not whole.
        self.demo_left = ""
        #: A run that another process writes while the engine that is shown does nothing.
        self.run_elsewhere: RunInfo | None = None
        self._looking = False
        #: An engine was asked for that is this process's own, whatever else is there.
        self._own_engine = False
        #: The process of an engine in the background that cannot do what is to be done here.
        self.unfit_engine = 0

    @property
    def base(self) -> str:
        """The base to train and evaluate."""
        return self._base or self.workspace.base

    @property
    def is_demo(self) -> bool:
        """Whether the demo's base is used, which needs the demo's recipe and limits."""
        from sekft_engine import demo

        return self.demo or Path(self.base).name == demo.BASE

    @property
    def engine(self) -> EngineLike:
        """The engine that is shown now."""
        return self.bridge.engine

    @cached_property
    def bridge(self) -> Bridge:
        """The way to the engine."""
        from sekft_tui.process.bridge import Bridge

        if callable(self._engine):
            chosen = self._engine()
            self._engine = chosen.engine
            self._base = self._base or chosen.base
            self.remark = self.remark or chosen.remark
            self._own_engine = chosen.own
        return Bridge(self._engine, self.post_message)

    def use_base(self, base: str) -> None:
        """Use the base of an engine that was found, where none was named here."""
        if not self.base:
            self._base = base

    @property
    def engine_beside(self) -> int:
        """The process of an engine in the background that could be used in place of this process's
        own; 0 = there is none, or this one does not want it."""
        from sekft_tui.process.attachment import engine_beside

        if self.bridge.remote is not None or self._own_engine:
            return 0
        found = engine_beside(self.workspace)
        return 0 if found == self.unfit_engine else found

    def join_engine(self, then: Callable[[], object]) -> None:
        """Leave this process's idle engine for the one in the background, and then do something."""
        self.switch.join(then)

    def log_earlier(self) -> None:
        """Begin the log with what happened to runs and sessions since the last time; the engine of
        another process tells of its runs itself."""
        begun = self.remembered.form("log").get("begun", "")
        since = int(begun) / 1000 if begun.isdecimal() else 0.0  # kept in milliseconds
        self.remembered.keep_form("log", {"begun": str(time.time_ns() // 1_000_000)})

        async def work() -> None:
            endings = await run_on_thread(lambda: self._earlier(since))
            with self.bridge.shared() as shared:
                for ending in endings:
                    shared.add_log(*ending)
                    shared.version += 1

        self.run_worker(Later(work), group="earlier")

    def _earlier(self, since: float) -> list[tuple[float, str, str]]:
        """What the log begins with, in the order of the times."""
        from sekft_engine.takeover.draft_files import drafts_folder
        from sekft_tui.process.earlier import endings_since, sessions_left_since

        found = sessions_left_since(drafts_folder(self.workspace), since)
        if self.bridge.remote is None:
            found += endings_since(self.workspace.runs, since)
        return sorted(found)

    def look_elsewhere(self) -> None:
        """Where the engine does nothing, see whether another process writes a run: an earlier
        workbench that ends its step, or a command. And where an engine is in the background by
        now, join it before a base is loaded here that is loaded there. What an earlier workbench
        had yet to do is taken up once that one has ended."""

        async def work() -> None:
            try:
                found = await run_on_thread(self._find_elsewhere)
                beside = await run_on_thread(lambda: self.engine_beside)
            finally:
                self._looking = False
            if found != self.run_elsewhere:
                self.run_elsewhere = found
                self.redraw_pane()
            if beside and self._may_join():
                self.switch.join()

        if not self._looking:
            self._looking = True
            self.run_worker(Later(work), group="elsewhere")

    def _may_join(self) -> bool:
        """Whether nothing would be lost by leaving the own engine, and nobody is in the middle of
        something."""
        with self.bridge.shared() as shared:
            loaded = shared.base is not None
        at_rest = len(self.screen_stack) == 1 and self.typing_target() is None
        status = self.engine.status()
        return at_rest and not loaded and status.running is None and not status.queued

    def _find_elsewhere(self) -> RunInfo | None:
        from sekft_tui.process.attachment import take_up
        from sekft_tui.process.elsewhere import running_elsewhere

        take_up(self.bridge.engine)
        with self.bridge.shared() as shared:
            busy = shared.active is not None
        found = [] if busy else running_elsewhere(self.workspace.runs, ())
        # A session that someone watches is no job of an engine, and may be of this process.
        return next((run for run in found if run.kind != "shell"), None)

    @cached_property
    def pinned(self) -> PinnedRuns:
        """Training runs drawn beside every other."""
        from sekft_tui.model.runs.pinned import PinnedRuns

        return PinnedRuns(
            self.workspace.runs,
            self.state.pinned.get(str(self.workspace.root), ()),
            remember=self._remember_pinned,
            in_background=self._read_pinned,
        )

    def _remember_pinned(self, runs: tuple[str, ...]) -> None:
        pinned = {**self.state.pinned, str(self.workspace.root): runs}
        self.state = msgspec.structs.replace(self.state, pinned=pinned)

    def _read_pinned(self, read: Callable[[], None]) -> None:
        async def work() -> None:
            await asyncio.to_thread(read)
            self.redraw_pane()

        self.run_worker(Later(work), group="pinned", exclusive=True)
