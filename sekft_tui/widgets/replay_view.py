"""The player: a terminal that fills as it did, and a time line with markers under it."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from sekft_tui.cast import IDLE_LIMIT_S, Cast, Moment
from sekft_tui.text import Parts, clip, duration, fit
from sekft_tui.widgets.line_view import LineView

SPEEDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


class ReplayView(LineView):
    """Plays a :class:`Cast`. Someone else's clock drives :meth:`advance`; ``moved`` is called when
    the position changed otherwise."""

    def __init__(self, moved: Callable[[], None], *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._moved = moved
        self.cast: Cast | None = None
        self.position = 0.0
        self.playing = False
        self.speed = 1.0
        self.idle_limit = IDLE_LIMIT_S
        self.empty = ""
        self._moment = Moment(-1, 0)
        self._lines: list[Parts] = []
        self._width = 0

    def show(self, cast: Cast | None, *, position: float | None = None) -> None:
        """Show ``cast`` from ``position``; None = its end, so that one can read it at once."""
        self.cast = cast.with_limit(self.idle_limit) if cast is not None else None
        length = self.cast.length if self.cast else 0.0
        self.position = length if position is None else min(position, length)
        self.playing = False
        self._draw(force=True)
        if position is None:
            self.scroll_to(y=0, animate=False, immediate=True)

    def grow(self, cast: Cast) -> None:
        """The same episode went on; whoever watches its end keeps watching it."""
        at_end = self.cast is None or self.position >= self.cast.length - 1e-6
        self.cast = cast.with_limit(self.idle_limit)
        if at_end:
            self.position = self.cast.length
        self._draw(force=True)
        if at_end:
            self.call_after_refresh(self._to_end)  # the new height is known then

    # --- the clock --------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` of the viewer's time pass."""
        if self.cast is None or not self.playing:
            return
        self.position = min(self.cast.length, self.position + seconds * self.speed)
        if self.position >= self.cast.length:
            self.playing = False
        self._draw()
        self.call_after_refresh(self._to_end)

    def toggle(self) -> None:
        """Play or pause; from the end, play from the beginning."""
        if self.cast is None:
            return
        if not self.playing and self.position >= self.cast.length:
            self.seek(0.0)
        self.playing = not self.playing

    def seek(self, position: float) -> None:
        if self.cast is not None:
            self.position = max(0.0, min(position, self.cast.length))
            self._draw()
            self.call_after_refresh(self._to_end)
            self._moved()

    def step(self, by: int) -> None:
        if self.cast is not None:
            self.playing = False
            self.seek(self.cast.step_from(self.position, by))

    def step_marker(self, by: int) -> bool:
        marker = self.cast.marker_from(self.position, by) if self.cast else None
        if marker is not None:
            self.playing = False
            self.seek(marker.at)
        return marker is not None

    def change_speed(self, by: int) -> None:
        at = SPEEDS.index(self.speed)
        self.speed = SPEEDS[max(0, min(at + by, len(SPEEDS) - 1))]

    def toggle_idle(self) -> None:
        """Cut long waits, or not; what is on the screen stays."""
        self.idle_limit = 0.0 if self.idle_limit else IDLE_LIMIT_S
        if self.cast is not None:
            shown = self.cast.moment(self.position).shown
            at_end = self.position >= self.cast.length
            self.cast = self.cast.with_limit(self.idle_limit)
            self.position = self.cast.length if at_end else self.cast.times[max(0, shown - 1)]
            self._draw(force=True)

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

    # --- the time line ----------------------------------------------------------------------

    def timeline(self, width: int) -> tuple[Parts, ...]:
        """Two lines: the bar with its markers, and what the settings and the marker are."""
        cast = self.cast
        if cast is None or not cast.frames:
            return (), ()
        state = "▸" if self.playing else "‖"
        head = f" {state} {duration(cast.recorded_at(self.position)):>7} "
        tail = f" {duration(cast.recorded)} "
        room = max(4, width - len(head) - len(tail))
        share = self.position / cast.length if cast.length else 1.0
        at = round(share * (room - 1))
        cells = [("━", "accent") if x < at else ("─", "rule") for x in range(room)]
        for marker in cast.markers:
            x = round(marker.at / cast.length * (room - 1)) if cast.length else room - 1
            cells[x] = ("◆", marker.style)
        cells[at] = ("●", "accent")
        passed = [marker for marker in cast.markers if marker.at <= self.position + 1e-6]
        label = f"◆ {passed[-1].label}" if passed else ""
        shown = cast.moment(self.position).shown
        idle = f"waits cut to {self.idle_limit:g} s" if self.idle_limit else "waits as recorded"
        facts = f" turn {shown}/{len(cast.frames)}   {self.speed:g}×   {idle}   "
        room = max(0, width - len(facts))
        return (
            ((head, "strong"), *_joined(cells), (tail, "quiet")),
            ((facts, "quiet"), (fit(clip(label, room), room), passed[-1].style if passed else "")),
        )

    def plain(self) -> str:
        """The whole session as a transcript."""
        if self.cast is None:
            return ""
        return "\n".join(frame.text for frame in self.cast.frames)


def _joined(cells: list[tuple[str, str]]) -> Parts:
    out: list[tuple[str, str]] = []
    for text, style in cells:
        if out and out[-1][1] == style:
            out[-1] = (out[-1][0] + text, style)
        else:
            out.append((text, style))
    return tuple(out)
