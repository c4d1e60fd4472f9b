"""The workbench: panes, bridge and keys wired together. What a thing does is in its own file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import msgspec
from textual import on
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import ContentSwitcher

from sekft_engine import demo as demo_jobs
from sekft_engine import events, jobs
from sekft_engine.errors import SekftError
from sekft_engine.recipe import Recipe
from sekft_engine.workspace import Workspace
from sekft_tui import copying, theme
from sekft_tui.actions import Place, bindings
from sekft_tui.background import Courtesy
from sekft_tui.bridge import Bridge, EngineLike, EngineSaid
from sekft_tui.dataset import DataSet
from sekft_tui.eval_view import EvalView
from sekft_tui.hangup import over_bare_ssh
from sekft_tui.keys import OrderedKeys
from sekft_tui.palette import KeyCommands
from sekft_tui.panes import PANE_TYPES
from sekft_tui.panes.eval import EvalPane
from sekft_tui.panes.pane import Pane
from sekft_tui.panes.replay import ReplayPane
from sekft_tui.panes.state_text import engine_text
from sekft_tui.panes.train import TrainPane
from sekft_tui.panes.train.others import Others
from sekft_tui.reducer import Shared
from sekft_tui.screens.details import DetailsScreen
from sekft_tui.screens.help import HelpScreen
from sekft_tui.screens.live import Drawn, TypedInto
from sekft_tui.screens.queue import QueueScreen
from sekft_tui.screens.quit import QuitScreen
from sekft_tui.screens.setup import SetupScreen
from sekft_tui.state import State, load_state, save_state
from sekft_tui.widgets.bars import KeyBar, TabBar
from sekft_tui.widgets.line_edit import Typist
from sekft_tui.widgets.prompt_line import PromptLine
from sekft_tui.widgets.recipe_form import RecipeForm

#: How often the screen asks the bridge whether something changed, per second.
PULLS = 6


class Workbench(OrderedKeys):
    """``sekft tui``.

    Args:
        engine: what does the jobs; the app starts and closes it.
        workspace: the folder that is shown.
        base: the base to train and evaluate; empty = the workspace's.
        data: the trajectories to show and train on; empty = the workspace's.
        hub: a data set of the Hub instead.
        demo: set the workspace up first where it is not.
    """

    TITLE = "sekft"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar = {KeyCommands}
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
    ) -> None:
        super().__init__()
        self.courtesy = Courtesy()
        self.data = DataSet("" if hub else data or str(workspace.trajectories), hub)
        self.engine = engine
        self.workspace = workspace
        self.demo = demo
        self._base = base
        self.state: State = load_state()
        self.others = Others(self)
        self.recipe = demo_jobs.RECIPE if self.is_demo else Recipe()
        self.bridge = Bridge(engine, self.post_message)
        self.tabs = TabBar()
        self.keys = KeyBar()
        self.prompt = PromptLine()
        self.pane: Place = "trajectories"
        self._drawn: dict[Place, int] = {}
        self._timer: Timer | None = None
        self._last_error = ("", "")
        for own in theme.THEMES:
            self.register_theme(own)
        self.theme = self.state.theme if self.state.theme in self.available_themes else "sekft-dark"

    # --- the workspace ----------------------------------------------------------------------

    @property
    def base(self) -> str:
        """The base to use: as given, else the workspace's."""
        return self._base or self.workspace.base

    @property
    def is_demo(self) -> bool:
        """Whether the demo's base is used, which wants the demo's recipe and caps."""
        return self.demo or Path(self.base).name == demo_jobs.BASE

    @property
    def narrow(self) -> bool:
        return self.screen.has_class("-narrow")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return theme.defaults(self.current_theme.dark if self.theme else True)

    def empty_hint(self, what: str) -> str:
        """What an empty pane says, with the way out."""
        return f"{what}\n\nsekft tui --demo makes a workspace to try\nR reads this one again"

    # --- life -------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield self.tabs
        yield ContentSwitcher(id="panes")
        yield self.keys
        yield self.prompt  # over the keys while it is open

    async def on_mount(self) -> None:
        self.engine.start()
        self._timer = self.set_interval(1 / PULLS, self.pull)
        wanted: Place = next((p for p in PANE_TYPES if p == self.state.pane), "trajectories")
        fresh = self.demo and not is_set_up(self.workspace)
        await self.action_pane("trajectories" if fresh else wanted)
        if fresh:
            self.push_screen(SetupScreen(), self._set_up)
            self.bridge.submit(jobs.Setup(workspace=str(self.workspace.root)))
        elif left := [one for one in self.engine.status().get("queued", []) if one["held"]]:
            self.keys.note(f"{len(left)} left waiting by the last session: Q shows them", 10)
        elif over_bare_ssh(os.environ) and not self.state.tmux_hint_shown:
            self.state = msgspec.structs.replace(self.state, tmux_hint_shown=True)
            self.keys.note("tmux would keep this session when the connection drops", 10)

    def _set_up(self, done: bool | None) -> None:
        if done:
            self.action_reload()

    def pull(self) -> None:
        """Draw what changed since the last time, in the visible pane only."""
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
                if isinstance(screen, Drawn):
                    screen.draw(shared)

    def redraw_pane(self) -> None:
        """Draw the visible pane again at once, changed or not."""
        self._drawn.pop(self.pane, None)
        self.pull()

    def _draw_tabs(self, shared: Shared) -> None:
        self.tabs.base = Path(self.base).name
        self.tabs.state = engine_text(shared)
        self.tabs.update()

    # --- panes ------------------------------------------------------------------------------

    @property
    def current_pane(self) -> Pane | None:
        found = self.query(f"#{self.pane}").results(Pane)
        return next(iter(found), None)

    def pane_of(self, name: Place) -> Pane | None:
        return next(iter(self.query(f"#{name}").results(Pane)), None)

    async def action_pane(self, name: Place) -> None:
        """Go to a pane, made at its first visit."""
        switcher = self.query_one("#panes", ContentSwitcher)
        before = self.current_pane
        if self.pane_of(name) is None:
            await switcher.add_content(PANE_TYPES[name](), id=name)
        if before is not None and name != self.pane:
            before.hidden()
        self.pane = self.tabs.pane = self.keys.pane = name
        switcher.current = name
        self.tabs.update()
        self.keys.update()
        pane = self.current_pane
        if pane is not None:
            focus = pane.first_focus()
            if focus is not None:
                pane.go_to(focus)
            pane.shown()
        self.redraw_pane()

    async def action_in_pane(self, action: str) -> None:
        """Run a pane's action by name: for clicks and the palette."""
        pane = self.current_pane
        if pane is not None:
            await self.run_action(action, default_namespace=pane)

    # --- from one pane to another -----------------------------------------------------------

    async def open_episode(self, view: EvalView, subject: str, scenario: str) -> None:
        """Show an episode of an eval in Replay."""
        await self.action_pane("replay")
        pane = self.pane_of("replay")
        if isinstance(pane, ReplayPane):
            pane.open_cell(view, subject, scenario)
            pane.go_to(pane.view)

    def take_over(self, path: Path, turn: int) -> None:
        """Type by hand at turn ``turn``, counted from 1, of the session in the file ``path``."""
        from sekft_tui.screens.takeover import begin_at

        self.push_screen(begin_at(self, path, turn))

    def action_demonstrate(self) -> None:
        from sekft_tui.screens.takeover import choose_world

        self.run_worker(choose_world(self))

    async def show_episodes(self, run: str) -> None:
        await self.action_pane("replay")
        pane = self.pane_of("replay")
        if isinstance(pane, ReplayPane):
            pane.show_run(run)

    async def show_run(self, kind: str, shared: Shared) -> None:
        """Show what a journal adds up to, in the pane of its kind."""
        if kind == "train":
            await self.action_pane("train")
            train = self.pane_of("train")
            if isinstance(train, TrainPane):
                train.open_run(shared.train)
        else:
            await self.action_pane("eval")
            pane = self.pane_of("eval")
            if isinstance(pane, EvalPane):
                pane.open_run(shared.eval)

    async def evaluate(self, adapter: str) -> None:
        """Choose an adapter in Eval."""
        await self.action_pane("eval")
        pane = self.pane_of("eval")
        if isinstance(pane, EvalPane):
            pane.choose(adapter)

    @on(EngineSaid)
    def _heard(self, message: EngineSaid) -> None:
        event = message.event
        if isinstance(event, events.JobFailed):
            self.error(event.error, event.trace)
        elif isinstance(event, events.JobCancelled):
            self.note(f"{event.kind} stopped. {event.detail}".strip())
        elif isinstance(event, events.JobDone) and event.kind in ("train", "eval", "setup"):
            self.note(f"{event.kind} done")
            self.bell()
        for screen in self.screen_stack:
            if isinstance(screen, SetupScreen):
                screen.heard(event)
        for pane in self.query(Pane).results(Pane):
            pane.heard(event)

    # --- telling the user -------------------------------------------------------------------

    def note(self, text: str) -> None:
        """A line in place of the keys, for a while."""
        self.keys.note(text)

    def error(self, text: str, trace: str = "") -> None:
        """A toast now, the whole story under ``e``; the workbench goes on."""
        self._last_error = (text, trace)
        self.say("error", text)
        self.notify(
            text, title="error · e shows details", severity="error", markup=False, timeout=10
        )

    def say(self, level: str, text: str) -> None:
        """A line for the log pane."""
        with self.bridge.shared() as shared:
            shared.say(time.time(), level, text)
            shared.version += 1

    # --- keys -------------------------------------------------------------------------------

    def typist(self) -> Typist | None:
        if self.prompt.typing and self.screen is self.prompt.screen:
            return self.prompt
        if isinstance(self.screen, TypedInto):
            return self.screen.typist
        focused = self.focused
        return focused if isinstance(focused, RecipeForm) and focused.typing else None

    def action_help(self) -> None:
        self.push_screen(HelpScreen(self.pane))

    def action_queue(self) -> None:
        self.push_screen(QueueScreen(self.bridge))

    def action_details(self) -> None:
        text, trace = self._last_error
        if text:
            self.push_screen(DetailsScreen(text, trace))
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
            self.hand_over(lambda: copying.copy(pane, self.to_terminal))

    def action_copy_file(self) -> None:
        pane = self.current_pane
        if pane is not None:
            self.hand_over(lambda: copying.save(pane))

    def hand_over(self, do: Callable[[], str]) -> None:
        """Say what came of a copy, or what came in its way."""
        try:
            self.note(do())
        except SekftError as error:
            self.error(str(error))

    def to_terminal(self, sequence: str) -> None:
        """Write an escape sequence past the compositor."""
        if self._driver is not None:
            self._driver.write(sequence)

    def action_interrupt(self) -> None:
        """First the running job, then the app."""
        with self.bridge.shared() as shared:
            job = shared.active
            stopping = job is not None and job.status == "stopping"
        if job is None or stopping:
            self.run_worker(self.action_quit())
        elif self.bridge.stop(after_step=False):
            self.note(f"cancelling {job.kind}; ctrl+c again asks to quit")

    async def action_quit(self) -> None:
        with self.bridge.shared() as shared:
            job = shared.active
        if job is None:
            self.leave()
        elif not isinstance(self.screen, QuitScreen):
            self.push_screen(QuitScreen(job.kind), self._quit_answer)

    def _quit_answer(self, answer: str | None) -> None:
        if answer == "leave":
            self.leave()

    def leave(self) -> None:
        """Remember what is worth it, and end."""
        save_state(msgspec.structs.replace(self.state, theme=self.theme, pane=self.pane))
        self.bridge.close()
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
