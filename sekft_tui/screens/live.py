"""Running episodes of an eval, token by token; on a wide terminal several beside each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Grid, Vertical
from textual.message import Message
from textual.screen import ModalScreen

from sekft_engine.core.text import count
from sekft_engine.data.trajectory import Turn
from sekft_engine.records.events import EpisodeDone
from sekft_engine.takeover.view import TakeOverView
from sekft_engine.work.board import Writing
from sekft_tui.input.actions import KEYS, bindings, fixed_key, same_key
from sekft_tui.input.footer import hints
from sekft_tui.messages import RedrawPane
from sekft_tui.model.evaluation import Cell, EvalView
from sekft_tui.screens.box import SCROLL
from sekft_tui.screens.takeover.legends import clock
from sekft_tui.text import Parts, clip, visible
from sekft_tui.widgets.lines import Lines
from sekft_tui.widgets.session_view import SessionView

if TYPE_CHECKING:
    from sekft_tui.model.reducer import JobView, Shared
    from sekft_tui.process.bridge import Bridge

#: Which episode: subject and scenario.
Key = tuple[str, str]
#: From so many columns on there are several tiles; one is not smaller than that.
WIDE, TILE_WIDTH, TILE_HEIGHT = 160, 78, 11
#: How often the seconds are drawn, per second.
_CLOCK = 2
#: The keys of lists and texts that move; the other one opens.
SCROLLING = tuple(key for key in KEYS if key.place == "motion" and key.action != "choose")


class Tile(Vertical):
    """One episode: who is where and at what, and the session."""

    DEFAULT_CSS = """
    Tile { border: round $line; padding: 0 1; }
    Tile.-alone { border: none; }
    Tile.-chosen { border: round $accent; }
    Tile SessionView { height: 1fr; }
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.key: Key | None = None
        self._head: Parts = ()
        self.head = Lines(lambda _width: (self._head,))
        self.view = SessionView(id=f"live-{number}")
        self.view.can_focus = False  # keys are those of the screen

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.view

    def show(self, key: Key, cell: Cell, writing: Writing | None, seconds: float) -> None:
        """Show an episode as it is now; ``seconds`` is how long the model is at what it does."""
        self.key = key
        view = _view_of(key, cell, writing)
        self._head = _head(key, cell, writing, seconds, self.head.size.width)
        self.head.update()
        self.view.show(view, None, None)


