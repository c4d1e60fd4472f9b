"""A form of lines: each a name and a value that Enter edits in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from textual import events
from textual.message import Message

from sekft_tui.text import Parts, clip, clip_left, fit, visible
from sekft_tui.widgets.line_list import LineList

NAME_WIDTH = 14


class Field(NamedTuple):
    """A line of the form. ``choices`` are cycled by Enter; a ``kind`` of "check" is toggled, of
    "button" pressed, of "fact" only shown. A "text" opens for typing."""

    name: str
    value: str
    help: str = ""
    kind: str = "text"
    choices: tuple[str, ...] = ()
    changed: bool = False
    label: str = ""


class RecipeForm(LineList):
    """Fields with a cursor. ``check`` is asked for a message why a value is wrong, '' = right."""

    class Changed(Message):
        """A field has a new, valid value."""

        def __init__(self, sender: RecipeForm, name: str, value: str) -> None:
            super().__init__()
            self.sender = sender
            self.name = name
            self.value = value

        @property
        def control(self) -> RecipeForm:
            return self.sender

    class Pressed(Message):
        """A button line."""

        def __init__(self, sender: RecipeForm, name: str) -> None:
            super().__init__()
            self.sender = sender
            self.name = name

        @property
        def control(self) -> RecipeForm:
            return self.sender

    class Told(Message):
        """Help or a complaint for the line below the form."""

        def __init__(self, sender: RecipeForm, text: str, wrong: bool) -> None:
            super().__init__()
            self.sender = sender
            self.text = text
            self.wrong = wrong

        @property
        def control(self) -> RecipeForm:
            return self.sender

    def __init__(
        self,
        check: Callable[[str, str], str],
        *,
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(self._field, id=id)
        self.fields: tuple[Field, ...] = ()
        self._check = check
        self._typed: str | None = None
        self._caret = 0

    def set_fields(self, fields: tuple[Field, ...]) -> None:
        """Show these; what is being typed is kept."""
        self.fields = fields
        if len(fields) != self.rows:
            self.set_rows(len(fields))
        else:
            self.redraw()
        self._tell()

    @property
    def field(self) -> Field | None:
        return self.fields[self.cursor] if self.cursor < len(self.fields) else None

    @property
    def editing(self) -> bool:
        return self._typed is not None

    def move_to(self, row: int) -> None:
        if self._typed is not None and not self.commit():
            return
        super().move_to(row)
        self._tell()

    def cache_key(self, y: int) -> tuple[bool, str | None, int]:
        edited = y == self.cursor
        return edited, self._typed if edited else None, self._caret if edited else 0

    # --- drawing ----------------------------------------------------------------------------

    def _field(self, y: int, width: int) -> Parts:
        field = self.fields[y]
        name = field.label or field.name.replace("_", " ")
        here = y == self.cursor and self.has_focus
        if field.kind == "button":
            return ((" ", ""), (f" {name} ", "chip" if here else "key"))
        if field.kind == "head":
            return ((f" {name}", "head"),)
        if field.kind == "check":
            box = "[x]" if field.value else "[ ]"
            room = max(1, width - 6)
            return (
                (f" {box} ", "good" if field.value else "quiet"),
                (clip(visible(name), room), "strong" if field.value else "text"),
            )
        room = max(1, width - NAME_WIDTH - 3)
        head = (" " + fit(name, NAME_WIDTH) + " ", "quiet")
        if here and self._typed is not None:
            return (head, *self._edited(self._typed, room))
        if field.kind == "fact":
            return (head, (clip_left(visible(field.value), room), "text"))
        style = "accent" if field.changed else "strong"
        return (head, (clip(visible(field.value), room), style))

    def _edited(self, typed: str, room: int) -> Parts:
        start = max(0, self._caret - room + 1)
        before, after = typed[start : self._caret], typed[self._caret :]
        return (
            (visible(before), "accent"),
            (visible(after[:1]) or " ", "read"),
            (clip(visible(after[1:]), max(0, room - len(before) - 1)), "accent"),
        )

    def _tell(self, complaint: str = "") -> None:
        field = self.field
        text = complaint or (field.help if field else "")
        self.post_message(self.Told(self, text, bool(complaint)))

    # --- editing ----------------------------------------------------------------------------

    def action_choose(self) -> None:
        field = self.field
        if field is None:
            return
        if self._typed is not None:
            self.commit()
        elif field.kind == "button":
            self.post_message(self.Pressed(self, field.name))
        elif field.kind == "check":
            self.post_message(self.Changed(self, field.name, "" if field.value else "yes"))
        elif field.choices:
            at = field.choices.index(field.value) if field.value in field.choices else -1
            value = field.choices[(at + 1) % len(field.choices)]
            self.post_message(self.Changed(self, field.name, value))
        elif field.kind == "text":
            self._typed = field.value
            self._caret = len(field.value)
            self.redraw()

    def commit(self) -> bool:
        """Take what was typed, if it is right; else say why it is not."""
        field, typed = self.field, self._typed
        if field is None or typed is None:
            return True
        complaint = self._check(field.name, typed.strip())
        if complaint:
            self._tell(complaint)
            return False
        self._typed = None
        self.redraw()
        if typed.strip() != field.value:
            self.post_message(self.Changed(self, field.name, typed.strip()))
        self._tell()
        return True

    def drop(self) -> bool:
        """Forget what was typed; whether there was something."""
        if self._typed is None:
            return False
        self._typed = None
        self.redraw()
        self._tell()
        return True

    def on_key(self, event: events.Key) -> None:
        """While a value is edited its keys come here first; all others go their way."""
        if self._typed is None:
            return
        typed, caret = self._typed, self._caret
        if event.key == "backspace":
            typed, caret = typed[: max(0, caret - 1)] + typed[caret:], max(0, caret - 1)
        elif event.key == "delete":
            typed = typed[:caret] + typed[caret + 1 :]
        elif event.key == "ctrl+u":
            typed, caret = typed[caret:], 0
        elif event.key in ("left", "right", "home", "end"):
            places = {"left": caret - 1, "right": caret + 1, "home": 0, "end": len(typed)}
            caret = max(0, min(len(typed), places[event.key]))
        elif event.character and event.is_printable:
            typed, caret = typed[:caret] + event.character + typed[caret:], caret + 1
        else:
            return
        event.stop()
        event.prevent_default()
        if typed != self._typed:
            self._typed = typed
            field = self.field
            self._tell(self._check(field.name, typed.strip()) if field else "")
        self._caret = caret
        self.redraw()

    def on_paste(self, event: events.Paste) -> None:
        if self._typed is not None:
            event.stop()
            text = visible(event.text.strip())
            self._typed = self._typed[: self._caret] + text + self._typed[self._caret :]
            self._caret += len(text)
            self.redraw()

    def on_blur(self) -> None:
        self.drop()
