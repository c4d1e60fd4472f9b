"""The app's ways out, to the clipboard, files and other programs; its settings and its tour."""

from __future__ import annotations

import os
import shlex
import signal
from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from textual import on

from sekft_engine.core.errors import BadInput, SekftError
from sekft_engine.core.text import plain
from sekft_engine.data.workspace import Workspace, naming
from sekft_tui import theme
from sekft_tui.input import clipboard
from sekft_tui.input.actions import key_for
from sekft_tui.input.tour import Tour
from sekft_tui.model.dataset import DataSet
from sekft_tui.notices_app import NoticesApp
from sekft_tui.process import exporting, outside
from sekft_tui.process.attention import Attention
from sekft_tui.process.hangup import over_bare_ssh
from sekft_tui.process.preferences import (
    Preferences,
    drawing,
    load_preferences,
    save_preferences,
)
from sekft_tui.widgets.prompt_line import PromptLine

# What is read after the first picture: tests/test_laws.py holds the start to that.
if TYPE_CHECKING:
    from sekft_engine.data.recipe import Recipe
    from sekft_tui.panes.pane import Pane


class ToolsApp(NoticesApp):
    """What works the same in every pane."""

    data: DataSet
    recipe: Recipe
    prompt: PromptLine
    attention: Attention

    #: The workspace to open after this one was left; "" = none.
    next_workspace = ""

    @cached_property
    def preferences(self) -> Preferences:
        """What the user chose in the settings."""
        return load_preferences()

    @cached_property
    def tour(self) -> Tour:
        return Tour()

    @abstractmethod
    def leave(self) -> None: ...
    @abstractmethod
    def ask_to_leave(self, to: str = "") -> None: ...
    @abstractmethod
    def action_reload(self) -> None: ...

    def apply_preferences(self) -> None:
        """Have what the user chose take effect."""
        from sekft_tui.widgets.chart.raster import set_glyphs

        self.attention.preferences = self.preferences
        set_glyphs(drawing(self.preferences).glyphs)

    # --- the clipboard ----------------------------------------------------------------------

    def action_copy(self) -> None:
        pane = self.current_pane
        if pane is not None:
            self.report(lambda: self.copy(*pane.copied()))

    def action_copy_file(self) -> None:
        pane = self.current_pane
        if pane is not None:
            self.report(lambda: clipboard.save(pane.whole(), f"sekft-{pane.place}"))

    def copy(self, name: str, text: str) -> str:
        """Copy a text to the clipboard; what was done, for the user to read."""
        if not text:
            return "nothing to copy here"
        return clipboard.copy(text, name, self.to_terminal, Path.cwd())

    def to_terminal(self, sequence: str) -> None:
        """Write an escape sequence past the compositor."""
        if self._driver is not None:
            self._driver.write(sequence)

    def action_details(self) -> None:
        """Show the last error in full."""
        from sekft_tui.screens.details import DetailsScreen

        text, trace = self.last_error
        if text:
            self.push_screen(DetailsScreen(text, trace, lambda text: self.copy("error", text)))
        else:
            self.note("no error so far")

    # --- files, other programs, settings ----------------------------------------------------

    def action_export(self) -> None:
        """Ask for a file, and write to it what the visible pane shows."""
        pane = self.current_pane
        if pane is None or pane.ask_export():
            return
        text, picture = pane.whole(), self.export_screenshot()
        writers = {
            ".txt": lambda: text.encode("utf-8", "replace") + b"\n",
            ".svg": picture.encode,
        } | pane.exports()
        endings = tuple(writers)

        def write(typed: str) -> None:
            path = exporting.target(typed, endings)
            exporting.write(path, writers[path.suffix.lower()], self.post_message)

        first = next((ending for ending in pane.exports()), ".txt")
        name = exporting.unused(Path(f"{pane.export_name()}{first}")).name
        self.prompt.ask("export to", write, value=name, hint=f"also {' '.join(endings)}")

    @on(exporting.Exported)
    def _exported(self, message: exporting.Exported) -> None:
        if message.error:
            self.error(message.error)
        else:
            self.note(f"written to {message.path}")

    def action_pager(self) -> None:
        pane = self.current_pane
        if pane is not None:
            name, text = pane.copied()
            self._outside(lambda: self._page(name, text))

    def _page(self, name: str, text: str) -> None:
        """Read a text in the pager: a copy in which nothing acts on the terminal."""
        if not text:
            self.note("nothing to read here")
            return
        command = outside.pager(os.environ)
        with outside.text_file(plain(text), f"{exporting.file_name(name)}.txt") as path:
            outside.run_outside(self, [*command, str(path)])

    def action_editor(self) -> None:
        pane = self.current_pane
        if pane is not None:
            self._outside(lambda: self._edit(pane))

    def _edit(self, pane: Pane) -> None:
        """Open the file under the cursor in the editor; of a text without one a copy."""
        command = outside.editor(os.environ)
        path = pane.file()
        if path is not None and path.is_file():
            outside.run_outside(self, [*command, str(path)])
            self.action_reload()
            return
        name, text = pane.copied()
        if not text:
            self.note("nothing to open here")
            return
        with outside.text_file(text, f"{exporting.file_name(name)}.txt") as copy:
            outside.run_outside(self, [*command, str(copy)])
        self.note("that was a copy: what is shown has no file of its own")

    def open_shell(self, folder: Path) -> None:
        """Give the terminal to a shell in ``folder``."""
        shell = os.environ.get("SHELL") or "/bin/sh"
        self._outside(lambda: outside.run_outside(self, [shell], folder))

    def _outside(self, do: Callable[[], object]) -> None:
        try:
            do()
        except SekftError as error:
            self.error(str(error))

    def action_suspend(self) -> None:
        """Go to the shell that started the workbench, unless that would stop a job, too."""
        from sekft_tui.model.endings import name_of

        with self.bridge.shared() as shared:
            job = shared.active
        if job is not None and self.bridge.remote is None:
            key = key_for("global.detach")
            self.note(
                f"{name_of(job.kind)} runs in this process and would stop, too; {key} moves it out",
                6,
            )
        elif self._driver is None or not self._driver.can_suspend:
            self.note("this terminal cannot be suspended")
        else:
            self.app_suspend_signal.publish(self)
            os.killpg(0, signal.SIGTSTP)  # with make or another parent, or the shell waits on

    def action_settings(self) -> None:
        from sekft_tui.screens.settings import SettingsScreen

        def keep(preferences: Preferences) -> None:
            save_preferences(preferences)
            self.preferences = preferences
            self.apply_preferences()
            self.redraw_pane()

        own = tuple(own.name for own in theme.THEMES)
        others = tuple(name for name in sorted(self.available_themes) if name not in own)
        themes = own + others
        screen = SettingsScreen(self.preferences, self.theme, themes, keep, self._set_theme)
        self.push_screen(screen)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return theme.defaults(self.current_theme.dark if self.theme else True)

    def action_next_theme(self) -> None:
        names = [own.name for own in theme.THEMES]
        at = names.index(self.theme) + 1 if self.theme in names else 0
        self.theme = names[at % len(names)]
        self.note(self.theme)

    def _set_theme(self, name: str) -> None:
        self.theme = name

    def action_command_palette(self) -> None:
        from textual.command import CommandPalette

        from sekft_tui.input.palette import Palette

        if not isinstance(self.screen, CommandPalette):
            self.push_screen(Palette(id="--command-palette"))

    # --- tour and welcome -------------------------------------------------------------------

    async def action_tour(self) -> None:
        """Begin the tour, or go to its next stop."""
        stop = self.tour.step(empty=self.is_empty)
        if stop is None:
            self.note(f"the tour is over; {key_for('global.help')} shows all keys of a pane")
        else:
            await self.action_pane(stop.place)
        if self.tour.at == 0:
            from sekft_tui.panes.trajectories import TrajectoriesPane

            for pane in self.query(TrajectoriesPane):  # it speaks of what is seen at first
                pane.show_plainly()

    def action_end_tour(self) -> None:
        self.tour.end()

    def greet(self, *, fresh: bool) -> None:
        """Begin with what one has to know or to do first, if there is something.

        Args:
            fresh: the demo has to be set up.
        """
        if fresh:
            self.make_demo()
        elif self.is_empty and self.bridge.remote is None:  # an engine has something to show
            self.welcome()
        elif self.demo_left:
            self.notes.note(self.demo_left, 10)
        elif self.remark:
            self.notes.note(self.remark, 10)
        elif self.bridge.remote is not None:
            pass  # what it holds is said as soon as its history is read
        elif self.is_demo and not self.state.tour_offered:
            self.state = msgspec.structs.replace(self.state, tour_offered=True)
            self.notes.note(f"{key_for('global.tour')}: a tour of five minutes", 10)
        elif over_bare_ssh(os.environ) and not self.state.tmux_hint_shown:
            self.state = msgspec.structs.replace(self.state, tmux_hint_shown=True)
            self.notes.note("in tmux this session would survive a dropped connection", 10)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show in this workspace."""
        from sekft_tui.screens.welcome import is_empty

        place = self.workspace
        own = self.data.path == str(place.trajectories)
        return own and is_empty(place.bases, place.trajectories, place.runs)

    def welcome(self) -> None:
        """Offer what can be done with an empty workspace."""
        from sekft_tui.screens.welcome import WelcomeScreen

        box = WelcomeScreen(self.workspace, self.demo_left, self._demo_below())
        self.push_screen(box, self._welcomed)

    def _demo_below(self) -> Workspace | None:
        """The demo that ``sekft tui --demo`` made in this folder; None = it did not."""
        from sekft_engine import demo

        found = Workspace(self.workspace.root / demo.FOLDER)
        return found if found.config_path.is_file() else None

    def _welcomed(self, answer: str | None) -> None:
        match answer:
            case "demo":
                self.make_demo()
            case "open demo" if (found := self._demo_below()) is not None:
                self.ask_to_leave(str(found.root))
            case "data":
                self.open_data(self.welcome)
            case "leave":
                self.leave()
            case "open":
                self.ask_workspace(self.welcome)

    def make_demo(self) -> None:
        """Make the demo in this workspace, and show how far that is. Its recipe is the default from
        now on."""
        from sekft_engine import demo
        from sekft_engine.records import jobs
        from sekft_tui.panes.train import TrainPane
        from sekft_tui.screens.setup import SetupScreen

        if self.recipe != demo.RECIPE:
            self.recipe = demo.RECIPE
            for pane in self.query(TrainPane):
                pane.left.begin_with(demo.RECIPE)
        self.push_screen(SetupScreen())
        self.bridge.submit(jobs.Setup(workspace=str(self.workspace.root)))

    def action_demo_progress(self) -> None:
        """Show again how far the demo is, or go on with one that was interrupted."""
        from sekft_engine import demo
        from sekft_tui.model.job_text import demo_made
        from sekft_tui.screens.setup import SetupScreen

        with self.bridge.shared() as shared:
            is_made = bool(demo_made(shared))
        if is_made:
            self.push_screen(SetupScreen())
        elif demo.unfinished(self.workspace) == "interrupted":
            self.make_demo()
        elif self.demo_left:
            self.note(self.demo_left)
        else:
            self.note("no demo is being made")

    def open_data(self, cancelled: Callable[[], None] | None = None) -> None:
        """Ask for sessions of somewhere else, and show them.

        Args:
            cancelled: called where nothing is named.
        """
        hint = "a folder, .json or .jsonl"
        self.prompt.ask("sessions", self._show_data, hint=hint, cancelled=cancelled)

    def _show_data(self, text: str) -> None:
        """Show the sessions in a folder or file of somewhere else."""
        path = Path(text.strip()).expanduser().absolute()
        if not text.strip() or not path.exists():
            raise BadInput("no such folder or file")
        self.data = DataSet(str(path))
        self.action_reload()
        name = naming(self.workspace.root)
        self.note(f"sekft tui{name} --data {shlex.quote(str(path))} shows these again", 8)

    def ask_workspace(self, cancelled: Callable[[], None] | None = None) -> None:
        """Ask for another workspace, and leave this one for it; as :meth:`open_data`."""
        hint = "its folder"
        self.prompt.ask("workspace", self._open_workspace, hint=hint, cancelled=cancelled)

    def _open_workspace(self, text: str) -> None:
        path = Path(text.strip()).expanduser().absolute()
        if not text.strip() or not path.is_dir():
            raise BadInput("no such folder")
        self.ask_to_leave(str(path))
