"""One line at the bottom to type into: filter and search."""

from __future__ import annotations

from collections.abc import Callable

from sekft_tui.text import Parts, fit
from sekft_tui.widgets.line_edit import LineEdit
from sekft_tui.widgets.lines import Lines


class PromptLine(Lines):
    """Hidden until :meth:`ask`; Enter hands the text over, Escape drops it."""

    DEFAULT_CSS = """
    PromptLine { dock: bottom; height: 1; display: none; }
    PromptLine.-open { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(self._bar, id="prompt")
        self._edit = LineEdit()
        self._label = ""
        self._hint = ""
        self._first = ""
        self._done: Callable[[str], None] | None = None
        self._changed: Callable[[str], None] | None = None

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
        self._label, self._hint, self._first = label, hint, value
        self._done, self._changed = done, changed
        self._edit = LineEdit(value)
        self.add_class("-open")
        self.update()

    @property
    def typing(self) -> bool:
        return self.has_class("-open")

    def type_key(self, key: str, character: str | None) -> bool:
        if key == "enter":
            done = self._done
            self.remove_class("-open")
            if done is not None:
                done(self._edit.text)
        elif key in ("escape", "ctrl+c"):
            self.remove_class("-open")
            if self._changed is not None:
                self._changed(self._first)
        else:
            before = self._edit.text
            self._edit.press(key, character)
            if self._changed is not None and self._edit.text != before:
                self._changed(self._edit.text)
            self.update()
        return True

    def type_text(self, text: str) -> None:
        self._edit.insert(text)
        if self._changed is not None:
            self._changed(self._edit.text)
        self.update()

    def _bar(self, width: int) -> tuple[Parts, ...]:
        label = f" {self._label}: "
        hint = self._hint if width - len(label) - len(self._hint) > 24 else ""
        room = max(4, width - len(label) - len(hint) - 1)
        text = self._edit.parts(room)
        used = sum(len(piece) for piece, _ in text)
        gap = fit("", max(0, room - used))
        return (((label, "key"), *text, (gap, ""), (hint, "quiet")),)