class LiveScreen(ModalScreen[Key | None]):
    """Watches the running episodes of an eval. Answers with one that is to be opened in Replay.

    Args:
        bridge: the way to the engine.
        chosen: the episode that is shown first.
    """

    DEFAULT_CSS = """
    LiveScreen { background: $background; }
    LiveScreen #live-head { dock: top; }
    LiveScreen #live-foot { dock: bottom; }
    LiveScreen #tiles { grid-gutter: 0; height: 1fr; }
    """
    BINDINGS = [
        *bindings("live"),
        same_key("global.help", "help"),
        fixed_key("tab", "next(1)"),
        fixed_key("shift+tab", "next(-1)"),
        same_key("motion.choose", "open"),
        # No part of the screen has the focus: these scroll the marked episode.
        *(same_key(key.id, f"scroll('{key.action}')") for key in SCROLLING),
    ]
    HINTS = (
        ("live.next-back live.next", "episode"),
        ("live.zoom", "one or several"),
        ("live.pause", "pause"),
        ("motion.choose", "replay"),
        SCROLL,
        ("live.close", "back"),
    )

    class Written(Message):
        """A model has written more."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, LiveScreen.Written)

    def __init__(self, bridge: Bridge, chosen: Key) -> None:
        super().__init__()
        self._bridge = bridge
        self._chosen = chosen
        self._alone = False
        self._keys: list[Key] = [chosen]
        self._job = self._run = ""
        self._eval: JobView | None = None
        self._status = ""
        self._cells: dict[Key, Cell] = {}
        self._under_way: list[Key] = []
        self._lock = threading.Lock()
        self._writing: dict[Key, Writing] = {}
        self._stop: Callable[[], None] = lambda: None

    def compose(self) -> ComposeResult:
        self.head = Lines(lambda width: (self._head_line(width),), id="live-head")
        self.grid = Grid(id="tiles")
        self.foot = Lines(lambda _: (((" ", ""), *hints(self._hints())),), id="live-foot")
        yield self.head
        yield self.grid
        yield self.foot

    async def on_mount(self) -> None:
        self._stop = self._bridge.watch_writing(self._take)
        self.set_interval(1 / _CLOCK, self._draw_tiles)
        await self._arrange()
        self.post_message(RedrawPane())

    def on_unmount(self) -> None:
        self._stop()

    def _take(self, writing: Writing) -> None:
        """Called on a thread of the engine."""
        with self._lock:
            self._writing[writing.subject, writing.scenario] = writing
        self.post_message(self.Written())

    # --- drawing ------------------------------------------------------------------------------

    def on_live_screen_written(self) -> None:
        self._draw_tiles()

    def draw(self, shared: Shared) -> None:
        """Take over what the eval has come to."""
        view = shared.eval
        self._job, self._run = view.job, view.run
        job = shared.jobs.get(view.job)
        self._eval = job
        self._status = job.status if job is not None else ""
        self.foot.update()
        self._under_way = sorted(view.running, key=lambda key: _place(view, key))
        self._cells = {key: view.cell(*key) for key in {*self._under_way, *self._keys}}
        self.call_later(self._arrange)

    async def on_resize(self) -> None:
        await self._arrange()

    async def _arrange(self) -> None:
        """Choose the episodes, and make a tile for each."""
        columns, rows = self._room()
        others = [key for key in self._under_way if key not in self._keys]
        kept = [key for key in self._keys if key == self._chosen or key in self._under_way]
        self._keys = [*kept, *others][: columns * rows]
        if self._chosen not in self._keys:
            self._keys[-1:] = [self._chosen]
        tiles = list(self.grid.query(Tile))
        for tile in tiles[len(self._keys) :]:
            await tile.remove()
        if new := [Tile(number) for number in range(len(tiles), len(self._keys))]:
            await self.grid.mount(*new)
        self.grid.styles.grid_size_columns = min(columns, len(self._keys))
        self._draw_tiles()

    def _room(self) -> tuple[int, int]:
        """The columns and rows of tiles."""
        width, height = self.app.size
        if self._alone or width < WIDE:
            return 1, 1
        return width // TILE_WIDTH, max(1, (height - 2) // TILE_HEIGHT)

    def _draw_tiles(self) -> None:
        with self._lock:
            writing = dict(self._writing)
        for tile, key in zip(self.grid.query(Tile), self._keys, strict=False):
            cell = self._cells.get(key, Cell())
            tile.set_class(key == self._chosen and len(self._keys) > 1, "-chosen")
            tile.set_class(len(self._keys) == 1, "-alone")
            now = writing.get(key)
            tile.show(key, cell, now, self._seconds(now) if now is not None else 0.0)
        self.head.update()

    def _head_line(self, width: int) -> Parts:
        count = len(self._under_way)
        state = "paused" if self._status == "paused" else f"{count} running"
        text = clip(f" live: {visible(self._run or self._job)}", max(0, width - len(state) - 2))
        gap = max(1, width - cell_len(text) - len(state) - 1)
        style = "warn" if self._status == "paused" else "accent"
        return ((text, "strong"), (" " * gap, ""), (state, style))

    def _seconds(self, writing: Writing) -> float:
        """For how long a model is at what it does, without the time for which it was paused."""
        now = time.time()
        job = self._eval
        return job.worked(writing.since, now) if job is not None else now - writing.since

    def _hints(self) -> list[tuple[str, str]]:
        """The keys; the one that pauses says what it does now."""
        resumes = self._status in ("pausing", "paused")
        return [
            (ids, "resume" if resumes and ids == "live.pause" else label)
            for ids, label in self.HINTS
        ]

    # --- keys -----------------------------------------------------------------------------------

    def action_help(self) -> None:
        from sekft_tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen("live"))

    def action_next(self, by: int) -> None:
        """The next running episode."""
        several = self._room() != (1, 1)
        keys = self._keys if several else self._under_way
        if not keys:
            return
        at = keys.index(self._chosen) if self._chosen in keys else -1
        self._chosen = keys[(at + by) % len(keys)]
        if not several:
            self._keys = [self._chosen]
        self.post_message(RedrawPane())
        self.call_later(self._arrange)

    def action_zoom(self) -> None:
        """The chosen episode alone, or several."""
        self._alone = not self._alone
        if self._alone:
            self._keys = [self._chosen]
        self.call_later(self._arrange)

    def action_close(self) -> None:
        self.dismiss(None)

    def action_open(self) -> None:
        """Open the chosen episode in Replay, which has more of it."""
        self.dismiss(self._chosen)

    def action_pause(self) -> None:
        """Pause the eval at its next step, or let it go on."""
        if self._bridge.toggle_pause(self._job) is None:
            self.notify("the eval has ended")

    def action_scroll(self, how: str) -> None:
        for tile in self.grid.query(Tile):
            if tile.key == self._chosen:
                getattr(tile.view, f"action_{how}")()


def _place(view: EvalView, key: Key) -> tuple[int, int]:
    """Where an episode stands in the grid, by subject first."""
    subject, scenario = key
    at = view.subjects.index(subject) if subject in view.subjects else 0
    row = view.scenarios.index(scenario) if scenario in view.scenarios else 0
    return at, row


def _turns(subject: str, cell: Cell) -> tuple[Turn, ...]:
    found = {event.number: event for event in cell.turn_events}
    return tuple(
        Turn(
            role="assistant" if event.role == "assistant" else "user",
            content=event.content,
            extra={"by": subject} if event.role == "assistant" else {},
        )
        for _, event in sorted(found.items())
    )


def _current(cell: Cell, writing: Writing | None) -> Writing | None:
    """What is written, unless the turn has been told since."""
    told = len({event.number for event in cell.turn_events})
    return writing if writing is not None and writing.phase and writing.turn >= told else None


def _view_of(key: Key, cell: Cell, writing: Writing | None) -> TakeOverView:
    now = _current(cell, writing) if cell.status == "running" else None
    return TakeOverView(
        state="model",
        turns=_turns(key[0], cell),
        typist=key[0],
        phase=now.phase if now is not None else "",
        writing=now.text if now is not None and now.phase == "types" else "",
        running=now.text.strip() if now is not None and now.phase == "runs" else "",
    )


def _outcome(verdict: EpisodeDone) -> tuple[str, str]:
    if verdict.invalid:
        return "does not count", "warn"
    ended = f"{verdict.outcome} after {count(verdict.steps, 'command')}"
    if verdict.verified:
        return f"{ended}, verified", "good"
    return f"{ended}, not verified", "bad"


def _head(key: Key, cell: Cell, writing: Writing | None, seconds: float, width: int) -> Parts:
    """Who is where, and what the model is at, for how long."""
    subject, scenario = key
    now = _current(cell, writing)
    if cell.status == "running":
        state, style = "waits", "quiet"
        if now is not None:
            words = now.text.split() if now.phase == "runs" else []
            doing = f"{now.phase} {clip(visible(words[0]), 16)}" if words else now.phase
            state, style = f"{doing} {clock(seconds)}", "accent"
    elif cell.verdict is not None:
        state, style = _outcome(cell.verdict)
    else:
        state, style = "has not begun", "quiet"
    room = max(0, width - cell_len(state) - 1)
    name = clip(visible(f"{scenario}"), room)
    who = clip(f"  {visible(subject)}", max(0, room - cell_len(name)))
    gap = max(1, width - cell_len(name) - cell_len(who) - cell_len(state))
    return ((name, "strong"), (who, "special"), (" " * gap, ""), (state, style))
