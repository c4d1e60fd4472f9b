"""Whether a model may go on typing: a person pauses it, or lets it type turn by turn."""

from __future__ import annotations

import threading
from collections.abc import Callable

#: How often a paused model looks whether its job was asked to stop, in seconds.
_LOOK_S = 0.05


class Pace:
    """The brake on a model. The person's methods may be called from any thread.

    Args:
        changed: called with whether it is paused, after that changed.
    """

    def __init__(self, changed: Callable[[bool], None]) -> None:
        self._changed = changed
        self._condition = threading.Condition()
        self._paused = False
        self._turns = 0  # that it may finish although it is paused
        self._follow: Callable[[bool, int], None] | None = None

    def pause(self) -> None:
        """Stop it where it is, also in the middle of a command."""
        self._set(paused=True, turns=0)

    def resume(self) -> None:
        """Let it type on."""
        self._set(paused=False, turns=0)

    def step(self) -> None:
        """Let it finish the turn that it is in, or type one, and pause it then."""
        self._set(paused=True, turns=1)

    def follow(self, callback: Callable[[bool, int], None]) -> Callable[[], None]:
        """Call ``callback`` with whether it is paused, and the turns that it may finish first: now,
        and at each change, in order. It must be quick. Returns the way to stop."""
        with self._condition:
            self._follow = callback
            callback(self._paused, self._turns)

        def stop() -> None:
            with self._condition:
                self._follow = None

        return stop

    def _set(self, *, paused: bool, turns: int) -> None:
        with self._condition:
            self._paused, self._turns = paused, turns
            self._condition.notify_all()
            self._tell()
        self._changed(paused and not turns)

    # --- the model's side -----------------------------------------------------------------------

    def wait(self, cancelled: Callable[[], bool]) -> bool:
        """Wait while it is paused; False where its job was asked to stop meanwhile."""
        with self._condition:
            while self._paused and not self._turns:
                if cancelled():
                    return False
                self._condition.wait(_LOOK_S)
        return True

    def turn_done(self) -> None:
        """Note that a turn was typed, and its command has run."""
        with self._condition:
            stepped = self._turns > 0
            self._turns = 0
            paused = self._paused
            if stepped:
                self._tell()
        if stepped:
            self._changed(paused)

    def _tell(self) -> None:
        if self._follow is not None:
            self._follow(self._paused, self._turns)
