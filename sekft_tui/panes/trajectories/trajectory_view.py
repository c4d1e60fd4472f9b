"""The trajectory under the cursor: its tokens, and the lines around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual import on

from sekft_tui.library import Library, Rendered
from sekft_tui.panes.pane import Part
from sekft_tui.panes.trajectories import legends
from sekft_tui.text import Parts
from sekft_tui.widgets.lines import Lines
from sekft_tui.widgets.token_view import TokenView

if TYPE_CHECKING:
    from sekft_tui.panes.trajectories.browser import Browser

#: Seconds for which the trajectory before stays in view while the next one is rendered.
LATE_S = 0.15


class TrajectoryView(Part):
    """Shows a trajectory as soon as it is rendered, which is done on a thread.

    Attributes:
        number: the trajectory that was opened last; -1 = none.
        tokens: its tokens; for a moment those of the one before.
    """

    def __init__(self, browser: Browser) -> None:
        self.tokens = TokenView(id="tra-view")
        self.head = Lines(self._head)
        self._state = Lines(self._state_line, classes="foot")
        self._legend = Lines(lambda width: (self.tokens.legend(width),), classes="foot")
        self._statistics = Lines(lambda width: (self.tokens.statistics(width),), classes="foot")
        feet = (self._state, self._statistics, self._legend)
        super().__init__(self.head, self.tokens, *feet, id="tra-right")
        self._browser = browser
        self.number = -1
        self._shown = -1  # the trajectory whose tokens are in view
        self._rendered: Rendered | None = None
        self._waiting_actions: list[Callable[[], object]] = []

    def open(self, number: int, library: Library) -> None:
        """Show trajectory ``number``: now, if it was rendered before."""
        self.number = number
        self._waiting_actions.clear()
        known = library.renderer.known(number) if number >= 0 else None
        library.opener.open(number)
        if known is not None:
            self.show(known)
        elif self._shown < 0 or number < 0:
            self.show(None)
        else:
            self.set_timer(LATE_S, self._late)

    def forget(self) -> None:
        """Numbers mean other trajectories from now on: whatever is opened next is new."""
        self.number = self._shown = -1

    def clear(self) -> None:
        """There is no trajectory to show."""
        self.forget()
        self.show(None)

    def expire(self) -> None:
        """What is in view is to be rendered again when it is opened next."""
        self.number = -1

    def _late(self) -> None:
        """The trajectory before was in view long enough."""
        if self._shown not in (-1, self.number):
            self.show(None)

    def show(self, rendered: Rendered | None) -> None:
        """Show the opened trajectory, or what is waited for in place of its tokens."""
        browser = self._browser
        facts = browser.current
        if rendered is None:
            self._rendered, self._shown = None, -1
            why = legends.waiting(bool(browser.preparing.job), browser.library)
            self.tokens.show(None, why if facts else "")
        elif rendered is not self._rendered or self._shown != self.number:
            again = self._shown == self.number and self._rendered is not None
            self._rendered, self._shown = rendered, self.number
            marks = browser.list.marks.setdefault(facts.id, set()) if facts else None
            self.tokens.show(rendered.doc, "", marks, keep=again)
            if browser.needle and not again:
                self.tokens.find(browser.needle)
            after, self._waiting_actions = self._waiting_actions, []
            for do in after:
                do()
        self._update_lines()

    def when_shown(self, do: Callable[[], object]) -> None:
        """Call ``do`` as soon as the opened trajectory is in view."""
        if self._shown == self.number:
            do()
        else:
            self._waiting_actions.append(do)

    # --- the lines around the tokens ----------------------------------------------------------

    @on(TokenView.Looked)
    def _update_lines(self) -> None:
        for lines in (self.head, self._state, self._statistics, self._legend):
            lines.update()

    def _head(self, width: int) -> tuple[Parts, ...]:
        browser = self._browser
        facts = browser.current
        if self._shown >= 0 and browser.library is not None:
            facts = browser.library.facts(self._shown)
        return legends.head(facts, self.tokens, self._rendered, width)

    def _state_line(self, width: int) -> tuple[Parts, ...]:
        return legends.state(self.tokens, self._rendered, self._browser.needle, width)
