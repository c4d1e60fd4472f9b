"""One line at the bottom to type into: filter and search."""

from __future__ import annotations

from collections.abc import Callable

from rich.cells import cell_len

from sekft_engine.errors import SekftError
from sekft_tui.text import Parts, clip, fit, visible
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
        self._wrong = ""
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
        """Let the user type; ``changed`` hears every key, and the first value when dropped.

        Either may raise a :class:`SekftError`: it is shown in place of the hint; typing goes on.
        """
        self._label, self._hint, self._first, self._wrong = label, hint, value, ""
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
            if done is None or self._tell(done, self._edit.text):
                self.remove_class("-open")
            self.update()
        elif key in ("escape", "ctrl+c"):
            self.remove_class("-open")
            if self._changed is not None:
                self._tell(self._changed, self._first)
        else:
            before = self._edit.text
            self._edit.press(key, character)
            if self._edit.text != before:
                self._heard()
            self.update()
        return True

    def type_text(self, text: str) -> None:
        self._edit.insert(text)
        self._heard()
        self.update()

    def _heard(self) -> None:
        self._wrong = ""
        if self._changed is not None:
            self._tell(self._changed, self._edit.text)

    def _tell(self, whom: Callable[[str], None], text: str) -> bool:
        """Hand ``text`` on; False = it was refused, and the reason is shown."""
        try:
            whom(text)
        except SekftError as error:
            self._wrong = visible(str(error))
            return False
        return True

    def _bar(self, width: int) -> tuple[Parts, ...]:
        label = f" {self._label}: "
        spare = width - len(label) - max(18, len(self._edit.text) + 2) - 1
        if self._wrong:
            hint, style = clip(self._wrong, max(0, spare)), "bad"
        else:
            hint, style = _words(self._hint, spare), "quiet"
        room = max(4, width - len(label) - cell_len(hint) - 1)
        text = self._edit.parts(room)
        used = sum(len(piece) for piece, _ in text)
        gap = fit("", max(0, room - used))
        return (((label, "key"), *text, (gap, ""), (hint, style)),)


def _words(text: str, width: int) -> str:
    """As many whole words of ``text`` as fit."""
    if cell_len(text) <= width:
        return text
    return text[: max(0, width - 1)].rpartition(" ")[0] + " …" if width > 12 else ""
