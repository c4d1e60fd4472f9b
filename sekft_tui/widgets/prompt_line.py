"""One line at the bottom to type into: filter, search, a value."""

from __future__ import annotations

from collections.abc import Callable

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Input, Static


class PromptLine(Horizontal):
    """Hidden until :meth:`ask`; Enter hands the text over, Escape drops it."""

    DEFAULT_CSS = """
    PromptLine { dock: bottom; height: 1; display: none; background: $panel; }
    PromptLine.-open { display: block; }
    PromptLine Static { width: auto; padding: 0 1; color: $accent; text-style: bold; }
    PromptLine #prompt-hint { color: $quiet; text-style: none; }
    PromptLine Input { width: 1fr; border: none; height: 1; padding: 0; background: $panel; }
    PromptLine Input:focus { border: none; }
    """

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self._done: Callable[[str], None] | None = None
        self._changed: Callable[[str], None] | None = None
        self._before: Widget | None = None
        self._first = ""

    def compose(self) -> ComposeResult:
        yield Static("", id="prompt-label", markup=False)
        yield Input(id="prompt-input", compact=True, select_on_focus=False)
        yield Static("", id="prompt-hint", markup=False)

    def ask(
        self,
        label: str,
        done: Callable[[str], None],
        *,
        value: str = "",
        hint: str = "",
        changed: Callable[[str], None] | None = None,
    ) -> None:
        """Let the user type; ``changed`` hears every key, and the first value when dropped."""
        self._before = self.screen.focused
        self._done, self._changed, self._first = done, None, value
        self.query_one("#prompt-label", Static).update(label)
        self.query_one("#prompt-hint", Static).update(hint if self.app.size.width > 100 else "")
        box = self.query_one(Input)
        with self.prevent(Input.Changed):
            box.value = value
        box.cursor_position = len(value)
        self._changed = changed
        self.add_class("-open")
        box.focus()

    @property
    def is_open(self) -> bool:
        return self.has_class("-open")

    def _close(self) -> None:
        self.remove_class("-open")
        self._changed = None
        if self._before is not None:
            self._before.focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if self._changed is not None:
            self._changed(event.value)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        done = self._done
        self._close()
        if done is not None:
            done(event.value)

    def on_key(self, event: events.Key) -> None:
        if event.key in ("escape", "ctrl+c"):
            event.stop()
            event.prevent_default()
            changed = self._changed
            self._close()
            if changed is not None:
                changed(self._first)
