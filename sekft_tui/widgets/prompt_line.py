"""One line at the bottom to type into, for a filter, a search or a path."""

from __future__ import annotations

from collections.abc import Callable

from rich.cells import cell_len
from textual.timer import Timer

from sekft_engine.core.errors import SekftError
from sekft_tui.text import Parts, clip, fit, short_path, visible
from sekft_tui.widgets.line_edit import HELP, LineEdit
from sekft_tui.widgets.lines import Lines

#: Nobody types more into one line: what comes beyond it is left out.
LONGEST = 4000
#: Cells of the text that stay in view beside a reason.
_TEXT_END = 12
#: Seconds without a key after which a text is looked at while it is typed.
REST_S = 0.05


class PromptLine(Lines):
    """Hidden until :meth:`ask`; Enter submits the text, Escape cancels."""

    DEFAULT_CSS = """
    PromptLine { dock: bottom; height: 1; display: none; }
    PromptLine.-open { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(self._bar, id="prompt")
        self._edit = LineEdit()
        self._label = ""
        self._hint = ""
        self._initial = ""
        self._problem: tuple[str, ...] = ()
        self._number = False
        self._done: Callable[[str], None] | None = None
        self._timer: Timer | None = None
        self._changed: Callable[[str], None] | None = None
        self._cancelled: Callable[[], None] | None = None

    def ask(
        self,
        label: str,
        done: Callable[[str], None],
        *,
        value: str = "",
        hint: str = "",
        changed: Callable[[str], None] | None = None,
        cancelled: Callable[[], None] | None = None,
        number: bool = False,
    ) -> None:
        """Let the user type a text.

        Args:
            label: shown before the text.
            done: called with the text on Enter.
            value: the text to begin with.
            hint: shown after the text.
            changed: called with the text after every key, and with ``value`` on Escape.
            cancelled: called after that on Escape.
            number: the text is to be a number: ``?`` shows help, and what is typed first replaces
                ``value``.

        ``done`` and ``changed`` may raise a SekftError: it is shown in place of the hint, and the
        prompt stays open.
        """
        self._label, self._hint, self._initial, self._problem = label, hint, value, ()
        self._done, self._changed, self._number = done, changed, number
        self._cancelled = cancelled
        self._edit = LineEdit(value, selected=number)
        self.add_class("-open")
        self.update()

    @property
    def typing(self) -> bool:
        return self.has_class("-open")

    def type_key(self, key: str, character: str | None) -> bool:
        if self._number and character == HELP:
            return False
        if key == "enter":
            self._rest_over()
            done = self._done
            if done is None or self._try(done, self._edit.text):
                self.remove_class("-open")
            self.update()
        elif key in ("escape", "ctrl+c"):
            self.remove_class("-open")
            self._rest_over()
            if self._changed is not None:
                self._try(self._changed, self._initial)
            if self._cancelled is not None:
                self._cancelled()
        else:
            before, edited = self._edit.text, False
            if character is None or len(before) < LONGEST:
                edited = self._edit.press(key, character)
            if self._edit.text != before:
                self._text_changed()
            if edited or character is None:
                self.update()
        return True

    def type_text(self, text: str) -> None:
        self._edit.insert(text[: max(0, LONGEST - len(self._edit.text))])
        self._text_changed()
        self.update()

    def _text_changed(self) -> None:
        """Tell of the text once no further key of a burst is on its way: a paste into a terminal
        that does not mark it comes as keys."""
        self._problem = ()
        if self._timer is not None:
            self._timer.stop()
        if self._changed is not None:
            self._timer = self.set_timer(REST_S, self._settled)

    def _rest_over(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _settled(self) -> None:
        self._timer = None
        if self._changed is not None and self.typing:
            self._try(self._changed, self._edit.text)
            self.update()

    def _try(self, callback: Callable[[str], None], text: str) -> bool:
        """Call ``callback``; False = it refused the text, and the reason is shown."""
        try:
            callback(text)
        except SekftError as error:
            self._problem = _said(error)
            return False
        except (OSError, ValueError, RuntimeError) as error:  # of a path: too long, ~nobody, NUL
            self._problem = (visible(getattr(error, "strerror", None) or str(error)),)
            return False
        return True

    def _bar(self, width: int) -> tuple[Parts, ...]:
        label = f" {self._label}: "
        spare = width - len(label) - max(18, len(self._edit.text) + 2) - 1
        if self._problem:  # of a long text the end is in view
            hint, style = _reason(self._problem, max(spare, width // 2), width - len(label)), "bad"
        else:
            hint, style = _words(self._hint, spare), "quiet"
        room = max(4, width - len(label) - cell_len(hint) - 1)
        text = self._edit.parts(room)
        used = sum(len(piece) for piece, _ in text)
        gap = fit("", max(0, room - used))
        return (((label, "key"), *text, (gap, ""), (hint, style)),)


def _said(error: SekftError) -> tuple[str, ...]:
    """What is wrong, from all that is known of it to the reason alone."""
    mend = f" ({error.mend})" if error.mend else ""
    where = f"{short_path(error.where)}: " if error.where else ""
    return tuple(map(visible, (str(error), f"{where}{error.what}{mend}",
                               f"{error.what}{mend}", error.what)))  # fmt: skip


def _reason(forms: tuple[str, ...], room: int, most: int) -> str:
    """The fullest of ``forms`` that fits; the last one may take all but the end of the text."""
    found = next((form for form in forms if cell_len(form) + 2 <= room), forms[-1])
    return clip(f"  {found}", max(room, most - _TEXT_END))


def _words(text: str, width: int) -> str:
    """As many whole words of ``text`` as fit."""
    if cell_len(text) <= width:
        return text
    return text[: max(0, width - 1)].rpartition(" ")[0] + " …" if width > 12 else ""
