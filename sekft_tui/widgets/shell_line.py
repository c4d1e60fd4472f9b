"""The command line at a world's prompt, with a history; it may hold several lines."""

from __future__ import annotations

from collections.abc import Sequence

from sekft_tui.widgets.line_edit import LineEdit

#: Inserts a line break: a here-document is one command of several lines.
NEW_LINE = "ctrl+o"


class ShellLine:
    """A text being edited, and the commands before it. Moving through the history does not lose
    the edited text."""

    def __init__(self) -> None:
        self.edit = ShellEdit()
        self._history: tuple[str, ...] = ()
        self._at = 0
        self._edited = ""

    def start(self, history: Sequence[str]) -> None:
        """Begin an empty line; ``history`` is oldest first."""
        self.edit = ShellEdit()
        self.remember(history)

    def remember(self, history: Sequence[str]) -> None:
        """Set the history; the edited text stays."""
        self._history = tuple(dict.fromkeys(reversed(history)))[::-1]
        self._at = len(self._history)
        self._edited = ""

    @property
    def text(self) -> str:
        return self.edit.text

    def press(self, key: str, character: str | None) -> bool:
        """Edit, or move through the history; False = the key does neither."""
        if key in ("up", "down"):
            self._move_in_history(-1 if key == "up" else 1)
            return True
        if key == NEW_LINE:
            self.edit.insert("\n")
            return True
        return self.edit.press(key, character)

    def _move_in_history(self, by: int) -> None:
        to = max(0, min(self._at + by, len(self._history)))
        if to == self._at:
            return
        if self._at == len(self._history):
            self._edited = self.edit.text
        self._at = to
        text = self._history[to] if to < len(self._history) else self._edited
        self.edit = ShellEdit(text)


class ShellEdit(LineEdit):
    """A line edit that keeps line breaks, for a shell."""

    def insert(self, text: str) -> None:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        self.text = self.text[: self.caret] + text + self.text[self.caret :]
        self.caret += len(text)
