"""Asked before leaving where something would end or be lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.binding import Binding

from sekft_tui.input.actions import same_key
from sekft_tui.model.endings import name_of, stop_of
from sekft_tui.screens.question import QuestionScreen
from sekft_tui.text import sentence

if TYPE_CHECKING:
    from sekft_tui.model.reducer import Shared

#: Seconds within which a second ctrl+c leaves.
TWICE = 2.0


class QuitScreen(QuestionScreen):
    """Stop it and leave, hand over, cancel, stay, or leave now.

    Args:
        kind: of the job that runs; "" = none does.
        lost: what would end or be lost, each in a line.
        attached: the engine is one of another process, which goes on without this workbench.
        moves: it can be handed over to one in the background.
        loaded: a base is in memory.
        interrupt: ctrl+c has led here.
    """

    BINDINGS = [
        Binding("d", "detach", show=False),
        Binding("s", "stop", show=False),
        Binding("c", "cancel", show=False),
        Binding("k,escape", "answer('stay')", show=False),
        Binding("q", "answer('leave')", show=False),
        same_key("global.interrupt", "again"),
    ]
    WIDTH = 66

    def __init__(
        self,
        kind: str,
        lost: Sequence[str],
        *,
        attached: bool = False,
        moves: bool = True,
        loaded: bool = True,
        interrupt: bool = False,
    ) -> None:
        super().__init__()
        self._attached = attached
        self._moves = moves
        self._kept = "base" if loaded else "queue"
        self._lost = lost
        self.kind = kind
        self._interrupted = time.monotonic() if interrupt else float("-inf")

    def on_mount(self) -> None:
        question = (
            sentence(f"{name_of(self.kind)} is still running.")
            if self.kind
            else "Leave the workbench?"
        )
        self.ask("leave?", "\n".join([question, *self._lost]), self._answers())

    def _answers(self) -> tuple[tuple[str, str], ...]:
        stop = ("s", stop_of(self.kind).leaving)
        cancel = ("c", f"cancel {name_of(self.kind)}, and stay")
        if self._attached:
            detach = ("d", "detach: leave, and the engine keeps running")
            return detach, stop, cancel, ("k", "keep it running and stay")
        if self.kind:
            detach = ("d", "hand it to an engine in the background, and leave")
            now = ("q", "leave now; what is on disk stays")
            moved = (detach,) if self._moves else ()
            return stop, *moved, cancel, ("k", "keep it running and stay"), now
        detach = ("d", f"keep the {self._kept} in an engine in the background, and leave")
        return ("q", "leave"), *((detach,) if self._moves else ()), ("k", "stay")

    def action_detach(self) -> None:
        if self._attached or self._moves:
            self.action_answer("detach")

    def action_stop(self) -> None:
        if self.kind:
            self.action_answer("stop")

    def action_cancel(self) -> None:
        if self.kind:
            self.action_answer("cancel")

    def action_again(self) -> None:
        """A second ctrl+c leaves, if it comes soon; a later one may be meant for something else."""
        now = time.monotonic()
        if now - self._interrupted <= TWICE:
            self.action_answer("leave")
        self._interrupted = now

    def draw(self, shared: Shared) -> None:
        """Close where the job has ended by itself."""
        if shared.active is None and self.kind:
            self.dismiss("stay")
