"""What a person has typed in a take-over and the world has not yet seen."""

from __future__ import annotations

from sekft_engine.takeover.takeover import TakeOver
from sekft_engine.takeover.view import TakeOverView
from sekft_tui.widgets.shell_line import ShellLine


class TypedLine(ShellLine):
    """The line at the prompt, and the commands that were entered before the prompt was there.

    Attributes:
        ahead: commands that wait for the one that runs; they are typed in their order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ahead: list[str] = []
        self._offered = False

    @property
    def unsent(self) -> str:
        """All that has not reached the world; "" = nothing."""
        return "\n".join([*self.ahead, self.text]).strip()

    def forget(self, view: TakeOverView) -> None:
        """Throw away what is unsent."""
        self.ahead.clear()
        self.start(history(view))

    def enter(self, session: TakeOver) -> None:
        """Type the line into the world, or once the command that runs is done."""
        if session.view.state != "ready":
            if self.text.strip():
                self.ahead.append(self.text)
                self.start(history(session.view))
        elif session.type(self.text):
            self.start(history(session.view))

    def offer(self, command: str) -> bool:
        """Put a command that was cut off into the prompt, once; False where the person types
        already, or it was offered before."""
        offered, self._offered = self._offered, True
        if offered or self.unsent:
            return False
        self.edit.insert(command)
        return True

    def send_next(self, session: TakeOver) -> None:
        """Type the first command that waits."""
        if not session.type(self.ahead.pop(0)):
            self.ahead.clear()  # the status says why; what follows may rest on it


def history(view: TakeOverView) -> list[str]:
    """The commands for the up key: the recorded one at this turn comes first."""
    typed = [turn.content for turn in view.turns if turn.is_command]
    recorded = view.origin.turns if view.origin is not None else ()
    here = recorded[len(view.turns) : len(view.turns) + 1]
    return typed + [turn.content for turn in here if turn.is_command]
