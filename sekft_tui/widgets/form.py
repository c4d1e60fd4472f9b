"""A form: lines with a name and a value that Enter edits in place."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from typing import NamedTuple

from rich.cells import cell_len

from sekft_tui.text import Parts, clip, clip_left, fit, visible
from sekft_tui.widgets.line_edit import HELP, LineEdit
from sekft_tui.widgets.line_list import LineList

NAME_WIDTH = 14
_LEADING_ZEROS = re.compile(r"\A([+-]?)0+(?=[0-9])", re.ASCII)


class Field(NamedTuple):
    """A line of the form.

    Enter goes to the next of ``choices``, toggles a ``kind`` of "check", presses a "button" and
    opens a "text" or a "number" for typing; a "fact" is only shown, and a "head" is a title.
    ``empty`` is shown in place of an empty text, ``default`` beside a value that was changed.
    ``fixed`` is said where Enter is pressed on a fact: where it comes from, or how to get another.
    """

    name: str
    value: str
    help: str = ""
    kind: str = "text"
    choices: tuple[str, ...] = ()
    changed: bool = False
    label: str = ""
    empty: str = ""
    default: str = ""
    fixed: str = ""


def enter_label(field: Field | None) -> str:
    """What Enter does on a line, for the keys at the bottom; "" = nothing."""
    kinds = {
        "button": "press", "check": "change", "text": "edit", "number": "edit",
        "choice": "next value",
    }  # fmt: skip
    if field is None:
        return ""
    return "next value" if field.choices else kinds.get(field.kind, "")


class Form(LineList):
    """Fields with a cursor.

    Args:
        check: returns why a value is invalid, "" = it is valid.
        changed: called with a field's name and its new, valid value.
        pressed: called with a button's name.
        show_help: called with the help of a field, or with a problem (then with True).
        say: called with what is to be said of a fact that Enter cannot change.
    """

    def __init__(
        self,
        *,
        check: Callable[[str, str], str],
        changed: Callable[[str, str], None],
        pressed: Callable[[str], None],
        show_help: Callable[[str, bool], None],
        say: Callable[[str], None] = lambda _: None,
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(self._field, id=id)
        self.fields: tuple[Field, ...] = ()
        self._check = check
        self._changed = changed
        self._pressed = pressed
        self._show_help_text = show_help
        self._say = say
        self._edit: LineEdit | None = None

    def set_fields(self, fields: tuple[Field, ...]) -> None:
        """Show these fields; what is being typed is kept."""
        under = self.field.name if self.field else ""
        self.fields = fields
        if len(fields) != self.rows:
            names = [field.name for field in fields]
            self.set_rows(len(fields), names.index(under) if under in names else None)
        else:
            self.redraw()
        self._update_help()

    @property
    def field(self) -> Field | None:
        return self.fields[self.cursor] if self.cursor < len(self.fields) else None

    def move_to(self, row: int) -> None:
        if self._edit is not None and not self.commit():
            return
        by = 1 if row > self.cursor else -1
        row = max(0, min(row, len(self.fields) - 1))
        while 0 <= row < len(self.fields) and not self._is_line(row):
            row += by
        if not 0 <= row < len(self.fields):  # only titles are left: the line nearest to the end
            row = next((y for y in range(len(self.fields))[::-by] if self._is_line(y)), self.cursor)
            self.scroll_to(y=0 if by < 0 else self.count, animate=False)
        super().move_to(row)
        self._update_help()

    def _is_line(self, y: int) -> bool:
        return self.fields[y].kind != "head"

    def cache_key(self, y: int) -> Hashable:
        edit = self._edit if y == self.cursor else None
        return y == self.cursor, (edit.text, edit.caret, edit.selected) if edit else None

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
        if y == self.cursor and self._edit is not None:
            return (head, *self._edit.parts(room))
        if field.kind == "fact":
            return (head, (clip_left(visible(field.value), room), "text"))
        if not field.value:
            return (head, (clip(visible(field.empty), room), "quiet"))
        style = "accent" if field.changed else "strong"
        value = clip(visible(field.value), room)
        beside = f"  not {visible(field.default)}" if field.changed and field.default else ""
        beside = beside if cell_len(beside) <= room - cell_len(value) else ""
        return (head, (value, style), (beside, "quiet"))

    def _update_help(self, problem: str = "") -> None:
        field = self.field
        text = problem or (field.help if field else "")
        self._show_help_text(text, bool(problem))

    # --- editing ----------------------------------------------------------------------------

    def action_choose(self) -> None:
        field = self.field
        if field is None:
            return
        if self._edit is not None:
            self.commit()
        elif field.kind == "button":
            self._pressed(field.name)
        elif field.kind == "fact":
            self._say(field.fixed or "this cannot be changed here")
        elif field.kind == "check":
            self._changed(field.name, "" if field.value else "yes")
        elif field.choices:
            at = field.choices.index(field.value) if field.value in field.choices else -1
            value = field.choices[(at + 1) % len(field.choices)]
            self._changed(field.name, value)
        elif field.kind in ("text", "number"):
            self._edit = LineEdit(field.value, selected=True)
            self.redraw()

    def commit(self) -> bool:
        """Accept what was typed; if it is invalid, show why and return False."""
        field, edit = self.field, self._edit
        if field is None or edit is None:
            return True
        typed = _typed(field, edit)
        problem = self._why_not(field.name, typed)
        if problem:
            self._update_help(problem)
            return False
        self._edit = None
        self.redraw()
        if typed != field.value:
            self._changed(field.name, typed)
        self._update_help()
        return True

    def _why_not(self, name: str, value: str) -> str:
        """Why a value is invalid; a path may be one that no system takes."""
        try:
            return self._check(name, value)
        except (OSError, ValueError, RuntimeError) as error:
            return str(getattr(error, "strerror", None) or error)

    def cancel_edit(self) -> bool:
        """Discard what is being typed; whether there was an edit."""
        if self._edit is None:
            return False
        self._edit = None
        self.redraw()
        self._update_help()
        return True

    @property
    def typing(self) -> bool:
        return self._edit is not None

    @property
    def typing_row(self) -> int:
        """The line of the screen on which a value is typed; 0 = none."""
        return self.region.y + self.cursor - self.scroll_offset.y if self.typing else 0

    def type_key(self, key: str, character: str | None) -> bool:
        """Edit the value that is being typed; False = the key is not for that."""
        field = self.field
        if field is not None and field.kind == "number" and character == HELP:
            return False
        if self._edit is None or not self._edit.press(key, character):
            return False
        self._edited()
        return True

    def type_text(self, text: str) -> None:
        if self._edit is not None:
            self._edit.insert(text)
            self._edited()

    def _edited(self) -> None:
        field, edit = self.field, self._edit
        if field is not None and edit is not None:
            self._update_help(self._why_not(field.name, _typed(field, edit)))
        self.redraw()

    def on_blur(self) -> None:
        self.cancel_edit()


def _typed(field: Field, edit: LineEdit) -> str:
    """The value that is typed; of a number without the zeros before it."""
    text = edit.text.strip()
    return _LEADING_ZEROS.sub(r"\1", text) if field.kind == "number" else text
