"""The tab bar at the top; the notes and the keys at the bottom."""

from __future__ import annotations

from collections.abc import Callable

from rich.cells import cell_len
from textual.timer import Timer

from sekft_tui.input.footer import FooterState, bar, items, last_items
from sekft_tui.input.places import PANES, Place
from sekft_tui.text import Parts, clip, visible
from sekft_tui.widgets.lines import Lines


class TabBar(Lines):
    """Numbered tabs to the left; the base, the engine and what it is doing to the right."""

    DEFAULT_CSS = "TabBar { dock: top; height: 1; }"

    def __init__(self) -> None:
        super().__init__(self._bar, id="tabs")
        self.pane: Place = "trajectories"
        self.badges: dict[Place, str] = {}
        self.base = ""
        #: The process of the engine, where it is another one; named where there is room for it.
        self.process = 0
        self.state: tuple[str, str] = ("", "quiet")

    def _bar(self, width: int) -> tuple[Parts, ...]:
        parts: list[tuple[str, str]] = []
        clicks: list[tuple[int, int, int, str]] = []
        at = 0
        long = width >= 76
        for number, (name, title) in enumerate(PANES, 1):
            label = title if long or name == self.pane else title[:5]
            label += self.badges.get(name, "")
            if name == self.pane:
                pieces = [(f" {number} {label} ", "chip")]
            else:
                pieces = [(f" {number}", "key"), (f" {label} ", "text")]
            size = sum(cell_len(text) for text, _ in pieces)
            clicks.append((0, at, at + size, f"app.pane('{name}')"))
            parts += pieces
            at += size
        self.clicks = tuple(clicks)
        text, style = self.state
        room = width - at - cell_len(text) - 1
        base = f" {visible(self.base)} " if self.base else ""
        base = base if room > max(23, cell_len(base) - 1) else ""
        room -= cell_len(base)
        if self.process and room > len(named := f"· process {self.process} "):
            base += named
        elif self.process and room > len(named := f"{self.process} "):
            sign, _, doing = text.partition(" ")
            text = f"{sign} {named}{doing}"
        right = clip(text, max(0, width - at - cell_len(base) - 1))
        gap = width - at - cell_len(base) - cell_len(right) - 1
        parts += [(" " * max(0, gap), ""), (base, "quiet"), (right, style)]
        return (tuple(parts),)


class NoteLine(Lines):
    """A line above the keys for what was done, and for what waits while nothing was."""

    DEFAULT_CSS = "NoteLine { background: $background; }"

    def __init__(self) -> None:
        super().__init__(self._line, id="note")
        self._note = ""
        self._standing = ""
        self._timer: Timer | None = None

    def note(self, text: str, seconds: float) -> None:
        """Show a text for ``seconds``."""
        self._note = text
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(seconds, self._note_over)
        self.update()

    def _note_over(self) -> None:
        self._note = ""
        self.update()

    def stand(self, text: str) -> None:
        """Show a text whenever there is no note; "" = none."""
        if text != self._standing:
            self._standing = text
            self.update()

    def _line(self, width: int) -> tuple[Parts, ...]:
        if self._note:
            return (((" › ", "accent"), (clip(visible(self._note), width - 4), "strong")),)
        return (((clip(f"   {visible(self._standing)}", width - 1), "quiet"),),)


class KeyBar(Lines):
    """The most important keys of the visible pane, as they are now."""

    def __init__(self, state: Callable[[], FooterState]) -> None:
        super().__init__(self._bar, id="keys")
        self.pane: Place = "trajectories"
        self._state = state

    def _bar(self, width: int) -> tuple[Parts, ...]:
        state = self._state()
        last = () if state.only else last_items()  # while one types, they are letters
        made = bar(items(self.pane, state), last, width)
        self.clicks = made.clicks
        return (made.parts,)
