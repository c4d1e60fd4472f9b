"""One player or two, the time bar under them, and the clock that drives both."""

from __future__ import annotations

import time

from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.timer import Timer

from sekft_tui.model.recording import Cast
from sekft_tui.panes.pane import Part
from sekft_tui.panes.replay.pair import Pair
from sekft_tui.text import Parts
from sekft_tui.widgets.lines import Lines
from sekft_tui.widgets.replay_view import FollowingView, ReplayView

#: Frames per second while playing.
RATE = 15


class Players(Container):
    """Plays a :class:`Pair`: ``view`` the main episode, and ``second_view`` in step the other."""

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
        self.second_view = FollowingView(self.view, id="replay-view-two")
        self._heads = (
            Lines(lambda width: (pair.main.title(width) if pair.main else (),)),
            Lines(lambda width: (pair.beside.title(width) if pair.beside else (),)),
        )
        self._time = Lines(self._time_lines, id="replay-time")
        self._clock: Timer | None = None
        self._last = 0.0

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Part(self._heads[0], self.view, id="replay-one")
            yield Part(self._heads[1], self.second_view, id="replay-two")
        yield self._time

    def on_mount(self) -> None:
        self._clock = self.set_interval(1 / RATE, self._tick, pause=True)

    # --- what is played ---------------------------------------------------------------------

    def show(self) -> None:
        """Show another pair, at its end, so that it can be read at once."""
        first, second = self._casts()
        follow = self.pair.main is not None and self.pair.main.running
        self.view.show(first, follow=follow)
        self.second_view.show(second, follow=follow)
        self.update()

    def rebuild(self) -> None:
        """Show the same sessions again, after more of them is known or a setting has changed."""
        first, second = self._casts()
        if first is not None:
            self.view.retime(first)
        if second is not None:
            self.second_view.retime(second)
            self.second_view.go(self.view.position)
        self.update()

    def change_second(self) -> None:
        """Show or hide the second player; the main one stays where it is."""
        first, second = self._casts()
        if first is not None:
            self.view.retime(first)
        self.second_view.show(second, position=self.view.position)
        self.update()

    def grow(self) -> None:
        """Show the new turns of running episodes."""
        first, second = self._casts()
        if first is not None:
            self.view.grow(first)
        if second is not None:
            self.second_view.grow(second)
        self.update()

    def reveal(self) -> None:
        """Scroll to the last part under the sessions."""
        self.view.reveal()
        self.second_view.reveal()

    def plain(self) -> str:
        """The sessions as text; of two, each under its title."""
        if self.pair.beside is None:
            return self.view.plain()
        views = (self.view, self.second_view)
        titles = ("".join(text for text, _ in shown.title()).strip() for shown in self.pair.both)
        return "\n\n".join(
            f"{title}\n{view.plain()}" for title, view in zip(titles, views, strict=True)
        )

    def _casts(self) -> tuple[Cast | None, Cast | None]:
        self.set_class(self.pair.beside is not None, "-two")
        return self.pair.casts()

    # --- the clock --------------------------------------------------------------------------

    def update(self) -> None:
        """Update heads, time bar and clock after any change but that of time; the timer runs only
        while something plays."""
        if self._clock is not None:
            if self.view.playing:
                self._last = time.monotonic()
                self._clock.resume()
            else:
                self._clock.pause()
        self.second_view.playing = self.view.playing
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
        if self.pair.beside is not None:
            self.second_view.playing = self.view.playing
            self.second_view.go(self.view.position)
        self._time.update()

    def _time_lines(self, width: int) -> tuple[Parts, ...]:
        if self.pair.beside is None:
            return self.view.bar(width), self.view.facts(width)
        cast = self.view.cast
        at = cast.part_at if cast is not None else None
        comparison = " │ the same so far " if at is None else f" │ part at turn {at + 1} "
        facts = self.view.facts(max(0, width - len(comparison)))
        return self.view.bar(width), self.second_view.bar(width), (*facts, (comparison, "accent"))
