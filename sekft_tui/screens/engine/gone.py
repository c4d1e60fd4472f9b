"""Shown when the engine of another process has ended: the ways on."""

from __future__ import annotations

from collections.abc import Sequence

from textual.binding import Binding

from sekft_engine.records.events import Queued
from sekft_tui.input.actions import same_key
from sekft_tui.model.endings import never_begun
from sekft_tui.screens.question import QuestionScreen
from sekft_tui.text import visible


class EngineGoneScreen(QuestionScreen):
    """Start an engine in the background again, work with one here, stay and look, or leave.

    Args:
        why: the engine ended.
        waited: the jobs that it had not begun.
        lost: what it did and had not saved, in lines.
    """

    BINDINGS = [
        Binding("r", "answer('resident')", show=False),
        Binding("o", "answer('own')", show=False),
        Binding("k,escape", "answer('stay')", show=False),
        Binding("q", "answer('leave')", show=False),
        same_key("global.interrupt", "answer('leave')"),
    ]
    WIDTH = 66

    def __init__(self, why: str, waited: Sequence[Queued] = (), lost: Sequence[str] = ()) -> None:
        super().__init__()
        self._why = why
        self._waited = waited
        self._lost = lost

    def on_mount(self) -> None:
        kept = "What it had saved is on disk." if self._lost else "What it did is on disk."
        self.ask(
            "the engine has ended",
            "\n".join([f"{visible(self._why)}. {kept}", *self._lost, *never_begun(self._waited)]),
            (
                ("r", "start one in the background again, with its base"),
                ("o", "work with an engine of this workbench"),
                ("k", "stay and look; attach when there is one again"),
                ("q", "leave"),
            ),
        )
