"""The workbench: joins panes, bridge and keys. What each of them does is in its own file."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec
from textual import on
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import ContentSwitcher

from sekft_engine.data.recipe import Recipe
from sekft_engine.data.workspace import Workspace
from sekft_tui import messages, theme
from sekft_tui.input.actions import bindings, fixed_key
from sekft_tui.input.own_keys import use_own_keys
from sekft_tui.input.palette import KeyCommands
from sekft_tui.input.places import PANES, Place
from sekft_tui.model.dataset import DataSet
from sekft_tui.model.job_size import DataCount
from sekft_tui.panes import pane_type
from sekft_tui.process.attention import Attention
from sekft_tui.process.remembered import Remembered, save_rest
from sekft_tui.process.workers import KeyPriority, run_on_thread
from sekft_tui.screens.protocols import DrawsState, HasTypingTarget, HearsEngine
from sekft_tui.tools_app import ToolsApp
from sekft_tui.widgets.form import Form
from sekft_tui.widgets.line_edit import TypingTarget
from sekft_tui.widgets.prompt_line import PromptLine
from sekft_tui.workspace_app import ELSEWHERE_S

# What is read after the first picture: tests/test_laws.py holds the start to that.
if TYPE_CHECKING:
    from sekft_tui.engine_switch import EngineSwitch
    from sekft_tui.leaving import Leaving
    from sekft_tui.model.reducer import Shared
    from sekft_tui.panes.pane import Pane
    from sekft_tui.process.attachment import Chosen
    from sekft_tui.process.bridge import EngineLike

#: Seconds between two looks at whether something is to be remembered: after a loss of power, what
#: was changed since is lost.
REMEMBER_S = 5.0
#: How often the screen asks the bridge whether something changed, per second.
PULLS = 6


class Workbench(ToolsApp):
    """``sekft tui``.

    It paints its frame first, and then reads and makes what stands in it.

    Args:
        engine: does the jobs, or chooses which does. The app starts it; whoever made the app closes
            it.
        workspace: the folder to show.
        base: the base to train and evaluate; "" = the workspace's.
        data: the trajectories to show and train on; "" = the workspace's.
        hub: a data set of the Hub instead; "" = none.
        named: data, or a base that has to be fetched, was named for this session: it begins with
            Trajectories, which shows it or says what is wrong with it.
        demo: set the workspace up first if it is not.
        remark: a line to begin with.
    """

    TITLE = "sekft"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar = App.COMMANDS | {KeyCommands}
    #: What the large view of a part leaves in place.
    ALLOW_IN_MAXIMIZED_VIEW = "#bottom, #tabs, #prompt"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("global"),
        fixed_key("ctrl+q", "quit"),
    ]
    HORIZONTAL_BREAKPOINTS = [
        (0, "-narrow"),
        (110, "-wide"),
    ]
    CSS = """
    #panes { height: 1fr; }
    #bottom { dock: bottom; height: 2; }
    #prompt { margin-bottom: 1; }
    /* Nothing shows where a bar could scroll. */
    ToastRack { align-horizontal: right; scrollbar-size-vertical: 0; }
    ToastRack.-above-note { margin-bottom: 2; }
    ToastRack.-above-tour { margin-bottom: 7; }
    ToastRack.-at-top { dock: top; margin: 0; }
    Toast { max-width: 64; }
    .-narrow Toast { padding: 0 1; }  /* no higher than what explains a field */
    """

    def __init__(
        self,
        engine: EngineLike | Callable[[], Chosen],
        workspace: Workspace,
        *,
        base: str = "",
        demo: bool = False,
        data: str = "",
        hub: str = "",
        named: bool = False,
        remark: str = "",
    ) -> None:
        super().__init__(engine, workspace, base=base, demo=demo, remark=remark)
        self.key_priority = KeyPriority()
        self.data = DataSet("" if hub else data or str(workspace.trajectories), hub)
        self._saved = self.state
        self.remembered = Remembered(workspace.root)
        self.data_report = ""
        self.data_count: DataCount | None = None
        self.recipe = Recipe()
        #: What the terminal that is left shows.
        self.farewell = ""
        self.prompt = PromptLine()
        self.attention = Attention(self.to_terminal, os.environ)
        self.attention.preferences = self.preferences
        self._wrong_keys = use_own_keys(self, workspace.root)
        self._drawn: dict[Place, int] = {}
        self._alarms_read = 0
        for own in theme.THEMES:
            self.register_theme(own)
        self.theme = self.state.theme if self.state.theme in self.available_themes else "sekft-dark"
        before = None if named else self.remembered.form("pane").get("name")
        self.pane = next((name for name, _ in PANES if name == before), self.pane)
        self.tabs.pane = self.keys.pane = self.pane
        self.tabs.base = Path(self.base).name
        self.tabs.state = ("starting …", "quiet")

    # --- parts that are made when they are first asked for ------------------------------------

    @cached_property
    def switch(self) -> EngineSwitch:
        from sekft_tui.engine_switch import EngineSwitch

        return EngineSwitch(self)

    @cached_property
    def leaving(self) -> Leaving:
        from sekft_tui.leaving import Leaving

        return Leaving(self)

    # --- starting ---------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield self.tabs
        yield ContentSwitcher(id="panes")
        yield Vertical(self.notes, self.keys, id="bottom")
        yield self.tour
        yield self.prompt  # covers the notes while it is open

    def on_mount(self) -> None:
        begin = messages.Begin()
        self.expect(begin)
        self.call_after_refresh(self.post_message, begin)

    def _read(self) -> bool:
        """Read and make what the first pane needs; runs on a thread.

        Returns:
            Whether the demo has to be set up first.
        """
        from sekft_engine import demo
        from sekft_tui.model import job_text
        from sekft_tui.process import attachment

        del attachment  # every picture needs it
        fresh = self.demo and not (self.workspace.base and demo.has_data(self.workspace))
        self.demo_left = "" if fresh else job_text.demo_left(self.workspace)
        pane_type("trajectories" if fresh else self.pane)
        _ = self.bridge, self.pinned
        self.apply_preferences()
        if self.is_demo:
            self.recipe = demo.RECIPE
        return fresh

    @on(messages.Begin)
    async def _begin(self) -> None:
        fresh = await run_on_thread(self._read)
        if self._was_left():
            return
        if not gc.isenabled():  # launch.py; each collection would look through all of it
            gc.freeze()
            gc.enable()
        self.engine.start()
        self.set_interval(1 / PULLS, self.pull)
        self.set_interval(REMEMBER_S, self.remember)
        self.set_interval(ELSEWHERE_S, self.look_elsewhere)
        self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))
        await self.action_pane("trajectories" if fresh else self.pane)
        if self._was_left():
            return
        self.report_keys(self._wrong_keys)
        self.log_earlier()
        if self.remembered.form("zoom").get(self.pane):
            self.call_after_refresh(self.action_zoom)
        self.look_elsewhere()
        self.greet(fresh=fresh)

    def _was_left(self) -> bool:
        """Whether the app has ended while something was waited for; nothing more is to begin."""
        return not self.is_running

    def pull(self) -> None:
        """Draw the visible pane, if anything changed since the last time."""
        from sekft_tui.model.job_text import demo_made, left_over

        if not self.screen_stack:  # the app is closing, and a timer may tick once more
            return
        self.attention.title(f"sekft {self.workspace.root.name}: {self.tabs.state[0]}")
        version = self.bridge.version
        self.keys.update()
        self.place_errors()
        if self._drawn.get(self.pane) == version:
            return
        self._drawn[self.pane] = version
        with self.bridge.shared() as shared, self.batch_update():
            self._draw_tabs(shared)
            self.demo_made = demo_made(shared) or self.demo_left
            self.notes.stand(left_over(shared))
            pane = self.current_pane
            if pane is not None:
                pane.draw(shared)
            for screen in self.screen_stack:
                if isinstance(screen, DrawsState) and screen.is_mounted:
                    screen.draw(shared)

    @on(messages.RedrawPane)
    def redraw_pane(self) -> None:
        """Draw the visible pane again at once, even if nothing changed."""
        self._drawn.pop(self.pane, None)
        self.pull()

    def _draw_tabs(self, shared: Shared) -> None:
        from sekft_tui.model.job_text import engine_run, engine_text
        from sekft_tui.process import attachment

        if self.pane == "log":
            self._alarms_read = shared.alarms
        unread = shared.alarms - self._alarms_read
        self.tabs.badges["log"] = f" ({unread})" if unread > 0 else ""
        self.tabs.base = Path(self.base).name
        loaded = shared.base
        self.tabs.device = loaded.device if loaded is not None else ""
        elsewhere = self.run_elsewhere
        self.tabs.run = engine_run(shared, elsewhere)
        remote = self.bridge.remote
        self.tabs.process = remote.greeting.pid if remote is not None else 0
        self.tabs.state = attachment.header(remote, engine_text(shared, elsewhere))
        self.tabs.update()

    def make_pane(self, name: Place) -> Pane:
        return pane_type(name)(self)

    @on(messages.TakeOver)
    def _take_over(self, message: messages.TakeOver) -> None:
        from sekft_tui.screens.takeover import begin_at

        self.push_screen(begin_at(self, message.path, message.turn))

    def action_demonstrate(self) -> None:
        from sekft_tui.screens.takeover import choose_world

        self.open_after(choose_world(self))

    # --- what the engine says ---------------------------------------------------------------

    @on(messages.EngineEvent)
    def _on_engine_event(self, message: messages.EngineEvent) -> None:
        from sekft_engine.records import events
        from sekft_tui.model.endings import name_of, stopped_text
        from sekft_tui.model.job_text import state_text

        event = message.event
        match event:
            case events.JobFailed():
                self.error(event.error, event.trace, logged=True)
            case events.JobCancelled() if self.switch.is_moving:
                pass  # the log says what goes on in the background
            case events.JobCancelled():
                self.note(stopped_text(event), 8)
            case events.JobDone(kind="train" | "eval" | "setup"):
                self.note(f"{name_of(event.kind)} done")
        with self.bridge.shared() as shared:
            ended = shared.jobs.get(event.job) if isinstance(event, events.ENDINGS) else None
        if ended is not None and ended.started:
            how = state_text(ended, loaded=False)[0].partition(" ")[2]
            self.attention.ended(f"sekft: {ended.kind} {how}", ended.started, ended.ended)
        for screen in self.screen_stack:
            if isinstance(screen, HearsEngine):
                screen.engine_event(event)
        for pane in self.made_panes():
            pane.engine_event(event)
        if isinstance(event, events.ENDINGS) and event.kind == "setup":
            self.action_reload()  # what was made is there now, and a part of it after a failure

    @on(messages.EngineState)
    def _on_engine_state(self, message: messages.EngineState) -> None:
        self.switch.state_changed(message)

    def action_detach(self) -> None:
        """Leave the engine of another process; hand over to one where it is this process's."""
        if self.bridge.remote is not None:
            self.leave()
        else:
            self.switch.move_out(then_leave=False)

    # --- keys -------------------------------------------------------------------------------

    def typing_target(self) -> TypingTarget | None:
        # A tick may come while the app leaves and takes its parts apart.
        if not self.screen_stack:
            return None
        prompt = self.prompt
        if prompt.typing and prompt.is_attached and self.screen is prompt.screen:
            return prompt
        if isinstance(self.screen, HasTypingTarget):
            return self.screen.typing_target
        focused = self.focused
        return focused if isinstance(focused, Form) and focused.typing else None

    def action_help(self) -> None:
        from sekft_tui.screens.help import HelpScreen

        self.push_screen(HelpScreen(self.pane))

    def action_queue(self) -> None:
        from sekft_tui.screens.engine.queue import QueueScreen

        self.push_screen(QueueScreen(self.bridge, lambda: self.run_elsewhere))

    def action_engine(self) -> None:
        from sekft_tui.screens.engine.facts import EngineScreen

        elsewhere = lambda: self.run_elsewhere  # noqa: E731
        self.push_screen(EngineScreen(self.bridge, self.workspace.root, elsewhere))

    def action_zoom(self) -> None:
        if self.screen.maximized is not None:
            self.screen.minimize()
        elif self.screen.focused is not None:
            self.screen.maximize(self.screen.focused)

    def action_reload(self) -> None:
        from sekft_tui.model.job_text import demo_left

        self.demo_left = demo_left(self.workspace)
        for pane in self.made_panes():
            pane.reload()
        self.redraw_pane()

    def action_interrupt(self) -> None:
        self.leaving.ask(interrupt=True)

    async def action_quit(self) -> None:
        self.ask_to_leave()

    def ask_to_leave(self, to: str = "") -> None:
        """Leave, for the workspace ``to`` if one is named, unless something would be lost."""
        self.leaving.ask(to=to)

    def remember(self) -> None:
        """Save the settings and what the panes show, as far as it has changed."""
        for pane in self.made_panes():
            pane.remember()
        zoomed = self.screen.maximized if len(self.screen_stack) == 1 else None
        if len(self.screen_stack) == 1:
            self.remembered.keep_form("zoom", {self.pane: "yes"} if zoomed is not None else {})
        first = PANES[0][0]
        self.remembered.keep_form("pane", {"name": self.pane} if self.pane != first else {})
        state = msgspec.structs.replace(self.state, theme=self.theme)
        if state != self._saved:
            save_rest(self._saved, state)
            self._saved = self.state = state

    def leave(self) -> None:
        """Save the settings and end."""
        from sekft_tui.leaving import farewell

        with self.bridge.shared() as shared:
            self.farewell = farewell(shared, self.workspace.root)
        self.remember()
        self.bridge.close()
        self.attention.close()
        self.exit(0)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield SystemCommand(
            "Open data: import sessions",
            "Show and train on sessions of another folder or file",
            self.open_data,
        )
        yield SystemCommand(
            "Open another workspace", "Leave this one for another folder", self.ask_workspace
        )
        yield SystemCommand("Theme", "Choose among all themes", self.action_change_theme)
        yield SystemCommand(
            "Screenshot", "Save a picture (SVG) of the screen", self.deliver_screenshot
        )
        if screen.query("HelpPanel"):
            yield SystemCommand("Hide keys", "Hide the key panel", self.action_hide_help_panel)
