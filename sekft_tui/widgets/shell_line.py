"""The line one types at a world's prompt: with history, and with room for several lines."""

from __future__ import annotations

from collections.abc import Sequence

from sekft_tui.widgets.line_edit import LineEdit

#: Puts a line break into what is typed: a here-document is one command of several lines.
NEW_LINE = "ctrl+o"


class ShellLine:
    """A text under edit, and what was typed before it. What is under edit is not lost by looking
    through the history."""

    def __init__(self) -> None:
        self.edit = ShellEdit()
        self._history: tuple[str, ...] = ()
        self._at = 0
        self._mine = ""

    def start(self, history: Sequence[str]) -> None:
        """A new, empty line; ``history`` is oldest first."""
        self.edit = ShellEdit()
        self.remember(history)

    def remember(self, history: Sequence[str]) -> None:
        """The history has grown; what is being typed stays."""
        self._history = tuple(dict.fromkeys(reversed(history)))[::-1]
        self._at = len(self._history)
        self._mine = ""

    @property
    def text(self) -> str:
        return self.edit.text

    def press(self, key: str, character: str | None) -> bool:
        """Edit or look back; False = not a key for that."""
        if key in ("up", "down"):
            self._look(-1 if key == "up" else 1)
            return True
        if key == NEW_LINE:
            self.edit.insert("\n")
            return True
        return self.edit.press(key, character)

    def _look(self, by: int) -> None:
        to = max(0, min(self._at + by, len(self._history)))
        if to == self._at:
            return
        if self._at == len(self._history):
            self._mine = self.edit.text
        self._at = to
        text = self._history[to] if to < len(self._history) else self._mine
        self.edit = ShellEdit(text)


class ShellEdit(LineEdit):
    """Keeps line breaks: a shell is told them."""

    def insert(self, text: str) -> None:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        self.text = self.text[: self.caret] + text + self.text[self.caret :]
        self.caret += len(text)
