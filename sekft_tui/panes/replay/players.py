"""One player or two, the time bar under them, and the clock that drives both."""

from __future__ import annotations

import time

from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.timer import Timer

from sekft_tui.cast import Cast
from sekft_tui.panes.pane import Part
from sekft_tui.panes.replay.pair import Pair
from sekft_tui.text import Parts
from sekft_tui.widgets.lines import Lines
from sekft_tui.widgets.replay_view import FollowingView, ReplayView

#: Frames per second while playing.
RATE = 15


class Players(Container):
    """Plays a :class:`Pair`: ``view`` the one, ``two`` the other, which follows it."""

    DEFAULT_CSS = """
    Players { layout: vertical; width: 1fr; height: 1fr; }
    Players #replay-two { display: none; border-left: solid $line; }
    Players.-two #replay-two { display: block; }
    Players #replay-time { height: 2; }
    Players.-two #replay-time { height: 3; }
    """

    def __init__(self, pair: Pair) -> None:
        super().__init__(id="replay-right")
        self.pair = pair
        self.view = ReplayView(self._moved, id="replay-view")
        self.two = FollowingView(self.view, id="replay-view-two")
        self._heads = (
            Lines(lambda width: (pair.one.title(width) if pair.one else (),)),
            Lines(lambda width: (pair.other.title(width) if pair.other else (),)),
        )
        self._time = Lines(self._time_lines, id="replay-time")
        self._clock: Timer | None = None
        self._last = 0.0

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Part(self._heads[0], self.view, id="replay-one")
            yield Part(self._heads[1], self.two, id="replay-two")
        yield self._time

    def on_mount(self) -> None:
        self._clock = self.set_interval(1 / RATE, self._tick, pause=True)

    # --- what is played ---------------------------------------------------------------------

    def show(self) -> None:
        """Another pair, at its end so that one can read it at once."""
        first, second = self._casts()
        follow = self.pair.one is not None and self.pair.one.running
        self.view.show(first, follow=follow)
        self.two.show(second, follow=follow)
        self.update()

    def again(self) -> None:
        """The same sessions, of which more is known or which are played otherwise."""
        first, second = self._casts()
        if first is not None:
            self.view.retime(first)
        if second is not None:
            self.two.retime(second)
            self.two.go(self.view.position)
        self.update()

    def company(self) -> None:
        """Someone came beside the one, or went; what the one shows stays."""
        first, second = self._casts()
        if first is not None:
            self.view.retime(first)
        self.two.show(second, position=self.view.position)
        self.update()

    def grow(self) -> None:
        """What still runs went on."""
        first, second = self._casts()
        if first is not None:
            self.view.grow(first)
        if second is not None:
            self.two.grow(second)
        self.update()

    def reveal(self) -> None:
        """Scroll to what stands under the sessions last."""
        self.view.reveal()
        self.two.reveal()

    def _casts(self) -> tuple[Cast | None, Cast | None]:
        self.set_class(self.pair.other is not None, "-two")
        return self.pair.casts()

    # --- the clock --------------------------------------------------------------------------

    def update(self) -> None:
        """Heads, bar and clock after something else than time changed; the timer runs only while
        something plays."""
        if self._clock is not None:
            if self.view.playing:
                self._last = time.monotonic()
                self._clock.resume()
            else:
                self._clock.pause()
        self.two.playing = self.view.playing
        for lines in (*self._heads, self._time):
            lines.update()

    def stop(self) -> None:
        self.view.playing = False
        self.update()

    def _tick(self) -> None:
        now = time.monotonic()
        self.view.advance(now - self._last)
        self._last = now
        self._moved()
        if not self.view.playing:
            self.update()

    def _moved(self) -> None:
        if self.pair.other is not None:
            self.two.playing = self.view.playing
            self.two.go(self.view.position)
        self._time.update()

    def _time_lines(self, width: int) -> tuple[Parts, ...]:
        if self.pair.other is None:
            return self.view.bar(width), self.view.facts(width)
        cast = self.view.cast
        at = cast.part_at if cast is not None else None
        told = "the same so far " if at is None else f"part at turn {at + 1} "
        facts = self.view.facts(max(0, width - len(told)))
        return self.view.bar(width), self.two.bar(width), (*facts, (told, "accent"))
