"""Asked before a job is started that takes long, or beside one that runs elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from textual.binding import Binding

from sekft_tui.screens.question import QuestionScreen


class StartScreen(QuestionScreen):
    """Start it, or not. The key is not one of those that lead here, so that pressing those twice
    does not answer.

    Args:
        title: what is to be started.
        facts: its size, and what speaks against it, each in a line; the first is the question.
        verb: what is done with it.
        engine: whether an engine in the background could do it.
    """

    BINDINGS = [
        Binding("y", "answer('start')", show=False),
        Binding("e", "give", show=False),
        Binding("n,escape,q", "answer('')", show=False),
    ]
    WIDTH = 70

    def __init__(
        self, title: str, facts: Sequence[str], verb: str = "start", *, engine: bool = False
    ) -> None:
        super().__init__()
        self._engine = engine
        self._title = title
        self._facts = facts
        self._verb = verb

    def on_mount(self) -> None:
        self.ask(self._title, "\n".join(self._facts), self._answers())

    def _answers(self) -> tuple[tuple[str, str], ...]:
        here, no = ("y", self._verb), ("n", f"do not {self._verb}")
        if not self._engine:
            return here, no
        given = ("e", "give it to the engine in the background")
        return given, ("y", f"{self._verb} it in this workbench"), no

    def action_give(self) -> None:
        if self._engine:
            self.action_answer("give")
