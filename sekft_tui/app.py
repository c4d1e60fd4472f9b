"""The workbench: joins panes, bridge and keys. What each of them does is in its own file."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import msgspec
from textual import on
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import ContentSwitcher

from sekft_engine import demo as demo_jobs
from sekft_engine.core.crash import write_report
from sekft_engine.core.errors import SekftError
from sekft_engine.data.recipe import Recipe
from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events, jobs
from sekft_tui import messages, theme
from sekft_tui.dataset import DataSet
from sekft_tui.engine_switch import EngineSwitch
from sekft_tui.input import clipboard
from sekft_tui.input.actions import Place, bindings
from sekft_tui.input.palette import KeyCommands
from sekft_tui.leaving import Leaving, farewell
from sekft_tui.model.job_text import engine_text, job_state
from sekft_tui.model.pinned_runs import PinnedRuns
from sekft_tui.model.reducer import Shared
from sekft_tui.panes import PANE_TYPES
from sekft_tui.panes.pane import Pane
from sekft_tui.process import attachment
from sekft_tui.process.attention import Attention
from sekft_tui.process.bridge import Bridge, EngineEvent, EngineLike, EngineState
from sekft_tui.process.hangup import over_bare_ssh
from sekft_tui.process.remembered import Remembered, save_rest
from sekft_tui.process.settings import State, load_state
from sekft_tui.process.workers import KeyPriority
from sekft_tui.screens.details import DetailsScreen
from sekft_tui.screens.engine import EngineScreen
from sekft_tui.screens.help import HelpScreen
from sekft_tui.screens.protocols import DrawsState, HasTypingTarget
from sekft_tui.screens.queue import QueueScreen
from sekft_tui.screens.setup import SetupScreen
from sekft_tui.tools_app import ToolsApp
from sekft_tui.widgets.form import Form
from sekft_tui.widgets.line_edit import TypingTarget
from sekft_tui.widgets.prompt_line import PromptLine

#: How often the screen asks the bridge whether something changed, per second.
PULLS = 6


class Workbench(ToolsApp):
    """``sekft tui``.

    Args:
        engine: does the jobs. The app starts it; whoever made it closes it.
        workspace: the folder to show.
        base: the base to train and evaluate; "" = the workspace's.
        data: the trajectories to show and train on; "" = the workspace's.
        hub: a data set of the Hub instead; "" = none.
        demo: set the workspace up first if it is not.
        remark: a line to begin with.
    """

    TITLE = "sekft"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar = App.COMMANDS | {KeyCommands}
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("global"),
        Binding("ctrl+q", "quit", show=False, priority=False),
    ]
    HORIZONTAL_BREAKPOINTS = [
        (0, "-narrow"),
        (110, "-wide"),
    ]
    CSS = """
    #panes { height: 1fr; }
    ToastRack { align-horizontal: right; }
    Toast { max-width: 64; }
    """

    def __init__(
        self,
        engine: EngineLike,
        workspace: Workspace,
        *,
        base: str = "",
        demo: bool = False,
        data: str = "",
        hub: str = "",
        remark: str = "",
    ) -> None:
        super().__init__()
        self._remark = remark
        self.key_priority = KeyPriority()
        self.data = DataSet("" if hub else data or str(workspace.trajectories), hub)
        self.workspace = workspace
        self.demo = demo
        self._base = base
        self.state: State = load_state()
        self.remembered = Remembered(workspace.root)
        self.pinned = PinnedRuns(
            workspace.runs,
            self.state.pinned.get(str(workspace.root), ()),
            remember=self._remember_pinned,
            in_background=self._read_pinned,
        )
        self.data_report = ""
        self.recipe = demo_jobs.RECIPE if self.is_demo else Recipe()
        self.bridge = Bridge(engine, self.post_message)
        self.switch = EngineSwitch(self)
        self.leaving = Leaving(self)
        #: What the terminal that is left shows.
        self.farewell = ""
        self.prompt = PromptLine()
        self.attention = Attention(self.to_terminal, os.environ)
        self.apply_preferences()
        self._drawn: dict[Place, int] = {}
        self._alarms_read = 0
        self._timer: Timer | None = None
        self._last_error = ("", "")
        for own in theme.THEMES:
            self.register_theme(own)
        self.theme = self.state.theme if self.state.theme in self.available_themes else "sekft-dark"

    # --- the workspace ----------------------------------------------------------------------

    @property
    def base(self) -> str:
        """The base to train and evaluate."""
        return self._base or self.workspace.base

    @property
    def is_demo(self) -> bool:
        """Whether the demo's base is used, which needs the demo's recipe and limits."""
        return self.demo or Path(self.base).name == demo_jobs.BASE

    @property
    def engine(self) -> EngineLike:
        """The engine that is shown now."""
        return self.bridge.engine

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return theme.defaults(self.current_theme.dark if self.theme else True)

    def _remember_pinned(self, runs: tuple[str, ...]) -> None:
        pinned = {**self.state.pinned, str(self.workspace.root): runs}
        self.state = msgspec.structs.replace(self.state, pinned=pinned)

    def _read_pinned(self, read: Callable[[], None]) -> None:
        async def work() -> None:
            await asyncio.to_thread(read)
            self.redraw_pane()

        self.run_worker(work(), group="pinned", exclusive=True)

    # --- starting ---------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield self.tabs
        yield ContentSwitcher(id="panes")
        yield self.keys
        yield self.tour
        yield self.prompt  # covers the keys while it is open

    async def on_mount(self) -> None:
        self.engine.start()
        self._timer = self.set_interval(1 / PULLS, self.pull)
        wanted: Place = next((p for p in PANE_TYPES if p == self.state.pane), "trajectories")
        fresh = self.demo and not is_set_up(self.workspace)
        await self.action_pane("trajectories" if fresh else wanted)
        if fresh:
            self.push_screen(SetupScreen(), self._set_up)
            self.bridge.submit(jobs.Setup(workspace=str(self.workspace.root)))
        elif self.is_empty:
            self.welcome()
        elif self._remark:
            self.keys.note(self._remark, 10)
        elif self.bridge.remote is not None:
            pass  # what it holds is said as soon as its history is read
        elif left := [job for job in self.engine.status().queued if job.held]:
            waiting = "1 job waits" if len(left) == 1 else f"{len(left)} jobs wait"
            self.keys.note(f"{waiting} since the last session: Q shows the queue", 10)
        elif self.is_demo and not self.state.tour_offered:
            self.state = msgspec.structs.replace(self.state, tour_offered=True)
            self.keys.note("ctrl+g: a tour of five minutes", 10)
        elif over_bare_ssh(os.environ) and not self.state.tmux_hint_shown:
            self.state = msgspec.structs.replace(self.state, tmux_hint_shown=True)
            self.keys.note("in tmux this session would survive a dropped connection", 10)

    def _set_up(self, done: bool | None) -> None:
        if done:
            self.action_reload()

    def pull(self) -> None:
        """Draw the visible pane, if anything changed since the last time."""
        self.attention.title(f"sekft {self.workspace.root.name}: {self.tabs.state[0]}")
        version = self.bridge.version
        if self._drawn.get(self.pane) == version:
            return
        self._drawn[self.pane] = version
        with self.bridge.shared() as shared, self.batch_update():
            self._draw_tabs(shared)
            pane = self.current_pane
            if pane is not None:
                pane.draw(shared)
            for screen in self.screen_stack:
                if isinstance(screen, DrawsState):
                    screen.draw(shared)

    @on(messages.RedrawPane)
    def redraw_pane(self) -> None:
        """Draw the visible pane again at once, even if nothing changed."""
        self._drawn.pop(self.pane, None)
        self.pull()

    def _draw_tabs(self, shared: Shared) -> None:
        if self.pane == "log":
            self._alarms_read = shared.alarms
        unread = shared.alarms - self._alarms_read
        self.tabs.badges["log"] = f" ({unread})" if unread > 0 else ""
        self.tabs.base = Path(self.base).name
        remote = self.bridge.remote
        self.tabs.engine = f"· process {remote.greeting.pid}" if remote is not None else ""
        self.tabs.state = attachment.header(remote, engine_text(shared))
        self.tabs.update()

    def make_pane(self, name: Place) -> Pane:
        return PANE_TYPES[name](self)

    @on(messages.TakeOver)
    def _take_over(self, message: messages.TakeOver) -> None:
        from sekft_tui.screens.takeover import begin_at

        self.push_screen(begin_at(self, message.path, message.turn))

    def action_demonstrate(self) -> None:
        from sekft_tui.screens.takeover import choose_world

        self.run_worker(choose_world(self))

    # --- what the engine says ---------------------------------------------------------------

    @on(EngineEvent)
    def _on_engine_event(self, message: EngineEvent) -> None:
        event = message.event
        match event:
            case events.JobFailed():
                self.error(event.error, event.trace)
            case events.JobCancelled():
                self.note(f"{event.kind} stopped. {event.detail}".strip())
            case events.JobDone(kind="train" | "eval" | "setup"):
                self.note(f"{event.kind} done")
        with self.bridge.shared() as shared:
            ended = shared.jobs.get(event.job) if isinstance(event, events.ENDINGS) else None
        if ended is not None and ended.started:
            how = job_state(ended.status)[0].partition(" ")[2]
            self.attention.ended(f"sekft: {ended.kind} {how}", ended.started, ended.ended)
        for screen in self.screen_stack:
            if isinstance(screen, SetupScreen):
                screen.engine_event(event)
        for pane in self.query(Pane).results(Pane):
            pane.engine_event(event)

    @on(EngineState)
    def _on_engine_state(self, message: EngineState) -> None:
        self.switch.state_changed(message)

    def action_detach(self) -> None:
        """Leave the engine of another process; hand over to one where it is this process's."""
        if self.bridge.remote is not None:
            self.leave()
        else:
            self.switch.move_out(then_leave=False)

    # --- messages to the user-----------------------------------------------------------------

    def note(self, text: str, seconds: float = 4.0) -> None:
        """Show a line in place of the keys, for so many seconds."""
        self.keys.note(text, seconds)

    def error(self, text: str, trace: str = "") -> None:
        """Show an error for a few seconds; ``e`` shows it in full. The workbench keeps running."""
        self._last_error = (text, trace)
        self.log_line("error", text)
        self.notify(
            text, title="error · e shows details", severity="error", markup=False, timeout=10
        )

    def worker_failed(self, error: Exception) -> None:
        report = write_report("".join(traceback.format_exception(error)), sys.argv[1:])
        where = f" (the report is {report})" if report is not None else ""
        self.error(f"unexpected {type(error).__name__}: {error}{where}")

    def log_line(self, level: str, text: str) -> None:
        """Add a line to the log pane."""
        with self.bridge.shared() as shared:
            shared.add_log(time.time(), level, text)
            shared.version += 1

    # --- keys -------------------------------------------------------------------------------

    def typing_target(self) -> TypingTarget | None:
        if self.prompt.typing and self.screen is self.prompt.screen:
            return self.prompt
        if isinstance(self.screen, HasTypingTarget):
            return self.screen.typing_target
        focused = self.focused
        return focused if isinstance(focused, Form) and focused.typing else None

    def action_help(self) -> None:
        self.push_screen(HelpScreen(self.pane))

    def action_queue(self) -> None:
        self.push_screen(QueueScreen(self.bridge))

    def action_engine(self) -> None:
        self.push_screen(EngineScreen(self.bridge, self.workspace.root))

    def action_details(self) -> None:
        text, trace = self._last_error
        if text:
            self.push_screen(DetailsScreen(text, trace, lambda text: self._copy("error", text)))
        else:
            self.note("no error so far")

    def action_next_theme(self) -> None:
        names = [own.name for own in theme.THEMES]
        at = names.index(self.theme) + 1 if self.theme in names else 0
        self.theme = names[at % len(names)]
        self.note(self.theme)

    def action_zoom(self) -> None:
        if self.screen.maximized is not None:
            self.screen.minimize()
        elif self.screen.focused is not None:
            self.screen.maximize(self.screen.focused)

    def action_reload(self) -> None:
        for pane in self.query(Pane).results(Pane):
            pane.reload()
        self.redraw_pane()

    def action_copy(self) -> None:
        pane = self.current_pane
        if pane is not None:
            self._report(lambda: self._copy(*pane.copied()))

    def action_copy_file(self) -> None:
        pane = self.current_pane
        if pane is not None:
            self._report(lambda: clipboard.save(pane.whole(), f"sekft-{pane.place}"))

    def _copy(self, name: str, text: str) -> str:
        if not text:
            return "nothing to copy here"
        return clipboard.copy(text, name, self.to_terminal, Path.cwd())

    def _report(self, do: Callable[[], str]) -> None:
        """Show what ``do`` did, or its error."""
        try:
            self.note(do())
        except SekftError as error:
            self.error(str(error))

    def to_terminal(self, sequence: str) -> None:
        """Write an escape sequence past the compositor."""
        if self._driver is not None:
            self._driver.write(sequence)

    def action_interrupt(self) -> None:
        self.leaving.ask(interrupt=True)

    async def action_quit(self) -> None:
        self.leaving.ask()

    def leave(self) -> None:
        """Save the settings and end."""
        with self.bridge.shared() as shared:
            self.farewell = farewell(shared)
        save_rest(msgspec.structs.replace(self.state, theme=self.theme, pane=self.pane))
        self.bridge.close()
        self.attention.close()
        self.exit(0)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield SystemCommand("Theme", "Choose among all themes", self.action_change_theme)
        yield SystemCommand(
            "Screenshot", "Save a picture (SVG) of the screen", self.deliver_screenshot
        )
        if screen.query("HelpPanel"):
            yield SystemCommand("Hide keys", "Hide the key panel", self.action_hide_help_panel)


def is_set_up(workspace: Workspace) -> bool:
    """Whether the workspace has a base, scenarios and trajectories."""
    return bool(workspace.base and demo_jobs.has_data(workspace))
