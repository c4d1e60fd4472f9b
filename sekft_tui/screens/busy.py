"""Shown while the workbench waits on its way out: no key acts meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sekft_tui.input.actions import key_for, same_key
from sekft_tui.messages import RedrawPane
from sekft_tui.screens.question import QuestionScreen
from sekft_tui.screens.quit import TWICE
from sekft_tui.text import duration, sentence

if TYPE_CHECKING:
    from sekft_tui.model.reducer import Shared


class BusyScreen(QuestionScreen):
    """What is waited for, with a clock. What is typed for the shell meanwhile does nothing, except
    that ctrl+c twice answers ``leave``.

    Args:
        title: what is being done.
        doing: says of the shared state what is waited for; "" = it is over, which answers ``done``.
    """

    BINDINGS = [same_key("global.interrupt", "again")]
    WIDTH = 66

    def __init__(self, title: str, doing: Callable[[Shared], str]) -> None:
        super().__init__()
        self._title = title
        self._doing = doing
        self._says = "…"
        self._since = time.monotonic()
        self._interrupted = float("-inf")

    def on_mount(self) -> None:
        self._put()
        self.set_interval(1.0, self._put)
        self.post_message(RedrawPane())

    def draw(self, shared: Shared) -> None:
        self._says = self._doing(shared)
        if self._says:
            self._put()
        elif self.is_current:
            self.dismiss("done")

    def _put(self) -> None:
        key, now = key_for("global.interrupt"), time.monotonic()
        again = now - self._interrupted <= TWICE
        leave = "leave now: press it again" if again else "twice: leave now, without waiting"
        says = f"{sentence(self._says)}, {duration(now - self._since)}"
        self.ask(self._title, f"{says}\nNo other key does anything meanwhile.", ((key, leave),))

    def action_again(self) -> None:
        now = time.monotonic()
        if now - self._interrupted <= TWICE:
            self.action_answer("leave")
            return
        self._interrupted = now
        self._put()

    def over(self) -> None:
        """What was waited for has ended."""
        if self.is_current:
            self.dismiss("done")
