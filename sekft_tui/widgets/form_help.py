"""The help of a form's field, or what is wrong with its value, below the form."""

from __future__ import annotations

from sekft_tui.text import Parts, clip, wrapped
from sekft_tui.widgets.lines import Lines

#: It takes no more than this part of the screen's height.
_SHARE = 4


class FormHelp(Lines):
    """Wraps the text to its width. A long one takes more lines, up to a part of the screen; what
    does not fit there is cut off."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(self._wrapped, id=id)
        self._text = ""
        self._is_problem = False

    def show_help(self, text: str, is_problem: bool) -> None:
        self._text, self._is_problem = text, is_problem
        self._fit()
        self.update()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        """Be as high as the text needs; ``min-height`` says how low at least."""
        if self.size.width:
            needed = len(wrapped(self._text, self._room(self.size.width)))
            most = max(3, self.app.size.height // _SHARE)
            self.styles.height = max(1, min(needed, most))

    def _room(self, width: int) -> int:
        return max(10, width - len(self._sign) - 1)

    @property
    def _sign(self) -> str:
        """What stands before the first line: the mark of a problem is below the fields' names."""
        return " ✗ " if self._is_problem else "  "

    def _wrapped(self, width: int) -> tuple[Parts, ...]:
        room, height = self._room(width), max(1, self.size.height)
        lines = wrapped(self._text, room)
        if len(lines) > height:
            lines = [*lines[: height - 1], clip(" ".join(lines[height - 1 :]), room)]
        style = "bad" if self._is_problem else "quiet"
        return tuple(
            ((" " * len(self._sign) if number else self._sign, "bad"), (line, style))
            for number, line in enumerate(lines)
        )
