"""Asked before leaving while a job runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.binding import Binding

from sekft_tui.screens.box import BoxScreen

if TYPE_CHECKING:
    from sekft_tui.app import Workbench
    from sekft_tui.reducer import Shared


class QuitScreen(BoxScreen[str]):
    """Stop after the step and leave, stay, or leave now."""

    BINDINGS = [
        Binding("s", "stop", show=False),
        Binding("k,escape", "keep", show=False),
        Binding("q,ctrl+c", "now", show=False),
    ]
    SCROLLS = False

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._stopping = False

    def on_mount(self) -> None:
        self.query_one("#box").styles.width = 58
        self.query_one("#box").border_title = "leave?"
        self._put()

    def _put(self) -> None:
        if self._stopping:
            self.put(
                (
                    ((f"{self.kind} ends its step and saves …", "strong"),),
                    (),
                    (("  q  ", "key"), ("leave now, without waiting", "text")),
                )
            )
            return
        self.put(
            (
                ((f"{self.kind} is still running.", "strong"),),
                (),
                (("  s  ", "key"), ("stop after this step, save, and leave", "text")),
                (("  k  ", "key"), ("keep it running and stay", "text")),
                (("  q  ", "key"), ("leave now; what is on disk stays", "text")),
            )
        )

    def action_stop(self) -> None:
        self._stopping = True
        self._put()
        cast("Workbench", self.app).bridge.stop(after_step=True)

    def action_keep(self) -> None:
        self.dismiss("stay")

    def action_now(self) -> None:
        self.dismiss("leave")

    def draw(self, shared: Shared) -> None:
        """Leave once the job has ended; if it ended by itself there is nothing left to ask."""
        if shared.active is None:
            if self._stopping:
                self.dismiss("leave")
            else:
                self.dismiss("stay")
