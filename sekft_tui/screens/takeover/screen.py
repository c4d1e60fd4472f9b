"""The screen of a take-over: sends keys to the session and draws its state. The session does all
slow work on a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.message import Message
from textual.screen import ModalScreen

from sekft_engine.takeover.keep import folder_for
from sekft_engine.takeover.origin import CUT_OFF
from sekft_engine.takeover.takeover import TakeOver
from sekft_engine.takeover.view import TakeOverView
from sekft_tui.host import SessionHost
from sekft_tui.input.actions import bindings, key_for, same_key
from sekft_tui.input.footer import bar
from sekft_tui.messages import RedrawPane
from sekft_tui.model.job_text import engine_text
from sekft_tui.screens.choose import Choice
from sekft_tui.screens.help import HelpScreen
from sekft_tui.screens.takeover.boxes import DifferencesScreen, LeaveScreen
from sekft_tui.screens.takeover.chosen_model import ChosenModel
from sekft_tui.screens.takeover.legends import (
    ASKED,
    HALF_TYPED,
    foot,
    head,
    mode_chip,
    status,
    why_not_ended,
)
from sekft_tui.screens.takeover.typed_line import TypedLine, history
from sekft_tui.text import Parts, clip, visible
from sekft_tui.widgets.lines import Lines
from sekft_tui.widgets.prompt_line import PromptLine
from sekft_tui.widgets.session_view import SessionView

if TYPE_CHECKING:
    from sekft_tui.model.reducer import Shared
    from sekft_tui.widgets.line_edit import TypingTarget

#: How often the seconds of a running command are updated, per second.
CLOCK = 2
#: Seconds for which it is said what a key of the screen did not do.
NOTE_S = 5.0


class TakeOverScreen(ModalScreen[None]):
    """One take-over, from its first prompt to the kept session.

    Args:
        host: the app.
        begin: makes and starts the take-over; its argument is called on every change.
        choices: the models that may type: adapters' folders, "" = the bare base.
    """

    #: The id of the key that ends the session.
    END: ClassVar = "takeover.finish"
    BINDINGS = [*bindings("takeover"), same_key("global.interrupt", "interrupt")]
    DEFAULT_CSS = """
    TakeOverScreen { background: $background; }
    TakeOverScreen #takeover-head { dock: top; }
    TakeOverScreen #takeover-foot { dock: bottom; }
    TakeOverScreen #takeover-status { dock: bottom; margin-bottom: 1; background: $surface; }
    """

    class Changed(Message):
        """The session changed."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, TakeOverScreen.Changed)

    def __init__(
        self,
        host: SessionHost,
        begin: Callable[[Callable[[], None]], TakeOver],
        choices: Callable[[], tuple[Choice, ...]],
    ) -> None:
        super().__init__()
        self.host = host
        self._begin = begin
        self.model = ChosenModel(choices)
        self.shell = TypedLine()
        self.asking = True  # keys are typed into the line
        self.marked: int | None = None
        self._engine: tuple[str, str] = ("", "quiet")
        self.note = ""  # what the last key did not do, and why
        self._noted = 0.0
        self._shown_differences: object = None
        self._since = time.monotonic()
        self._leaving = False
        self._state = ""
        self._begun = False  # it may be asked to draw before that

    def compose(self) -> ComposeResult:
        self.head = Lines(lambda width: (self.head_line(width),), id="takeover-head")
        self.view = SessionView(id="takeover-view")
        self.status = Lines(lambda width: (self._status(width),), id="takeover-status")
        self.foot = Lines(lambda width: (self.foot_line(width),), id="takeover-foot")
        self.prompt = PromptLine()
        yield self.head
        yield from self.compose_session()
        yield self.status
        yield self.foot
        yield self.prompt

    def compose_session(self) -> ComposeResult:
        """What lies between the head and the status."""
        yield self.view

    def on_mount(self) -> None:
        self.session = self._begin(self._changed)
        self._begun = True
        self.refresh_bindings()
        self.set_interval(1 / CLOCK, self._tick)
        self.set_focus(self.view)
        self.draw_session()
        self.post_message(RedrawPane())  # so that the engine's state is shown at once

    def _changed(self) -> None:
        """Called on the session's thread."""
        self.post_message(self.Changed())

    # --- drawing ----------------------------------------------------------------------------

    @property
    def typing(self) -> bool:
        """Whether keys are typed into the line. As in a shell, that begins before the prompt is
        there."""
        return self.asking and self.session.view.state in ("opening", "ready", "running")

    def on_take_over_screen_changed(self) -> None:
        view = self.session.view
        if self._leaving and view.state in ("over", "failed"):
            self.leave(view)
            return
        if view.state == "ready" and view.differences is not self._shown_differences:
            self._shown_differences = view.differences
            if not self.shell.unsent:  # its keys would be those of a command that is being typed
                self.action_differences()
        elif view.state == "ready" and self.shell.ahead:
            self.shell.send_next(self.session)
        elif view.state in ("over", "failed") and self.shell.unsent:
            unsent = visible(self.shell.unsent)
            self.notify(f"the session ended before this was typed: {unsent}", markup=False)
            self.shell.forget(view)
        self.draw_session()

    def draw_session(self) -> None:
        """Show the session as it is now."""
        view = self.session.view
        if view.state != self._state:
            self._state = view.state
            self._since = time.monotonic()
            self.note = ""
            if view.state == "ready":
                self.marked = None
                self.shell.remember(history(view))  # what was typed ahead stays
                cut_off = view.origin.cut_off if view.origin is not None else ""
                if cut_off and self.shell.offer(cut_off):
                    self.note = CUT_OFF
        edit = self.shell.edit if self.typing else None
        left = "" if self.typing else self.shell.text
        self.view.show(view, edit, self._mark, tuple(self.shell.ahead), left)
        for lines in (self.head, self.status, self.foot):
            lines.update()

    @property
    def _mark(self) -> int | None:
        """The command that undo goes back to; None while text is typed."""
        if self.typing or self.session.view.state not in ("ready", "over", "failed"):
            return None
        commands = self.session.view.commands
        if self.marked in commands:
            return self.marked
        return commands[-1] if commands else None

    def head_line(self, width: int) -> Parts:
        """The origin of the session, and what the engine is doing."""
        return head(self.session.view, self._engine, width)

    def _status(self, width: int) -> Parts:
        """What the last key did not do, else the state."""
        recent = self.typing or time.monotonic() - self._noted < NOTE_S
        if self.note and recent:
            chip = mode_chip(self.typing)
            return chip, (clip(f" {self.note}", max(0, width - cell_len(chip[0]))), "warn")
        return self.status_line(width)

    def status_line(self, width: int) -> Parts:
        """Whose turn it is, or the result."""
        view = self.session.view
        now = time.monotonic()
        waited = view.waited(now) if view.since else now - self._since
        return status(view, self.typing, waited, self.model.meanwhile, self.model.title, width)

    def foot_line(self, width: int) -> Parts:
        """The keys that matter now."""
        if self.prompt.typing:
            return bar(ASKED, (), width).parts
        return foot(self.session.view, self.typing, width)

    def say(self, note: str) -> None:
        """Say what a key did not do, and why."""
        self.note, self._noted = note, time.monotonic()
        self.status.update()

    def _tick(self) -> None:
        if self.session.view.state in ("opening", "running", "model", "judging"):
            self.status.update()

    def draw(self, shared: Shared) -> None:
        """Show what the engine is doing."""
        if not self._begun:
            return
        self._engine = engine_text(shared)
        self.model.look(shared)
        self.head.update()
        self.status.update()

    # --- typing -----------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No key acts before there is a session; the screen may be shown a moment earlier."""
        return hasattr(self, "session") and super().check_action(action, parameters)

    @property
    def typing_target(self) -> TypingTarget | None:
        """What keys are typed into; None = they are commands of the screen."""
        if not hasattr(self, "session"):
            return None
        return self.prompt if self.prompt.typing else self if self.typing else None

    def type_key(self, key: str, character: str | None) -> bool:
        self.note = ""
        if key == "enter":
            self.shell.enter(self.session)
            self.draw_session()
        elif key == "escape":
            self.asking = False
            self.draw_session()
        elif key == "tab":
            self._tab()
        elif key == "ctrl+c":
            self.action_interrupt()
        elif self.shell.press(key, character):
            self.view.typed(self.shell.edit)
            self.status.update()
        else:
            return False
        return True

    def _tab(self) -> None:
        """Let the model type one turn; never with a line half typed, where the hand of whoever
        types means to complete a name. None is completed: a session that is trained on must name
        only what its world has shown."""
        if self.shell.text.strip():
            self.say(HALF_TYPED)
        elif not self.shell.ahead:
            self.action_hand_back(1)

    def type_text(self, text: str) -> None:
        self.note = ""
        self.shell.edit.insert(text)
        self.view.typed(self.shell.edit)

    # --- keys -------------------------------------------------------------------------------

    def action_type(self) -> None:
        self.asking = True
        self.draw_session()

    def action_hand_back(self, turns: int) -> None:
        if self.session.view.state == "ready":
            self.session.hand_back(self.model.adapter, turns=turns)
            self.draw_session()

    def action_take_over(self) -> None:
        """Stop the model; a second time, also its command."""
        if self.session.view.state == "model":
            self.asking = True
            self.session.take_back()

    def action_pause(self) -> None:
        """Stop the model where it is, or let it go on."""
        if self.session.view.state != "model":
            return
        if self.session.view.paused:
            self.session.pace.resume()
        else:
            self.session.pace.pause()

    def action_step(self) -> None:
        """One turn of the model, which then waits."""
        if self.session.view.state == "model":
            self.session.pace.step()
        elif self.session.view.state == "ready":
            self.action_hand_back(1)

    def action_interrupt(self) -> None:
        """Interrupt the command that runs, and forget what was typed, as a terminal does."""
        if self.session.view.state == "model":
            self.action_take_over()
        if self.shell.unsent:
            self.shell.forget(self.session.view)
            self.draw_session()
        self.session.interrupt()

    def action_who(self) -> None:
        self.model.ask(self.app, self.session.view, self.status.update)

    def action_turn(self, by: int) -> None:
        """Mark another command for undo."""
        commands = self.session.view.commands
        if self._mark in commands:
            at = commands.index(self._mark) + by
            self.marked = commands[max(0, min(at, len(commands) - 1))]
            self.draw_session()

    def action_undo(self) -> None:
        mark = self._mark
        self.asking = True
        self.session.rewind(mark if mark is not None else 0)

    def action_finish(self) -> None:
        if not self.session.finish():
            self.say(why_not_ended(self.session.view, key_for(self.END)))

    def action_keep(self) -> None:
        view = self.session.view
        if view.state == "over" and view.origin is not None and view.kept is None:
            self.session.keep(folder_for(view.origin, self.host.workspace))

    def action_keep_in(self) -> None:
        view = self.session.view
        if view.state != "over" or view.origin is None:
            return
        folder = folder_for(view.origin, self.host.workspace)

        def chosen(text: str) -> None:
            if text.strip():
                self.session.keep(Path(text.strip()).expanduser().absolute())

        self.prompt.ask("keep in", chosen, value=str(folder), hint="a folder; sekft train --data")

    def action_differences(self) -> None:
        view = self.session.view
        if not view.differences:
            return
        first = view.differences[0].turn

        def answered(answer: str | None) -> None:
            if answer == "undo":
                self.asking = True
                self.session.rewind(max(0, first - 1))
            elif answer == "leave":
                self.action_back()

        self.app.push_screen(DifferencesScreen(view.differences, view.remark), answered)

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen("takeover"))

    # --- leaving ----------------------------------------------------------------------------

    def action_back(self) -> None:
        """Leave; asks first if something is not kept, runs, or was only typed."""
        view = self.session.view
        running = view.running if view.state == "running" else ""
        if view.unsaved or running or self.shell.unsent:
            screen = LeaveScreen(view.state == "over", running, self.shell.unsent)
            self.app.push_screen(screen, self._answered)
        else:
            self.leave(view)

    def on_unmount(self) -> None:
        self.session.close()  # if the workbench itself is closed

    def _answered(self, answer: str | None) -> None:
        if answer == "leave":
            self.leave(self.session.view)
        elif answer == "keep":
            self.shell.forget(self.session.view)
            self._leaving = True
            if not self.session.finish():
                self.on_take_over_screen_changed()

    def leave(self, view: TakeOverView) -> None:
        """Close the screen; if asked to keep the session first, only once it is kept."""
        if self._leaving and view.kept is None and view.state == "over" and not view.problem:
            self.action_keep()
            return
        if self._leaving and view.kept is None:
            self._leaving = False
            self.draw_session()
            return
        self.session.close(discard=True)
        if view.kept is not None:
            self.host.note(f"kept {Path(view.kept.path).name}")
        self.dismiss(None)
