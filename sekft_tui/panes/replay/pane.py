"""The pane: the list to the left, one player or two to the right, the time bar under them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.timer import Timer
from textual.widget import Widget

from sekft_engine import events
from sekft_engine.errors import SekftError
from sekft_engine.events import Event
from sekft_tui import filters
from sekft_tui.actions import Place, bindings
from sekft_tui.background import beside_the_screen
from sekft_tui.cast import IDLE_LIMIT_S, Cast, in_step
from sekft_tui.episodes import Episode, final_difference
from sekft_tui.eval_view import EvalView
from sekft_tui.panes.pane import Pane, Part
from sekft_tui.panes.replay.listing import HINT, Listing
from sekft_tui.panes.replay.shown import Shown, file_of, partners
from sekft_tui.reducer import Shared
from sekft_tui.text import Parts
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.lines import Lines
from sekft_tui.widgets.replay_view import FollowingView, ReplayView

#: Frames per second while playing.
RATE = 15
_MARKERS = {"c": "no command", "x": "no failure", "E": "no own end", "v": "no verdict"}


class ReplayPane(Pane):
    """Episodes to the left, the player to the right; two players take the whole width.

    ``one`` is what is played and ``other`` what is played beside it, in step.
    """

    place: ClassVar[Place] = "replay"
    BINDINGS = bindings("replay")
    SCOPED_CSS = False
    DEFAULT_CSS = """
    ReplayPane #replay-split { layout: horizontal; }
    ReplayPane #replay-left { width: 52; border-right: solid $line; }
    .-narrow ReplayPane #replay-split { layout: vertical; }
    .-narrow ReplayPane #replay-left { width: 1fr; height: 7; border: none; }
    ReplayPane #replay-right { layout: vertical; width: 1fr; height: 1fr; }
    ReplayPane #replay-two { display: none; border-left: solid $line; }
    ReplayPane.-two #replay-two { display: block; }
    ReplayPane.-two #replay-left { display: none; }
    ReplayPane #replay-time { height: 2; }
    ReplayPane.-two #replay-time { height: 3; }
    """

    def __init__(self) -> None:
        super().__init__(id="replay")
        self.listing = Listing()
        self.one: Shown | None = None
        self.other: Shown | None = None
        self.differing = False
        self.idle_limit = IDLE_LIMIT_S
        self._held = False  # opened from elsewhere: a list that is read again leaves it alone
        self._clock: Timer | None = None
        self._last = 0.0

    def compose(self) -> ComposeResult:
        self.list_head = Lines(self.listing.head)
        self.list = LineList(
            self.listing.row, chosen=self._open, empty="reading episodes …", id="replay-list"
        )
        self.view_head = Lines(lambda _: (self.one.title() if self.one else (),))
        self.view = ReplayView(self._moved_in_time, id="replay-view")
        self.two_head = Lines(lambda _: (self.other.title() if self.other else (),))
        self.two = FollowingView(self.view, id="replay-view-two")
        self.time_line = Lines(self._time_lines, id="replay-time")
        with Container(id="replay-split"):
            yield Part(self.list_head, self.list, id="replay-left")
            with Container(id="replay-right"):
                with Horizontal():
                    yield Part(self.view_head, self.view, id="replay-one")
                    yield Part(self.two_head, self.two, id="replay-two")
                yield self.time_line

    def on_mount(self) -> None:
        self._clock = self.set_interval(1 / RATE, self._tick, pause=True)
        self.reload()

    def first_focus(self) -> Widget:
        return self.view if self._held else self.list

    def hidden(self) -> None:
        self.view.playing = False
        self._run_clock()

    @property
    def turn(self) -> int:
        """How many turns of the episode are on the screen."""
        return self.view.turn

    # --- the list ---------------------------------------------------------------------------

    def reload(self) -> None:
        self._read_disk()

    @work(exclusive=True, group="episodes")
    async def _read_disk(self) -> None:
        for line in await asyncio.to_thread(self.listing.read, self.host.workspace.runs):
            self.host.say("warning", line)
        self._fill()

    def _fill(self) -> None:
        listing = self.listing
        here = self.one.episode if self.one is not None else self.current
        listing.sift()
        if listing.all:
            self.list.empty = f"nothing matches {listing.filter!r}\npress esc to clear the filter"
        else:
            self.list.empty = "no episodes yet\n3 goes to Eval, s there starts one"
            self.view.empty = "an episode plays here"
        self.list.set_rows(len(listing.rows), listing.row_of(here.path) if here else 0)
        self.list_head.update()

    @property
    def current(self) -> Episode | None:
        rows = self.listing.rows
        return rows[self.list.cursor] if self.list.cursor < len(rows) else None

    @on(LineList.Moved, "#replay-list")
    def _moved(self) -> None:
        if self._held and not self.is_on(self.list):
            return  # the list was filled, nobody moved in it
        self._held = False
        one = self.current
        if one is None or self.one is None or self.one.episode is not one:
            self._show(Shown.of(one) if one is not None else None)

    def _open(self) -> None:
        self._held = False
        self._moved()
        self.go_to(self.view)
        self.view.toggle()
        self._run_clock()

    # --- opened from elsewhere --------------------------------------------------------------

    def open_cell(self, view: EvalView, subject: str, scenario: str) -> None:
        """Show an episode of the grid: its file, or its events while it runs."""
        self._held = True
        self.listing.filter = ""
        shown = Shown(subject, scenario, view.run, view=view)
        self._show(shown)
        if file_of(view, subject, scenario) is not None:
            self._load(shown)

    def show_run(self, run: str) -> None:
        """Only the episodes of ``run``."""
        self.listing.filter = f"run:{run}"
        self._held = False
        self.one = None
        self.reload()

    @work(group="episode-load")
    async def _load(self, shown: Shown) -> None:
        """The stored form of an episode that has ended: it holds more than its events told."""
        path = shown.file()
        if path is None:
            return
        try:
            shown.episode = await asyncio.to_thread(self.listing.shelf.read, path)
        except (OSError, SekftError, ValueError) as error:
            self.host.say("warning", f"{path}: {error}")
            return
        shown.view = None
        if shown is self.one:
            self.reload()
        self._again()

    def draw(self, shared: Shared) -> None:
        """Follow what runs."""
        del shared
        grown = [shown for shown in self._both if shown.has_grown()]
        if not grown:
            return
        first, second = self._casts()
        if first is not None:
            self.view.grow(first)
        if second is not None:
            self.two.grow(second)
        for shown in grown:
            if shown.file() is not None:
                self._load(shown)
        self._legends()

    def heard(self, event: Event) -> None:
        if isinstance(event, events.JobDone | events.JobCancelled) and event.kind == "eval":
            self.reload()

    # --- what is shown ----------------------------------------------------------------------

    @property
    def _both(self) -> list[Shown]:
        return [shown for shown in (self.one, self.other) if shown is not None]

    def _show(self, one: Shown | None) -> None:
        """Play ``one``, from its end so that one can read it at once; beside it whoever was
        there before, or someone else who was in the same world."""
        subject = self.other.subject if self.other is not None else ""
        self.one = one
        if self.other is not None:
            found = partners(one, self.listing.all) if one is not None else []
            same = [shown for shown in found if shown.subject == subject]
            self.other = next(iter(same or found), None)
        for shown in self._both:
            shown.has_grown()
        self._lay_out()
        first, second = self._casts()
        follow = one is not None and one.running
        self.view.show(first, follow=follow)
        self.two.show(second, follow=follow)
        self._legends()
        if self.differing:
            self._ask()

    def _casts(self) -> tuple[Cast | None, Cast | None]:
        casts = [
            shown.cast(self.idle_limit, with_difference=self.differing) for shown in self._both
        ]
        if len(casts) == 2:
            return in_step(*casts)
        return (casts[0] if casts else None), None

    def _again(self) -> None:
        """The same sessions, of which more is known or which are played otherwise."""
        first, second = self._casts()
        if first is not None:
            self.view.retime(first)
        if second is not None:
            self.two.retime(second)
            self.two.go(self.view.position)
        self._legends()

    def _lay_out(self) -> None:
        two = self.other is not None
        if self.is_on(self.list if two else self.two):  # it goes out of sight
            self.go_to(self.view)
        self.set_class(two, "-two")

    def _time_lines(self, width: int) -> tuple[Parts, ...]:
        if self.other is None:
            return self.view.bar(width), self.view.facts(width)
        cast = self.view.cast
        at = cast.part_at if cast is not None else None
        told = "the same so far " if at is None else f"part at turn {at + 1} "
        facts = self.view.facts(max(0, width - len(told)))
        return self.view.bar(width), self.two.bar(width), (*facts, (told, "accent"))

    def _legends(self) -> None:
        self.view_head.update()
        self.two_head.update()
        self._run_clock()

    # --- playing ----------------------------------------------------------------------------

    def _tick(self) -> None:
        now = time.monotonic()
        self.view.advance(now - self._last)
        self._last = now
        self._moved_in_time()
        if not self.view.playing:
            self._run_clock()

    def _moved_in_time(self) -> None:
        if self.other is not None:
            self.two.playing = self.view.playing
            self.two.go(self.view.position)
        self.time_line.update()

    def _run_clock(self) -> None:
        """The timer runs only while something plays."""
        if self._clock is None:
            return
        if self.view.playing:
            self._last = time.monotonic()
            self._clock.resume()
        else:
            self._clock.pause()
        self.two.playing = self.view.playing
        self.time_line.update()

    def action_play(self) -> None:
        self.view.toggle()
        self._run_clock()

    def action_step(self, by: int) -> None:
        self.view.step(by)
        self._run_clock()

    def action_seek(self, seconds: float) -> None:
        self.view.seek(self.view.position + seconds)

    def action_marker(self, by: int) -> None:
        if not self.view.step_marker(by):
            self.host.note("no further marker")
        self._run_clock()

    def action_jump(self, key: str) -> None:
        if not self.view.jump(key):
            self.host.note(f"{_MARKERS[key]} in this session")
        self._run_clock()

    def action_speed(self, by: int) -> None:
        self.view.change_speed(by)
        self.time_line.update()

    def action_idle(self) -> None:
        self.idle_limit = 0.0 if self.idle_limit else IDLE_LIMIT_S
        self._again()

    # --- two of them, and what they left ----------------------------------------------------

    def action_beside(self) -> None:
        """The next one who was in the same world; after the last, nobody."""
        if self.one is None:
            return
        found = partners(self.one, self.listing.all)
        if not found:
            self.host.note("nobody else was in this world")
            return
        before = [self._identity(shown) for shown in found]
        here = self._identity(self.other) if self.other is not None else None
        at = before.index(here) + 1 if here in before else 0
        self.other = found[at] if at < len(found) else None
        self._lay_out()
        self._again_from_start()

    @staticmethod
    def _identity(shown: Shown) -> tuple[str, str, str]:
        return shown.run, shown.subject, shown.episode.path if shown.episode else ""

    def _again_from_start(self) -> None:
        """Someone came or went: what the first one shows stays."""
        first, second = self._casts()
        if first is not None:
            self.view.retime(first)
        self.two.show(second, position=self.view.position)
        if self.other is not None:
            self.other.has_grown()
            if self.other.file() is not None:
                self._load(self.other)
        self._legends()
        if self.differing:
            self._ask()

    def action_parting(self) -> None:
        if self.other is None:
            self.action_beside()
        if self.other is not None and not self.view.jump("p"):
            self.host.note("they type the same, as far as they are")
        self._run_clock()

    def action_difference(self) -> None:
        """Show what differs in the final world, or hide it."""
        if self.one is None:
            return
        if self.one.episode is None:
            self.host.note("it is still running")
            return
        self.differing = not self.differing
        self.view.playing = False
        if self.differing:
            self._ask()
        self._again()
        if self.differing:
            self.view.seek(self.view.cast.length if self.view.cast else 0.0)
            self._reveal()

    def _ask(self) -> None:
        for shown in self._both:
            if shown.episode is not None and shown.difference is None and not shown.pending:
                shown.pending = "typing the reference solution into a world of its own"
                self._compare(shown, shown.episode)

    @work(group="difference")
    async def _compare(self, shown: Shown, episode: Episode) -> None:
        shown.difference = await beside_the_screen(lambda: final_difference(episode))
        shown.pending = ""
        if shown in self._both and self.differing:
            self._again()
            self._reveal()

    def _reveal(self) -> None:
        self.view.reveal()
        self.two.reveal()

    def action_take_over(self) -> None:
        """Someone else types from this turn on."""
        if self.one is None:
            return
        if self.one.episode is None:
            self.host.note("it is still running")
        else:
            self.host.take_over(Path(self.one.episode.path), self.turn)

    # --- the list, by keys ------------------------------------------------------------------

    def action_episode(self, by: int) -> None:
        self._held = False
        before = self.list.cursor
        self.list.move(by)
        if self.list.cursor == before:
            self._moved()

    def action_filter(self) -> None:
        def change(text: str) -> None:
            filters.parse(text, filters.EPISODE)  # says what is wrong, and the old one stays
            self.listing.filter = text.strip()
            self._held = False
            self._fill()

        self.host.prompt.ask("filter", change, value=self.listing.filter, hint=HINT, changed=change)

    def action_back(self) -> None:
        if self.other is not None:
            self.other = None
            self._lay_out()
            self._again_from_start()
        elif not self.is_on(self.list):
            self.view.playing = False
            self._held = False
            self._run_clock()
            self.go_to(self.list)
            self._moved()
        elif self.listing.filter:
            self.listing.filter = ""
            self._fill()

    def plain(self) -> str:
        views = [self.view] if self.other is None else [self.view, self.two]
        texts = [view.plain() for view in views]
        if len(texts) == 1:
            return texts[0]
        titles = ("".join(text for text, _ in shown.title()).strip() for shown in self._both)
        return "\n\n".join(f"{title}\n{text}" for title, text in zip(titles, texts, strict=True))
