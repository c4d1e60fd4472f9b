"""``e``: the last error with its traceback, and where the log is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from textual.binding import Binding

from sekft_engine.errors import SekftError
from sekft_tui.screens.box import BoxScreen
from sekft_tui.text import Parts, wrapped

if TYPE_CHECKING:
    from sekft_tui.app import Workbench


class DetailsScreen(BoxScreen[None]):
    """Read it, copy it, close it."""

    BINDINGS = [
        Binding("escape,q,e,enter", "dismiss", show=False),
        Binding("y", "copy", show=False),
    ]
    KEYS_TEXT = (("esc", "key"), (" close   ", "quiet"), ("y", "key"), (" copy", "quiet"))

    def __init__(self, text: str, trace: str) -> None:
        super().__init__()
        self.text = text
        self.trace = trace

    @property
    def host(self) -> Workbench:
        return cast("Workbench", self.app)

    def on_mount(self) -> None:
        self.query_one("#box").border_title = "error"
        width = max(20, min(80, int(self.app.size.width * 0.96) - 6))
        lines: list[Parts] = [((line, "bad"),) for line in wrapped(self.text, width)]
        if self.trace:
            lines += [(), *(((line, "quiet"),) for line in wrapped(self.trace, width))]
        self.put(tuple(lines))
        self.sheet.focus()

    def action_copy(self) -> None:
        from sekft_tui import clipboard

        text = f"{self.text}\n{self.trace}".strip()
        try:
            said = clipboard.copy(text, "error", self.host.to_terminal, Path.cwd())
        except SekftError as error:
            said = str(error)
        self.app.notify(said, timeout=3, markup=False)
