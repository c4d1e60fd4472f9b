"""Editing one line of text: shared by the prompt and the fields of a form.

Keys are given to it at once and in order. Textual's own input box gets the focus only later, so of
a burst of keys (a slow link delivers them so) some would still be taken as commands.
"""

from __future__ import annotations

from typing import Protocol

from sekft_tui.text import Parts, clip, visible

#: Shows help where it cannot be meant as text, as in a number.
HELP = "?"


class TypingTarget(Protocol):
    """Something that text can be typed into."""

    @property
    def typing(self) -> bool: ...

    def type_key(self, key: str, character: str | None) -> bool:
        """Handle a key; False = it is not for typing."""

    def type_text(self, text: str) -> None:
        """Insert pasted text."""


class LineEdit:
    """A text and a caret.

    Args:
        selected: what is typed first replaces the text; any other key edits it as it is.
    """

    def __init__(self, text: str = "", *, selected: bool = False) -> None:
        self.text = text
        self.caret = len(text)
        self.selected = selected and bool(text)

    def insert(self, text: str) -> None:
        text = " ".join(text.split("\n"))
        if self.selected:
            self.text, self.caret, self.selected = "", 0, False
        self.text = self.text[: self.caret] + text + self.text[self.caret :]
        self.caret += len(text)

    def press(self, key: str, character: str | None) -> bool:
        """Handle a key; False = it does not edit."""
        text, caret = self.text, self.caret
        if key == "backspace":
            self.text, self.caret = text[: max(0, caret - 1)] + text[caret:], max(0, caret - 1)
        elif key == "delete":
            self.text = text[:caret] + text[caret + 1 :]
        elif key == "ctrl+u":
            self.text, self.caret = text[caret:], 0
        elif key == "ctrl+k":
            self.text = text[:caret]
        elif key == "ctrl+w":
            start = len(text[:caret].rstrip().rpartition(" ")[0])
            self.text, self.caret = text[:start] + text[caret:], start
        elif key in ("left", "right", "home", "end", "ctrl+a", "ctrl+e"):
            places = {"left": caret - 1, "right": caret + 1, "home": 0, "ctrl+a": 0}
            self.caret = max(0, min(len(text), places.get(key, len(text))))
        elif character and character.isprintable():
            self.insert(character)
        else:
            return False
        self.selected = False
        return True

    def parts(self, room: int, style: str = "accent") -> Parts:
        """The text and its caret, in at most ``room`` cells."""
        if self.selected:
            shown = clip(visible(self.text), max(0, room - 1))
            return (shown, "read"), (" ", style)
        start = max(0, self.caret - room + 2)
        before, after = self.text[start : self.caret], self.text[self.caret :]
        rest = clip(visible(after[1:]), max(0, room - len(before) - 1))
        return (visible(before), style), (visible(after[:1]) or " ", "read"), (rest, style)
