"""The help of a form's field, or what is wrong with its value, below the form."""

from __future__ import annotations

from sekft_tui.text import Parts, clip, wrapped
from sekft_tui.widgets.lines import Lines


class FormHelp(Lines):
    """Wraps the text to its width; what does not fit its height is cut off."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(self._wrapped, id=id)
        self._text = ""
        self._is_problem = False

    def show_help(self, text: str, is_problem: bool) -> None:
        self._text, self._is_problem = text, is_problem
        self.update()

    def _wrapped(self, width: int) -> tuple[Parts, ...]:
        room, height = max(10, width - 3), max(1, self.size.height)
        lines = wrapped(self._text, room)
        if len(lines) > height:
            lines = [*lines[: height - 1], clip(" ".join(lines[height - 1 :]), room)]
        style = "bad" if self._is_problem else "quiet"
        return tuple(
            (("✗ " if self._is_problem and not number else "  ", "bad"), (line, style))
            for number, line in enumerate(lines)
        )
