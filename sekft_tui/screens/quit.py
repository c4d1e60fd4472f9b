"""Asked before leaving while a job runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.binding import Binding

from sekft_tui.screens.question import QuestionScreen

if TYPE_CHECKING:
    from sekft_tui.model.reducer import Shared


class QuitScreen(QuestionScreen):
    """Stop after the step and leave, stay, or leave now.

    Args:
        kind: of the job that runs.
        stop: asks the job to end its step and save.
        attached: the engine is one of another process, which goes on without this workbench.
    """

    BINDINGS = [
        Binding("d", "answer('detach')", show=False),
        Binding("s", "stop", show=False),
        Binding("k,escape", "answer('stay')", show=False),
        Binding("q,ctrl+c", "answer('leave')", show=False),
    ]
    WIDTH = 58

    def __init__(self, kind: str, stop: Callable[[], object], *, attached: bool = False) -> None:
        super().__init__()
        self._stop = stop
        self._attached = attached
        self.kind = kind
        self._stopping = False

    def on_mount(self) -> None:
        self.ask(
            "leave?",
            f"{self.kind} is still running.",
            (
                ("d", "detach: leave, and the engine goes on"),
                ("s", "stop after this step, save, and leave"),
                ("k", "keep it running and stay"),
            )
            if self._attached
            else (
                ("s", "stop after this step, save, and leave"),
                ("d", "hand it to an engine in the background, and leave"),
                ("k", "keep it running and stay"),
                ("q", "leave now; what is on disk stays"),
            ),
        )

    def action_stop(self) -> None:
        self._stopping = True
        question = f"{self.kind} ends its step and saves …"
        self.ask("leave?", question, (("q", "leave now, without waiting"),))
        self._stop()

    def draw(self, shared: Shared) -> None:
        """Leave once the job has ended after ``s``; if it ended by itself, just close."""
        if shared.active is None:
            self.dismiss("leave" if self._stopping else "stay")
