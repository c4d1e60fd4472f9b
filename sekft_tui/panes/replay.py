"""Replay: what operators did, as if one watched over their shoulder."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container
from textual.timer import Timer
from textual.widget import Widget

from sekft_engine import events
from sekft_engine.events import Event
from sekft_tui import filters
from sekft_tui.actions import Place, bindings
from sekft_tui.cast import cast_of, cast_of_events
from sekft_tui.episodes import Episode, find_episodes
from sekft_tui.panes.pane import Pane, Part
from sekft_tui.reducer import EvalView, Shared
from sekft_tui.text import Parts, clip, fit, visible
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.lines import Lines
from sekft_tui.widgets.replay_view import ReplayView
from sekft_tui.widgets.verdict_grid import Mark, mark_of

#: Frames per second while playing.
RATE = 15
HINT = "words -not run:… subject:… outcome:panic verified:yes clean:no"
_UNJUDGED = Mark("·", "not judged", "quiet")


class ReplayPane(Pane):
    """Episodes to the left, the player to the right."""

    place: ClassVar[Place] = "replay"
    BINDINGS = bindings("replay")
    SCOPED_CSS = False
    DEFAULT_CSS = """
    ReplayPane #replay-split { layout: horizontal; }
    ReplayPane #replay-left { width: 52; border-right: solid $line; }
    .-narrow ReplayPane #replay-split { layout: vertical; }
    .-narrow ReplayPane #replay-left { width: 1fr; height: 7; border: none; }
    ReplayPane #replay-time { height: 2; }
    """

    def __init__(self) -> None:
        super().__init__(id="replay")
        self.episodes: list[Episode] = []
        self.rows: list[Episode] = []
        self.filter = ""
        self.live: tuple[EvalView, str, str] | None = None
        self._title: Parts = ()
        self._said = -1
        self._clock: Timer | None = None
        self._last = 0.0
        self._wanted = ""

    def compose(self) -> ComposeResult:
        self.list_head = Lines(self._list_head)
        self.list = LineList(
            self._row, chosen=self._open, empty="reading episodes …", id="replay-list"
        )
        self.view_head = Lines(lambda _: (self._title,))
        self.view = ReplayView(self._run_clock, id="replay-view")
        self.time_line = Lines(lambda width: self.view.timeline(width), id="replay-time")
        with Container(id="replay-split"):
            yield Part(self.list_head, self.list, id="replay-left")
            yield Part(self.view_head, self.view, self.time_line, id="replay-right")

    def on_mount(self) -> None:
        self._clock = self.set_interval(1 / RATE, self._tick, pause=True)
        self.reload()

    def first_focus(self) -> Widget:
        return self.view if self._wanted or self.live else self.list

    def hidden(self) -> None:
        self.view.playing = False
        self._run_clock()

    # --- the list ---------------------------------------------------------------------------

    def reload(self) -> None:
        self._read_disk()

    @work(exclusive=True, group="episodes")
    async def _read_disk(self) -> None:
        self.episodes, broken = await asyncio.to_thread(find_episodes, self.host.workspace.runs)
        for line in broken:
            self.host.say("warning", line)
        self._fill()

    def _fill(self) -> None:
        under = self.current.path if self.current else ""
        wanted = filters.parse(self.filter, filters.EPISODE)
        self.rows = [one for one in self.episodes if _matches(one, wanted)]
        if self.episodes:
            self.list.empty = f"nothing matches {self.filter!r}\npress esc to clear the filter"
        else:
            self.list.empty = "no episodes yet\n3 goes to Eval, s there starts one"
            self.view.empty = "an episode plays here"
        paths = [one.path for one in self.rows]
        if self._wanted not in paths:
            self._wanted = ""
        under = self._wanted or under
        self.list.set_rows(len(self.rows), paths.index(under) if under in paths else 0)
        self.list_head.update()

    @property
    def current(self) -> Episode | None:
        return self.rows[self.list.cursor] if self.list.cursor < len(self.rows) else None

    def _list_head(self, width: int) -> tuple[Parts, ...]:
        total = len(self.episodes)
        count = f"{len(self.rows)} of {total}" if self.filter else str(total)
        parts = [(f" {count}", "strong"), (" episodes", "quiet")]
        if self.filter:
            parts.append((clip(f"  f: {self.filter}", max(0, width - 22)), "accent"))
        return (tuple(parts),)

    def _row(self, y: int, width: int) -> Parts:
        one = self.rows[y]
        mark = mark_of(one.verdict) if one.verdict else _UNJUDGED
        room = max(10, width - 12)
        name = max(8, room * 3 // 5)
        return (
            (f" {mark.glyph} ", mark.style),
            (fit(visible(one.trajectory.scenario or one.trajectory.id), name), "text"),
            (" " + fit(visible(one.subject), room - name - 1), "quiet"),
            (" " + fit(mark.word, 8), mark.style),
        )

    @on(LineList.Moved, "#replay-list")
    def _moved(self) -> None:
        one = self.current
        opened = self.live is not None or (self._wanted and (not one or one.path != self._wanted))
        if opened and not self.is_on(self.list):
            return  # the list was filled, nobody moved in it
        self.live = None
        self._wanted = ""
        if one is None:
            self._title = ()
            self.view.show(None)
        else:
            self._entitle(one.subject, one.trajectory.scenario or one.trajectory.id, one.run)
            self.view.show(cast_of(one.trajectory, one.verdict))
        self._legends()

    def _open(self) -> None:
        self.live = None
        self._moved()
        self.go_to(self.view)
        self.view.toggle()
        self._run_clock()

    def _entitle(self, subject: str, scenario: str, run: str) -> None:
        self._title = (
            (f" {visible(scenario)}", "strong"),
            (f"  by {visible(subject) or 'unknown'}", "text"),
            (f"  {visible(run)}", "quiet"),
        )

    # --- opened from elsewhere --------------------------------------------------------------

    def open_cell(self, view: EvalView, subject: str, scenario: str) -> None:
        """Show an episode of the grid: its file, or its events while it runs."""
        cell = view.cell(subject, scenario)
        path = cell.verdict.path if cell.verdict else ""
        if path and not Path(path).is_absolute() and view.path:
            path = str(Path(view.path) / path)
        if path and Path(path).is_file():
            self._wanted, self.live = path, None
            self.filter = ""
            self.reload()
        else:
            self.live = (view, subject, scenario)
            self._said = -1
            self.view.show(None)
            self._entitle(subject, scenario, view.run)
            self._grow()

    def show_run(self, run: str) -> None:
        """Only the episodes of ``run``."""
        self.filter = f"run:{run}"
        self.live = None
        self.reload()

    def _grow(self) -> None:
        """Follow a running episode."""
        if self.live is None:
            return
        view, subject, scenario = self.live
        cell = view.cell(subject, scenario)
        said = len(cell.said) + (cell.verdict is not None)
        if said != self._said:
            first = self._said < 0
            self._said = said
            cast = cast_of_events(cell.said, cell.verdict)
            if first and cell.verdict is not None:
                self.view.show(cast)
            else:
                self.view.grow(cast)
            self._legends()

    def draw(self, shared: Shared) -> None:
        del shared
        self._grow()

    def heard(self, event: Event) -> None:
        if isinstance(event, events.JobDone | events.JobCancelled) and event.kind == "eval":
            self.reload()

    # --- playing ----------------------------------------------------------------------------

    def _tick(self) -> None:
        now = time.monotonic()
        self.view.advance(now - self._last)
        self._last = now
        self.time_line.update()
        if not self.view.playing:
            self._run_clock()

    def _run_clock(self) -> None:
        """The timer runs only while something plays."""
        if self._clock is None:
            return
        if self.view.playing:
            self._last = time.monotonic()
            self._clock.resume()
        else:
            self._clock.pause()
        self.time_line.update()

    def _legends(self) -> None:
        self.view_head.update()
        self._run_clock()

    def action_play(self) -> None:
        self.view.toggle()
        self._run_clock()

    def action_step(self, by: int) -> None:
        self.view.step(by)
        self._run_clock()

    def action_seek(self, seconds: float) -> None:
        self.view.seek(self.view.position + seconds)
        self.time_line.update()

    def action_marker(self, by: int) -> None:
        if not self.view.step_marker(by):
            self.host.note("no further marker")
        self._run_clock()

    def action_speed(self, by: int) -> None:
        self.view.change_speed(by)
        self.time_line.update()

    def action_idle(self) -> None:
        self.view.toggle_idle()
        self.time_line.update()

    def action_episode(self, by: int) -> None:
        self.live = None
        self.list.move(by)

    def action_filter(self) -> None:
        def change(text: str) -> None:
            filters.parse(text, filters.EPISODE)  # says what is wrong, and the old one stays
            self.filter = text.strip()
            self.live = None
            self._fill()

        self.host.prompt.ask("filter", change, value=self.filter, hint=HINT, changed=change)

    def action_back(self) -> None:
        if not self.is_on(self.list):
            self.view.playing = False
            self._run_clock()
            self.live = None
            self.go_to(self.list)
            self._moved()
        elif self.filter:
            self.filter = ""
            self._fill()

    def plain(self) -> str:
        return self.view.plain()


def _matches(one: Episode, wanted: filters.Filter) -> bool:
    def ask(field: str) -> filters.Value:
        if field in ("run", "subject"):
            return str(getattr(one, field))
        if field == "invalid":
            return one.verdict is not None and bool(one.verdict.invalid)
        found: filters.Value = getattr(one.trajectory, field)
        return found

    return filters.matches(wanted, ask, lambda: _text(one))


def _text(one: Episode) -> str:
    turns = (turn.content for turn in one.trajectory.turns)
    return "\n".join((one.trajectory.id, one.subject, one.run, *turns)).lower()
