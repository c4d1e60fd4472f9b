"""``e``: the last error with its traceback."""

from __future__ import annotations

from collections.abc import Callable

from sekft_engine.core.errors import SekftError
from sekft_tui.input.actions import same_key
from sekft_tui.screens.box import CLOSE, BoxScreen
from sekft_tui.text import Parts, wrapped


class DetailsScreen(BoxScreen[None]):
    """The error can be scrolled and copied.

    Args:
        text: the error in a line or a few.
        trace: the traceback of an unexpected error, else "".
        copy: copies a text to the clipboard; returns what was done, for the user to read.
    """

    BINDINGS = [same_key("global.details", "close"), same_key("global.copy", "copy")]
    HINTS = (CLOSE, ("global.copy", "copy"))

    def __init__(self, text: str, trace: str, copy: Callable[[str], str]) -> None:
        super().__init__()
        self._copy = copy
        self.text = text
        self.trace = trace

    def on_mount(self) -> None:
        self.query_one("#box").border_title = "error"
        self._wrap()
        self.sheet.focus()

    def on_resize(self) -> None:
        self._wrap()

    def _wrap(self) -> None:
        """Show the error, wrapped to the present width."""
        width = max(20, min(80, int(self.app.size.width * 0.96) - 6))
        lines: list[Parts] = [((line, "bad"),) for line in wrapped(self.text, width)]
        if self.trace:
            lines += [(), *(((line, "quiet"),) for line in wrapped(self.trace, width))]
        self.put(tuple(lines))

    def action_copy(self) -> None:
        try:
            done = self._copy(f"{self.text}\n{self.trace}".strip())
        except SekftError as error:
            done = str(error)
        self.app.notify(done, timeout=3, markup=False)
