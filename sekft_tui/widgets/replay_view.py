"""The player: the terminal as it was at a moment, and a time bar with markers."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from rich.cells import cell_len

from sekft_tui.model.recording import Cast, Marker, Moment
from sekft_tui.text import Parts, clip, duration
from sekft_tui.widgets.line_view import LineView

SPEEDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


class ReplayView(LineView):
    """Plays a :class:`Cast`.

    The owner's clock calls :meth:`advance`; ``moved`` is called after any other change of the
    position.
    """

    def __init__(self, moved: Callable[[], None], *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._moved = moved
        self.cast: Cast | None = None
        self.position = 0.0
        self.playing = False
        self.speed = 1.0
        self.empty = ""
        self._moment = Moment(-1, 0)
        self._lines: list[Parts] = []
        self._width = 0

    def show(
        self, cast: Cast | None, *, position: float | None = None, follow: bool = False
    ) -> None:
        """Show ``cast`` at ``position``; None = at its end, so that it can be read at once.

        At its end it is scrolled to the top, or with ``follow`` to the bottom.
        """
        self.cast = cast
        length = cast.length if cast is not None else 0.0
        self.position = length if position is None else min(position, length)
        self.playing = False
        self._draw(force=True)
        if follow or position is not None:
            self.call_after_refresh(self._to_end)
        else:
            self.scroll_to(y=0, animate=False, immediate=True)

    def grow(self, cast: Cast) -> None:
        """The same episode has new turns; if its end was in view, it stays in view."""
        at_end = self.cast is None or self.position >= self.cast.length - 1e-6
        self.cast = cast
        if at_end:
            self.position = self.cast.length
        self._draw(force=True)
        if at_end:
            self.call_after_refresh(self._to_end)  # the new height is known then

    def retime(self, cast: Cast) -> None:
        """The same session with another clock or ending; the same turn stays in view."""
        before, self.cast = self.cast, cast
        if before is not None:
            moment = before.moment(self.position)
            if self.position >= before.length - 1e-6 or moment.judged:
                self.position = cast.length
            elif moment.shown:
                self.position = cast.times[min(moment.shown, len(cast.times)) - 1]
            else:
                self.position = 0.0
        self._draw(force=True)

    def go(self, position: float) -> None:
        """Go to ``position``, without calling ``moved``."""
        self.position = position
        self._draw()
        self.call_after_refresh(self._to_end)

    # --- the clock --------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` of real time pass."""
        if self.cast is None or not self.playing:
            return
        self.position = min(self.cast.length, self.position + seconds * self.speed)
        if self.position >= self.cast.length:
            self.playing = False
        self.go(self.position)

    def toggle(self) -> None:
        """Play or pause; from the end, play from the beginning."""
        if self.cast is None:
            return
        if not self.playing and self.position >= self.cast.length:
            self.seek(0.0)
        self.playing = not self.playing

    def seek(self, position: float) -> None:
        if self.cast is not None:
            self.go(max(0.0, min(position, self.cast.length)))
            self._moved()

    def step(self, by: int) -> None:
        if self.cast is not None:
            self.playing = False
            self.seek(self.cast.step_from(self.position, by))

    def step_marker(self, by: int) -> bool:
        return self._jump(self.cast.marker_from(self.position, by) if self.cast else None)

    def jump(self, key: str) -> bool:
        """Go to the marker of ``key``; whether there is one."""
        return self._jump(self.cast.marker_of(key) if self.cast else None)

    def _jump(self, marker: Marker | None) -> bool:
        if marker is not None:
            self.playing = False
            self.seek(marker.at)
        return marker is not None

    def change_speed(self, by: int) -> None:
        at = SPEEDS.index(self.speed)
        self.speed = SPEEDS[max(0, min(at + by, len(SPEEDS) - 1))]

    # --- drawing ----------------------------------------------------------------------------

    def on_resize(self) -> None:
        if self.content_width != self._width:
            self._draw(force=True)

    def _draw(self, *, force: bool = False) -> None:
        self._width = self.content_width
        if self.cast is None:
            lines = self.empty.splitlines()
            self._moment = Moment(-1, 0)
            self._lines = [(), *(((" " + line, "quiet"),) for line in lines)]
            self.relines(len(self._lines))
            return
        moment = self.cast.moment(self.position)
        if moment == self._moment and not force:
            return
        before, self._moment = self._lines, moment
        self._lines = self.cast.lines(moment, self._width)
        if len(self._lines) != len(before) or force:
            self.relines(len(self._lines))
        else:
            for y, line in enumerate(self._lines):
                if line != before[y]:
                    self.refresh_line(y)

    def _to_end(self) -> None:
        height = self.scrollable_content_region.height
        self.scroll_to(y=max(0, len(self._lines) - height), animate=False, immediate=True)

    def reveal(self) -> None:
        """Scroll to the last part under the session: its head, if it is longer than the view."""
        heads = [y for y, line in enumerate(self._lines) if line and line[0][1] == "head"]
        end = max(0, len(self._lines) - self.scrollable_content_region.height)
        if heads:
            y = min(heads[-1], end)
            self.call_after_refresh(lambda: self.scroll_to(y=y, animate=False, immediate=True))

    def line(self, y: int, width: int) -> Parts:
        del width
        return self._lines[y] if y < len(self._lines) else ()

    def cache_key(self, y: int) -> Hashable:
        return self._lines[y] if y < len(self._lines) else ()

    def action_top(self) -> None:
        self.seek(0.0)

    def action_bottom(self) -> None:
        if self.cast is not None:
            self.seek(self.cast.length)

    # --- the time bar -----------------------------------------------------------------------

    @property
    def turn(self) -> int:
        """How many turns are on the screen."""
        return self.cast.moment(self.position).shown if self.cast is not None else 0

    def bar(self, width: int) -> Parts:
        """The time bar; each marker is the key that jumps to it."""
        cast = self.cast
        if cast is None or not cast.frames:
            return ()
        state = "▸" if self.playing else "‖"
        head = f" {state} {duration(cast.recorded_at(self.position)):>7} "
        tail = f" {duration(cast.recorded)} "
        room = max(4, width - len(head) - len(tail))
        at = _place(self.position, cast.length, room)
        own = _place(cast.judged_at or cast.times[-1], cast.length, room)
        cells = [
            (" ", "") if x > own else ("━", "accent") if x < at else ("─", "rule")
            for x in range(room)
        ]
        cells[at] = ("●", "accent")
        before = -1
        for number, marker in enumerate(cast.markers):
            # In their order; markers at the same place are put side by side.
            x = max(_place(marker.at, cast.length, room), before + 1)
            x = before = max(0, min(x, room - len(cast.markers) + number))
            cells[x] = (marker.key, "read" if x == at else marker.style)
        return ((head, "strong"), *_joined(cells), (tail, "quiet"))

    def facts(self, width: int) -> Parts:
        """The turn, the settings, and the last marker that was passed."""
        cast = self.cast
        if cast is None or not cast.frames:
            return ()
        passed = [marker for marker in cast.markers if marker.at <= self.position + 1e-6]
        label = f"{passed[-1].key} {passed[-1].label}" if passed else ""
        idle = f"waits cut to {cast.idle_limit:g} s" if cast.idle_limit else "waits as recorded"
        facts = f" turn {self.turn}/{len(cast.frames)}   {self.speed:g}×   {idle}   "
        room = max(0, width - len(facts))
        style = passed[-1].style if passed else ""
        # What the letters of the bar mean, where there is room.
        legend = "  ".join(f"{marker.key} {marker.label}" for marker in cast.markers)
        legend = f"  {legend} " if len(label) + len(legend) + 3 <= room else ""
        label = clip(label, room)
        gap = " " * max(0, room - cell_len(label) - cell_len(legend))
        return ((facts, "quiet"), (label, style), (gap, ""), (legend, "quiet"))

    def plain(self) -> str:
        """The whole session as a transcript, and the lines under it."""
        if self.cast is None:
            return ""
        under = ("".join(text for text, _ in line) for line in self.cast.ending.lines(80))
        return "\n".join((*(frame.text for frame in self.cast.frames), *under))


class FollowingView(ReplayView):
    """The player beside another, whose clock it follows."""

    def __init__(self, leader: ReplayView, *, id: str) -> None:  # noqa: A002
        super().__init__(lambda: None, id=id)
        self._leader = leader

    def action_top(self) -> None:
        self._leader.action_top()

    def action_bottom(self) -> None:
        self._leader.action_bottom()


def _place(position: float, length: float, room: int) -> int:
    """The cell of ``position`` on a bar of ``room`` cells."""
    share = position / length if length else 1.0
    return max(0, min(round(share * (room - 1)), room - 1))


def _joined(cells: list[tuple[str, str]]) -> Parts:
    out: list[tuple[str, str]] = []
    for text, style in cells:
        if out and out[-1][1] == style:
            out[-1] = (out[-1][0] + text, style)
        else:
            out.append((text, style))
    return tuple(out)
