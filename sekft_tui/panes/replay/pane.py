"""The Replay pane: a list to the left, one or two players to the right, a time bar below."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from sekft_engine.core.errors import SekftError
from sekft_engine.core.files import read_regular
from sekft_engine.data import filters
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_tui.host import Host
from sekft_tui.input.actions import bindings, key_for
from sekft_tui.input.footer import FooterState, Item
from sekft_tui.input.places import Place
from sekft_tui.messages import TakeOver
from sekft_tui.model.episodes import Episode, unread
from sekft_tui.model.evaluation import EvalView
from sekft_tui.model.recording import IDLE_LIMIT_S
from sekft_tui.model.reducer import Shared
from sekft_tui.panes.following import FollowingPane
from sekft_tui.panes.pane import Part
from sekft_tui.panes.replay.episode_list import EpisodeList
from sekft_tui.panes.replay.final_worlds import FinalWorlds
from sekft_tui.panes.replay.listing import HINT, Listing
from sekft_tui.panes.replay.pair import Pair
from sekft_tui.panes.replay.played_episode import PlayedEpisode, file_of
from sekft_tui.panes.replay.players import Players
from sekft_tui.panes.searching import SearchedPane
from sekft_tui.process.exporting import Writer, file_name
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.replay_view import ReplayView

_MARKERS = {
    "0": "no command",
    "!": "no command failed",
    "$": "it did not end by itself",
    "v": "no verdict",
}


class ReplayPane(SearchedPane, FollowingPane):
    """Episodes to the left, the player to the right; two players take the whole width."""

    place: ClassVar[Place] = "replay"
    READS = "episodes"
    BINDINGS = bindings("replay")
    SCOPED_CSS = False
    DEFAULT_CSS = """
    ReplayPane #replay-split { layout: horizontal; }
    ReplayPane #replay-left { width: 42%; min-width: 52; max-width: 76; border-right: solid $line; }
    .-narrow ReplayPane #replay-split { layout: vertical; }
    .-narrow ReplayPane #replay-left {
        width: 1fr; min-width: 0; max-width: 100%; height: 6; border: none;
    }
    ReplayPane.-two #replay-left { display: none; }
    ReplayPane.-no-side #replay-left { display: none; }
    """

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.listing = Listing()
        self.pair = Pair()
        self.players = Players(self.pair)
        self.worlds = FinalWorlds(self.players)
        # By another pane: reading the list again does not replace it.
        self._opened_elsewhere = False
        self._under = ""  # the path of the episode under the cursor
        self._wanted = self.before.get("episode", "")  # the path of the one to begin with

    def compose(self) -> ComposeResult:
        self.list = EpisodeList(self.listing, self._open)
        with Container(id="replay-split"):
            yield Part(self.list.head, self.list, id="replay-left")
            yield self.players

    def on_mount(self) -> None:
        with suppress(filters.BadFilter):
            filters.parse(self.before.get("filter", ""), filters.EPISODE)
            self.listing.filter = self.before.get("filter", "")
        self.reload()

    def kept(self) -> dict[str, str]:
        here = self._shown_or_current
        return {"episode": here.path if here else self._wanted, "filter": self.listing.filter}

    def first_focus(self) -> Widget:
        return self.view if self._opened_elsewhere else self.list

    def hidden(self) -> None:
        self.players.stop()

    @property
    def view(self) -> ReplayView:
        return self.players.view

    @property
    def second_view(self) -> ReplayView:
        return self.players.second_view

    @property
    def turn(self) -> int:
        """How many turns of the episode are on the screen."""
        return self.view.turn

    # --- the list ---------------------------------------------------------------------------

    def reload(self) -> None:
        self.listing.reading = True
        self.list.wait()
        self._read_disk(self.listing.read)

    def follow_disk(self) -> None:
        self._read_disk(self.listing.follow)

    @work(exclusive=True, group=READS)
    async def _read_disk(self, read: Callable[[Path], list[str] | None]) -> None:
        problems = await asyncio.to_thread(read, self.host.workspace.runs)
        if problems is None:
            return
        for line in problems:
            self.host.log_line("warning", line)
        self.listing.reading = False
        self._fill()

    def _fill(self) -> None:
        self.list.fill(self._shown_or_current, self._wanted)
        if not self.listing.all and not self.listing.reading:
            self.view.empty = "an episode plays here"

    @property
    def current(self) -> Episode | None:
        return self.list.current

    @property
    def _shown_or_current(self) -> Episode | None:
        """The stored episode in the player; that under the cursor where nothing is played."""
        played = self.main.episode if self.main is not None else None
        return played or self.current

    @on(LineList.Moved, "#replay-list")
    def _moved(self) -> None:
        episode = self.current
        before, self._under = self._under, episode.path if episode is not None else ""
        stays = not self.is_on(self.list) or before in ("", self._under)
        if self._opened_elsewhere and stays:
            return  # the list was filled; the cursor was not moved
        self._opened_elsewhere = False
        if episode is None or self.main is None or self.main.episode is not episode:
            self._show(PlayedEpisode.of(episode) if episode is not None else None)

    def _open(self) -> None:
        self._opened_elsewhere = False
        self._moved()
        self.go_to(self.view)
        self.view.toggle()
        self.players.update()

    # --- opened from elsewhere --------------------------------------------------------------

    def open_cell(self, view: EvalView, subject: str, scenario: str) -> None:
        """Show an episode of the grid: its file, or its events while it runs."""
        self._opened_elsewhere = True
        self.listing.filter = ""
        shown = PlayedEpisode(subject, scenario, view.run, view=view)
        self._show(shown)
        if file_of(view, subject, scenario) is not None:
            self._load(shown, followed=False)

    def show_run(self, run: str) -> None:
        """Only the episodes of ``run``."""
        self.listing.filter = f"run:{run}"
        self._opened_elsewhere = False
        self.pair.put(None, ())
        self.reload()

    @work(group="episode-load")
    async def _load(self, shown: PlayedEpisode, *, followed: bool) -> None:
        """Load an episode that has ended from its file, which holds more than its events."""
        path = shown.unread_file()
        if path is None:
            return
        try:
            shown.episode = await asyncio.to_thread(self.listing.shelf.read, path)
        except (OSError, SekftError, ValueError) as error:
            self.host.log_line("warning", unread(path, error))
            return
        shown.view = None
        if shown is self.main:
            self.reload()
        if shown in self.pair.both:
            self.players.rebuild()
            if followed:
                self.players.reveal()

    def draw(self, shared: Shared) -> None:
        """Follow running episodes."""
        at_work = (shared.active, self.host.run_elsewhere)
        recording = any(each is not None and each.kind == "eval" for each in at_work)
        before, self.listing.recording = self.listing.recording, recording
        if recording != before and not self.listing.all:
            self._fill()
        grown = [shown for shown in self.pair.both if shown.has_grown()]
        if not grown:
            return
        self.players.grow()
        for shown in grown:
            if shown.unread_file() is not None:
                self._load(shown, followed=True)

    def engine_event(self, event: Event) -> None:
        match event:
            case events.JobDone(kind="eval") | events.JobCancelled(kind="eval"):
                self.reload()

    # --- what is shown ----------------------------------------------------------------------

    @property
    def main(self) -> PlayedEpisode | None:
        return self.pair.main

    @property
    def beside(self) -> PlayedEpisode | None:
        return self.pair.beside

    def _show(self, shown: PlayedEpisode | None) -> None:
        """Show an episode at its end, so that it can be read at once."""
        self.pair.put(shown, self.listing.all)
        for played in self.pair.both:
            played.has_grown()  # all there is by now is shown at once
        self._lay_out()
        self.players.show()
        self.worlds.compare()

    def _lay_out(self) -> None:
        two = self.beside is not None
        if self.is_on(self.list if two else self.second_view):  # it will be hidden
            self.go_to(self.view)
        self.set_class(two, "-two")

    # --- playing ----------------------------------------------------------------------------

    def action_play(self) -> None:
        self.view.toggle()
        self.players.update()

    def action_step(self, by: int) -> None:
        self.view.step(by)
        self.players.update()

    def action_seek(self, seconds: float) -> None:
        self.view.seek(self.view.position + seconds)

    def action_marker(self, by: int) -> None:
        if not self.view.step_marker(by):
            self.host.note("no further marker")
        self.players.update()

    def action_jump(self, key: str) -> None:
        if not self.view.jump(key):
            self.host.note(_MARKERS[key])
        self.players.update()

    def action_speed(self, by: int) -> None:
        self.view.change_speed(by)
        self.players.update()

    def action_idle(self) -> None:
        self.pair.idle_limit = 0.0 if self.pair.idle_limit else IDLE_LIMIT_S
        self.players.rebuild()

    # --- two players, and final worlds ------------------------------------------------------

    def action_beside(self) -> None:
        """Show the next episode in the same world beside it; after the last one, none."""
        if not self.pair.take_next(self.listing.all):
            self.host.note("no other episode was in this world")
            return
        self._second_changed()

    def _second_changed(self) -> None:
        """Another episode is beside the main one now, or none."""
        self._lay_out()
        self.players.change_second()
        if self.beside is not None:
            self.beside.has_grown()
            if self.beside.unread_file() is not None:
                self._load(self.beside, followed=False)
        self.worlds.compare()

    def action_parting(self) -> None:
        if self.beside is None:
            self.action_beside()
        if self.beside is not None and not self.view.jump("d"):
            self.host.note("both have typed the same so far")
        self.players.update()

    def action_difference(self) -> None:
        """Show or hide the differences in the final world."""
        if self.main is None:
            return
        if self.main.episode is None:
            self.host.note("it is still running")
        else:
            self.worlds.toggle()

    def action_take_over(self) -> None:
        """Type by hand from this turn on."""
        if self.main is None:
            return
        if self.main.episode is None:
            self.host.note("it is still running")
        else:
            self.request(TakeOver(Path(self.main.episode.path), self.turn))

    # --- the list, by keys ------------------------------------------------------------------

    def searched(self) -> LineList:
        self.remove_class("-no-side")
        return self.list

    def row_text(self, y: int) -> str:
        return self.listing.text(self.listing.rows[y])

    def footer(self) -> FooterState:
        if self.main is None:
            nothing = ("play", "step(1)", "beside", "parting", "difference", "take_over", "filter")
            return FooterState(dict.fromkeys(nothing, ""))
        labels = {"play": "pause"} if self.view.playing else {}
        if self.beside is None:
            labels["parting"] = ""
        first: tuple[Item, ...] = ()
        if self.is_on(self.list) and not self.view.playing:
            first, labels["play"] = (Item(key_for("motion.choose"), "play"),), ""
        return FooterState({**self.match_labels(), **labels}, first)

    def action_side(self) -> None:
        """Show or hide the list."""
        if self.beside is not None:
            self.host.note("two episodes take the whole width; the list is there with one")
            return
        hidden = not self.has_class("-no-side")
        if hidden and self.is_on(self.list):
            self.go_to(self.view)
        self.set_class(hidden, "-no-side")

    def action_episode(self, by: int) -> None:
        self._opened_elsewhere = False
        before = self.list.cursor
        self.list.move(by)
        if self.list.cursor == before:
            self._moved()

    def action_filter(self) -> None:
        def change(text: str) -> None:
            # It raises what is wrong; the old filter stays.
            filters.parse(text, filters.EPISODE, typing=True)
            self.listing.filter = text.strip()
            self._opened_elsewhere = False
            self._fill()

        def accept(text: str) -> None:
            filters.parse(text, filters.EPISODE)  # a field without a value is a mistake now
            change(text)

        main, under, elsewhere = self.main, self.current, self._opened_elsewhere

        def cancel() -> None:
            self._opened_elsewhere = elsewhere
            if self.main is not main:
                self._show(main)
            row = self.listing.row_of(under.path) if under is not None else None
            self.list.set_rows(len(self.listing.rows), row)

        self.host.prompt.ask(
            "filter", accept, value=self.listing.filter, hint=HINT, changed=change, cancelled=cancel
        )

    def action_back(self) -> None:
        if self.beside is not None:
            self.pair.beside = None
            self._second_changed()
        elif not self.is_on(self.list):
            self._opened_elsewhere = False
            self.remove_class("-no-side")
            self.players.stop()
            self.go_to(self.list)
            self._moved()
        elif self.listing.filter:
            self.listing.filter = ""
            self._fill()

    def file(self) -> Path | None:
        """The file of the episode that is shown."""
        return self.main.path if self.main is not None else None

    def export_name(self) -> str:
        main = self.main
        return f"sekft-{file_name(f'{main.subject}--{main.scenario}' if main else 'replay')}"

    def exports(self) -> dict[str, Writer]:
        """The episode as an asciicast, and its file as it is."""
        path = self.file()
        if path is None:
            return {}

        def cast() -> bytes:
            from sekft_engine.episodes.asciicast import asciicast
            from sekft_engine.episodes.store import read_episode

            return asciicast(read_episode(path)).encode()

        return {".cast": cast, ".json": lambda: read_regular(path)}

    def plain(self) -> str:
        return self.players.plain()
