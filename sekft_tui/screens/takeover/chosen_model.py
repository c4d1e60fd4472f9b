"""The model to which a take-over is handed back: which one, and what it has to wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.app import App

from sekft_engine.takeover.view import TakeOverView
from sekft_tui.screens.choose import Choice, ChooseScreen

if TYPE_CHECKING:
    from sekft_tui.model.reducer import Shared


class ChosenModel:
    """The model that types when it is asked to.

    Args:
        choices: the models that may type: adapters' folders, "" = the bare base.

    Attributes:
        adapter: the folder of its adapter; "" = the bare base, None = who typed in the recording.
        title: its name as it was chosen; "" = none was.
        meanwhile: what it has to wait for before it can type; "" = nothing.
    """

    def __init__(self, choices: Callable[[], tuple[Choice, ...]]) -> None:
        self._choices = choices
        self.adapter: str | None = None
        self.title = ""
        self.meanwhile = ""

    def ask(self, app: App[Any], view: TakeOverView, chosen: Callable[[], None]) -> None:
        """Let the user choose another one; ``chosen`` is called once that is done."""
        choices = self._choices()

        def take(answer: str | None) -> None:
            if answer is not None:
                self.adapter = answer
                self.title = next(choice.title for choice in choices if choice.answer == answer)
                chosen()

        now = self.adapter
        if now is None and view.origin is not None:
            now = view.origin.adapter
        app.push_screen(ChooseScreen("who types when you hand back", choices, now or ""), take)

    def look(self, shared: Shared) -> None:
        """See what the engine does before it lets the model type."""
        active, queue = shared.active, shared.queue
        kind = active.kind if active is not None else ""
        if queue is not None and queue.running is not None:
            kind = queue.running.kind  # an engine of another process may have begun it before
        self.meanwhile = ""
        if kind not in ("", "hand_back"):
            self.meanwhile = f"waits until {kind} is done"
        elif active is not None and active.progress is not None:
            self.meanwhile = active.progress.label
