"""The list to the left, the tokens of the chosen trajectory to the right, and what joins them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from sekft_engine.core.errors import SekftError
from sekft_engine.data import filters
from sekft_engine.data.filters import Filter
from sekft_engine.records.events import Event
from sekft_tui.host import Host
from sekft_tui.library import Library, ListState, Renderer
from sekft_tui.library.certifier import NOT_KEPT
from sekft_tui.library.sorting import ORDERS
from sekft_tui.panes.pane import Part
from sekft_tui.panes.sorting import SortedPane
from sekft_tui.panes.trajectories import legends, library_messages, listing
from sekft_tui.panes.trajectories.base_preparation import BasePreparation
from sekft_tui.panes.trajectories.jumps import Jumps, Kind
from sekft_tui.panes.trajectories.listing import TrajectoryList
from sekft_tui.panes.trajectories.losses import RunLosses
from sekft_tui.panes.trajectories.staying_cursor import StayingCursor
from sekft_tui.panes.trajectories.trajectory_view import TrajectoryView
from sekft_tui.text import Parts, visible
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.lines import Lines

if TYPE_CHECKING:
    from sekft_engine.maskview.layout import View
    from sekft_engine.sources import Facts
    from sekft_tui.model.reducer import Shared


class Browser(SortedPane):
    """Shows a :class:`Library`; slow work is done there, on threads."""

    ORDERS = ORDERS
    UNSORTED = "in the order of the data set"
    SCOPED_CSS = False
    DEFAULT_CSS = """
    Browser #tra-split { layout: horizontal; }
    Browser #tra-left {
        width: 32%; min-width: 44; max-width: 60; border-right: solid $line;
    }
    .-narrow Browser #tra-split { layout: vertical; }
    .-narrow Browser #tra-left { width: 1fr; max-width: 100%; height: 7; border: none; }
    Browser.-no-side #tra-left { display: none; }
    Browser .foot { height: 1; }
    Browser #tra-list-foot { height: 2; }
    .-narrow Browser #tra-list-foot { display: none; }
    .-narrow Browser #tra-columns { display: none; }
    """

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.library: Library | None = None
        self.listed = ListState()
        self.filter = Filter()
        self.needle = ""
        #: The last search, even if it was cancelled.
        self.sought = ""
        self.jumps = Jumps(self)
        self.losses = RunLosses(self)
        self.preparing = BasePreparation(self)
        self._filtering = 0  # the present filter's number
        self.cursor = StayingCursor(self)
        self._trouble = ""  # why there is no library
        self._post: library_messages.Post | None = None  # who speaks for the present one
        self._visible = False

    def compose(self) -> ComposeResult:
        self.list_head = Lines(self._list_head)
        self.list = TrajectoryList(self.open)
        self.columns = Lines(
            lambda _: (listing.columns(self.list.content_width, self.order),),
            id="tra-columns",
            classes="foot",
        )
        self.list_foot = Lines(self._list_foot, id="tra-list-foot", classes="foot")
        self.trajectory = TrajectoryView(self)
        self.view = self.trajectory.tokens
        with Container(id="tra-split"):
            yield Part(self.list_head, self.columns, self.list, self.list_foot, id="tra-left")
            yield self.trajectory

    def on_mount(self) -> None:
        before = self.before
        with suppress(filters.BadFilter):
            self.filter = filters.parse(before.get("filter", ""))
        self.view.restore(before.get("view", ""), before.get("tokens", ""))
        self.reload()
        if name := before.get("trajectory", ""):
            self.cursor.awaited = name

    def on_unmount(self) -> None:
        if self.library is not None:
            self.library.close()

    def kept(self) -> dict[str, str]:
        facts = self.current
        return super().kept() | {
            "filter": str(self.filter),
            "trajectory": self.cursor.awaited or (facts.id if facts else ""),
            "view": self.view.wanted,
            "tokens": self.view.mode,
        }

    def first_focus(self) -> Widget:
        return self.list

    def shown(self) -> None:
        self._visible = True
        if self.library is not None:
            self.library.show(True)

    def hidden(self) -> None:
        self._visible = False
        if self.library is not None:
            self.library.show(False)

    # --- the data set -----------------------------------------------------------------------

    def reload(self) -> None:
        """Open the data set again, with the present base of the workspace."""
        if self.library is not None and self.trajectory.number >= 0:
            facts = self.library.facts(self.trajectory.number)
            self.cursor.awaited = facts.id if facts else ""
        threading.Thread(target=self._read_disk, name="sekft-open", daemon=True).start()

    def sort(self) -> None:
        if self.library is not None:
            self.library.reader.sort(self.order)
        self.columns.update()

    def _read_disk(self) -> None:
        try:
            index = self.host.data.open()
        except SekftError as error:
            self.post_message(library_messages.Ready(None, str(error)))
        except Exception as error:  # noqa: BLE001 - libraries that read tables raise anything
            self.post_message(library_messages.Ready(None, f"{type(error).__name__}: {error}"))
        else:
            self.post_message(library_messages.Ready(index))

    @on(library_messages.Ready)
    def _ready(self, message: library_messages.Ready) -> None:
        if self.library is not None:
            self.library.close()
            self.library = None
        self.jumps.cancel()
        self.preparing.forget()
        if message.index is None:
            self._trouble = message.error
            self.list.library = None
            self._show_list(ListState(reading=False))
            return
        self._trouble = ""
        self._filtering = 0
        renderer = Renderer(self.host.base, self.host.workspace, self.host.recipe.max_length)
        renderer.losses = self.losses.of
        self._post = library_messages.Post(self)
        self.library = Library(message.index, renderer, self._post, self.host.key_priority)
        self.list.library = self.library
        self.library.show(self._visible)
        self.sort()
        if self.filter:
            self._filtering = self.library.reader.filter(self.filter)
        self.trajectory.forget()
        self.listed = ListState(filtering=-1)
        self._show_list(self.library.listed)

    @on(library_messages.Grew)
    def _grew(self) -> None:
        if self.library is None:
            return
        now = self.library.listed
        newer = now.filtering != self.listed.filtering and now.generation == self.listed.generation
        if newer and not now.rows and not now.done:
            return  # the list before stays until the new one has its first rows
        self._show_list(now)

    def _show_list(self, now: ListState) -> None:
        """Show ``now``; the cursor stays on its trajectory if it can."""
        before, self.listed, self.list.listed = self.listed, now, now
        fresh = (now.filtering, now.generation) != (before.filtering, before.generation)
        moved = now.arranged != before.arranged and now.rows > 0
        if not now.rows:
            self._say_why_empty()
        if fresh or (now.rows < self.list.rows and not moved) or not now.rows:
            self.list.set_rows(now.rows, 0 if fresh else None)
            if fresh and now.generation != before.generation:
                self.trajectory.forget()
        elif moved:
            self.cursor.rearrange(before, now)
        elif now.rows > self.list.rows:
            self.list.grow(now.rows)
        if self.settled:
            self.cursor.restore(now)
        if now.problems != before.problems and now.total:
            self._report_problems()
        self.jumps.resolve(first=True)
        self._update_heads()
        self.call_after_refresh(self.columns.update)  # a scroll bar may be new

    def _say_why_empty(self) -> None:
        host = self.host
        self.list.empty = legends.empty_list(
            self.listed, self._trouble, self.filter, self.library, host.data.name, host.demo_made
        )

    def draw(self, shared: Shared) -> None:
        """Say how far the demo is, while the list waits for it."""
        del shared
        if not self.list.rows:
            before = self.list.empty
            self._say_why_empty()
            if self.list.empty != before:
                self.list.set_rows(0)

    def _report_problems(self) -> None:
        problems = self.library.index.problems if self.library else ()
        if problems:
            many = f"{len(problems):,} problems in the data; the first: "
            text = str(problems[0])
            trace = "\n".join(map(str, problems[1:200]))
            self.host.error(many + text if len(problems) > 1 else text, trace)

    @on(library_messages.Certified)
    def _certified(self) -> None:
        self.list.certified()
        self.jumps.resolve()
        self._update_heads()

    @on(library_messages.Searched)
    def _searched(self) -> None:
        self.jumps.resolve()
        self._update_heads()

    @on(library_messages.Failed)
    def _failed(self, message: library_messages.Failed) -> None:
        self.host.error(f"{type(message.error).__name__}: {message.error}")

    @on(library_messages.NotReady)
    def _prepare(self) -> None:
        self.preparing.start()

    def engine_event(self, event: Event) -> None:
        self.preparing.engine_event(event)
        self.losses.engine_event(event)

    # --- opening ----------------------------------------------------------------------------

    @property
    def current(self) -> Facts | None:
        """The trajectory under the cursor."""
        return self.list.facts(self.list.cursor)

    @property
    def number(self) -> int:
        return self.list.number(self.list.cursor)

    @property
    def settled(self) -> bool:
        """Whether the list is that of the present filter (complete or not)."""
        return self.listed.filtering == self._filtering

    @on(LineList.Moved, "#tra-list")
    def _moved(self) -> None:
        number = self.list.number(self.list.cursor)
        if self.library is None:
            self.trajectory.clear()
        elif number != self.trajectory.number:
            self.jumps.moved(number)
            self.trajectory.open(number, self.library)
            self._update_heads()
        elif number < 0:
            self.trajectory.clear()

    @on(library_messages.Opened)
    def _opened(self, message: library_messages.Opened) -> None:
        if message.number == self.trajectory.number and message.source is self._post:
            self.trajectory.show(message.rendered)

    def _when_shown(self, do: Callable[[], object]) -> None:
        """Call ``do`` as soon as the trajectory under the cursor is rendered."""
        self._moved()
        self.trajectory.when_shown(do)

    # --- heads and feet ---------------------------------------------------------------------

    def _update_heads(self) -> None:
        if self.library is not None:
            self.host.data_report = listing.report(self.library)
            self.host.data_count = listing.count(self.library) or self.host.data_count
        for lines in (self.list_head, self.list_foot, self.trajectory.head):
            lines.update()

    def _list_head(self, width: int) -> tuple[Parts, ...]:
        if self.library is None:
            return (((" Trajectories", "strong"),),)
        more: Parts = ()
        if self.narrow:  # there is no foot in a narrow terminal
            dropped = self.library.dropped()
            dropped.pop(NOT_KEPT, None)  # the head shows those already
            more = (*self._conditions(), *listing.reasons(dropped))
        return (listing.head(self.listed, more, width),)

    def _conditions(self) -> Parts:
        """The waiting jump, the filter, and the search."""
        chosen = f"f: {self.filter}" if self.filter else ""
        return (
            (self.jumps.progress(), "warn"),
            (self.order_text, "accent"),
            (visible(chosen), "accent"),
            (self.jumps.match_count(), "accent"),
        )

    def _list_foot(self, width: int) -> tuple[Parts, ...]:
        if self.library is None:
            return ((), ())
        certifier = self.library.certifier
        return (
            listing.fitted(self._conditions(), width),
            listing.foot(
                certifier.known,
                self.listed.total,
                self.library.dropped(),
                width,
                notes=certifier.verdicts.notes,
                passed_over=self.library.index.passed_over,
            ),
        )

    # --- landing ----------------------------------------------------------------------------

    def open(self) -> None:
        """Move the focus from the list to the tokens."""
        self._moved()
        self.go_to(self.view)

    def land(self, position: int, kind: Kind, by: int) -> None:
        """Go to a position of the list, and there to what the jump was for."""
        self.list.move_to(position)
        self._moved()
        self._when_shown(lambda: self._arrive(kind, by))

    def _arrive(self, kind: Kind, by: int) -> None:
        if kind == "match":
            self.view.find(self.needle, last=by < 0)
        elif kind == "failed":
            self.view.set_view("certificate")
        else:
            self.view.to_blamed()

    def note(self, text: str) -> None:
        if text:
            self.host.note(text)

    def show_waiting(self) -> None:
        """Show what is being waited for in place of tokens."""
        self.trajectory.show(None)

    def reopen(self) -> None:
        """Open the trajectory under the cursor again."""
        self.trajectory.expire()
        self._moved()

    def show_plainly(self) -> None:
        """Show all tokens, in the view that is first."""
        self.view.set_plain()
        self.trajectory.head.update()

    def rerender(self, view: View) -> None:
        """Render all documents again, because their losses have changed; then show ``view``."""
        if self.library is not None:
            self.library.renderer.forget()
            self.reopen()
            self._when_shown(lambda: self.view.set_view(view))
