"""The screen on which one watches a model log in, token by token, and may take the keyboard."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.events import Key

from sekft_engine.takeover.takeover import TakeOver
from sekft_engine.takeover.view import TakeOverView
from sekft_tui.host import SessionHost
from sekft_tui.input.actions import bindings, same_key
from sekft_tui.screens.help import HelpScreen
from sekft_tui.screens.question import QuestionScreen
from sekft_tui.screens.takeover import watch_legends
from sekft_tui.screens.takeover.screen import TakeOverScreen
from sekft_tui.text import Parts
from sekft_tui.widgets.line_view import LineView


class TakeKeyboardScreen(QuestionScreen):
    """Asked when a key is pressed that means nothing: did the person want to type?"""

    BINDINGS = [
        Binding("t,enter", "answer('take')", show=False),
        Binding("escape,q,w", "answer('')", show=False),
    ]

    def on_mount(self) -> None:
        self.ask(
            "take the keyboard?",
            "The model stops writing, and you type.",
            (("t", "take it"), ("w", "only watch")),
        )


class SideView(LineView):
    """What lies beside a session: directives, checker, certificate."""

    def __init__(self) -> None:
        super().__init__(id="shell-side")
        self._lines: list[Parts] = []

    def show(self, view: TakeOverView) -> None:
        """Show what is known of ``view``."""
        lines = watch_legends.side(view, self.content_width)
        if lines != self._lines:
            self._lines = lines
            self.relines(len(lines))

    def line(self, y: int, width: int) -> Parts:
        del width
        return self._lines[y] if y < len(self._lines) else ()


class WatchScreen(TakeOverScreen, inherit_bindings=False):
    """A session that begins with a model at the keyboard.

    Args:
        host: the app.
        begin: makes and starts the session; its argument is called on every change.
        adapter: the folder of the adapter that types; empty = the base, or a server's model.
        subject: who types, until the session says so.
    """

    END = "shell.end"
    BINDINGS = [
        *bindings("shell"),
        same_key("global.interrupt", "interrupt"),
    ]
    DEFAULT_CSS = """
    WatchScreen #shell-side { width: 44; border-left: solid $line; padding: 0 1; }
    WatchScreen.-narrow #shell-side { display: none; width: 1fr; border: none; }
    WatchScreen.-no-side #shell-side { display: none; }
    WatchScreen.-narrow.-side #shell-side { display: block; }
    WatchScreen.-narrow.-side #takeover-view { display: none; }
    """

    def __init__(
        self,
        host: SessionHost,
        begin: Callable[[Callable[[], None]], TakeOver],
        adapter: str,
        subject: str,
    ) -> None:
        super().__init__(host, begin, lambda: ())
        self.model.adapter = adapter
        self.subject = subject
        self.asking = False
        self._handed = self._ending = False

    def compose_session(self) -> ComposeResult:
        self.side = SideView()
        yield Horizontal(self.view, self.side)

    # --- drawing ----------------------------------------------------------------------------

    def on_take_over_screen_changed(self) -> None:
        view = self.session.view
        if view.state == "ready" and not self._handed:
            self._handed = True
            self.session.hand_back(self.model.adapter)
        elif view.state == "ready" and self._ending:
            self._ending = False
            self.session.finish()
        elif view.state == "ready" and view.problem:
            self.asking = False  # the model could not type on: the keys are those of the screen
        super().on_take_over_screen_changed()

    def draw_session(self) -> None:
        super().draw_session()
        self.side.show(self.session.view)

    def on_resize(self) -> None:
        self.call_after_refresh(lambda: self.side.show(self.session.view))

    def head_line(self, width: int) -> Parts:
        return watch_legends.head(self.session.view, self.subject, width)

    def status_line(self, width: int) -> Parts:
        view = self.session.view
        waited = view.waited(time.monotonic()) if view.since else 0.0
        return watch_legends.status(view, self.typing, waited, self.model.meanwhile, width)

    def foot_line(self, width: int) -> Parts:
        return watch_legends.foot(self.session.view, self.typing, width)

    # --- keys -------------------------------------------------------------------------------

    def on_key(self, event: Key) -> None:
        """A printable key that does nothing asks whether to take the keyboard."""
        if self.session.view.state == "model" and event.is_printable:
            event.stop()
            self.app.push_screen(TakeKeyboardScreen(), self._asked)

    def _asked(self, answer: str | None) -> None:
        if answer == "take":
            self.action_take_over()

    def action_side(self) -> None:
        """Beside the session where there is room, else in its place."""
        self.toggle_class("-side" if self.has_class("-narrow") else "-no-side")
        self.call_after_refresh(self.draw_session)

    def action_end(self) -> None:
        """End the session here, also in the middle of a command."""
        state = self.session.view.state
        if state == "model":
            self._ending = True
            self.session.take_back()
            self.session.interrupt()
        elif state in ("ready", "running"):
            self.action_finish()
        elif state in ("over", "failed"):
            self.action_back()

    def action_escape(self) -> None:
        """Back from the side to the session."""
        if self.has_class("-side"):
            self.action_side()

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen("shell"))

    # --- leaving ----------------------------------------------------------------------------

    def action_back(self) -> None:
        """Leave; asks first where the person typed and that is not kept."""
        view = self.session.view
        own = (view.touched and view.unsaved) or view.state == "running" or self.shell.unsent
        if own and view.state != "model":
            super().action_back()
        else:
            self.leave(view)
