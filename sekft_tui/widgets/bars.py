"""The tab bar at the top and the key bar at the bottom, both drawn from the key table."""

from __future__ import annotations

from rich.cells import cell_len
from textual.timer import Timer

from sekft_tui.input.actions import PANES, Place, action_of, footer, shown
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
        #: Which engine it is, where it is one of another process.
        self.engine = ""
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
        base = f" {visible(self.base)} " if self.base and width - at - cell_len(text) > 24 else ""
        if self.engine and width - at - cell_len(text) - cell_len(base) > len(self.engine) + 2:
            base = f"{base}{self.engine} "
        right = clip(text, max(0, width - at - cell_len(base) - 1))
        gap = width - at - cell_len(base) - cell_len(right) - 1
        parts += [(" " * max(0, gap), ""), (base, "quiet"), (right, style)]
        return (tuple(parts),)


class KeyBar(Lines):
    """The most important keys of the visible pane."""

    DEFAULT_CSS = "KeyBar { dock: bottom; height: 1; }"

    def __init__(self) -> None:
        super().__init__(self._bar, id="keys")
        self.pane: Place = "trajectories"
        self._note = ""
        self._timer: Timer | None = None

    def note(self, text: str, seconds: float = 4.0) -> None:
        """Show a text in place of the keys for ``seconds``: it covers nothing else."""
        self._note = text
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(seconds, self._note_over)
        self.update()

    def _note_over(self) -> None:
        self._note = ""
        self.update()

    def _bar(self, width: int) -> tuple[Parts, ...]:
        if self._note:
            self.clicks = ()
            return (((" › ", "accent"), (clip(visible(self._note), width - 4), "strong")),)
        parts: list[tuple[str, str]] = []
        clicks: list[tuple[int, int, int, str]] = []
        at = 0
        for key in footer(self.pane):
            pieces = [(f" {shown(key.keys[0])}", "key"), (f" {key.label} ", "quiet")]
            size = sum(cell_len(text) for text, _ in pieces)
            if at + size > width:
                break
            clicks.append((0, at, at + size, action_of(key)))
            parts += pieces
            at += size
        self.clicks = tuple(clicks)
        return (tuple(parts),)
