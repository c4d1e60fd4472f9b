"""``e``: the last error with its traceback, and where the log is."""

from __future__ import annotations

from textual.binding import Binding

from sekft_tui.screens.box import BoxScreen
from sekft_tui.text import Parts, wrapped


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

    def on_mount(self) -> None:
        self.query_one("#box").border_title = "error"
        width = max(20, min(80, int(self.app.size.width * 0.96) - 6))
        lines: list[Parts] = [((line, "bad"),) for line in wrapped(self.text, width)]
        if self.trace:
            lines += [(), *(((line, "quiet"),) for line in wrapped(self.trace, width))]
        self.put(tuple(lines))
        self.sheet.focus()

    def action_copy(self) -> None:
        from sekft_tui.clipboard import osc52

        driver = self.app._driver  # noqa: SLF001
        if driver is not None:
            driver.write(osc52(f"{self.text}\n{self.trace}".strip()))
        self.app.notify("sent to the terminal's clipboard", timeout=3)
