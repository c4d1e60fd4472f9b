"""The list to the left, the tokens of the chosen trajectory to the right, and what joins them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from sekft_engine.errors import SekftError
from sekft_engine.events import Event
from sekft_engine.filters import Filter
from sekft_tui.library import Library, Listed, Rendered, Renderer
from sekft_tui.library.certifier import NOT_KEPT
from sekft_tui.panes.pane import Pane, Part
from sekft_tui.panes.trajectories import legends, listing, messages
from sekft_tui.panes.trajectories.jumps import Jumps, Kind
from sekft_tui.panes.trajectories.listing import TrajectoryList
from sekft_tui.panes.trajectories.losses import RunLosses
from sekft_tui.panes.trajectories.preparing import Preparing
from sekft_tui.text import Parts, visible
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.lines import Lines
from sekft_tui.widgets.token_view import TokenView

if TYPE_CHECKING:
    from sekft_engine.maskview.layout import View
    from sekft_engine.sources import Facts

#: How long the trajectory looked at before stays in view while another is rendered.
LATE_S = 0.15


class Browser(Pane):
    """Shows a :class:`Library`; whatever takes time is done there, on threads."""

    SCOPED_CSS = False
    DEFAULT_CSS = """
    Browser #tra-split { layout: horizontal; }
    Browser #tra-left { width: 44; border-right: solid $line; }
    .-narrow Browser #tra-split { layout: vertical; }
    .-narrow Browser #tra-left { width: 1fr; height: 8; border: none; }
    Browser .foot { height: 1; }
    Browser #tra-list-foot { height: 2; }
    .-narrow Browser #tra-list-foot { display: none; }
    """

    def __init__(self) -> None:
        super().__init__(id="trajectories")
        self.library: Library | None = None
        self.listed = Listed()
        self.filter = Filter()
        self.needle = ""
        #: What was searched for last, also after that search was ended.
        self.sought = ""
        self.jumps = Jumps(self)
        self.losses = RunLosses(self)
        self.preparing = Preparing(self)
        self._filtering = 0
        self.rendered: Rendered | None = None
        self._number = -1
        self._shown = -1
        self._hold: tuple[str, int] | None = None
        self._after: list[Callable[[], object]] = []
        self._trouble = ""
        self._post: messages.Post | None = None
        self._front = False

    def compose(self) -> ComposeResult:
        self.list_head = Lines(self._list_head)
        self.list = TrajectoryList(self.open)
        self.list_foot = Lines(self._list_foot, id="tra-list-foot", classes="foot")
        self.view_head = Lines(self._view_head)
        self.view = TokenView(id="tra-view")
        self.state = Lines(self._state, classes="foot")
        self.legend = Lines(lambda width: (self.view.legend(width),), classes="foot")
        self.statistics = Lines(lambda width: (self.view.statistics(width),), classes="foot")
        with Container(id="tra-split"):
            yield Part(self.list_head, self.list, self.list_foot, id="tra-left")
            yield Part(
                self.view_head, self.view, self.state, self.statistics, self.legend, id="tra-right"
            )

    def on_mount(self) -> None:
        self.reload()

    def on_unmount(self) -> None:
        if self.library is not None:
            self.library.close()

    def first_focus(self) -> Widget:
        return self.list

    def shown(self) -> None:
        self._front = True
        if self.library is not None:
            self.library.show(True)

    def hidden(self) -> None:
        self._front = False
        if self.library is not None:
            self.library.show(False)

    # --- the data set -----------------------------------------------------------------------

    def reload(self) -> None:
        """Open the data set again, with whatever base the workspace has now."""
        if self._number >= 0 and self.library is not None:
            facts = self.library.facts(self._number)
            self._hold = (facts.id, -1) if facts else None
        threading.Thread(target=self._read_disk, name="sekft-open", daemon=True).start()

    def _read_disk(self) -> None:
        try:
            index = self.host.data.open()
        except SekftError as error:
            self.post_message(messages.Ready(None, str(error)))
        except Exception as error:  # noqa: BLE001 - libraries that read tables raise anything
            self.post_message(messages.Ready(None, f"{type(error).__name__}: {error}"))
        else:
            self.post_message(messages.Ready(index))

    @on(messages.Ready)
    def _ready(self, message: messages.Ready) -> None:
        if self.library is not None:
            self.library.close()
            self.library = None
        self.jumps.cancel()
        self.preparing.forget()
        if message.index is None:
            self._trouble = message.error
            self.list.library = None
            self._list(Listed(reading=False))
            return
        self._trouble = ""
        self._filtering = 0
        renderer = Renderer(self.host.base, self.host.workspace, self.host.recipe.max_length)
        renderer.losses = self.losses.of
        self._post = messages.Post(self)
        self.library = Library(message.index, renderer, self._post, self.host.courtesy)
        self.list.library = self.library
        self.library.show(self._front)
        if self.filter:
            self._filtering = self.library.reader.filter(self.filter)
        self._number = self._shown = -1
        self.listed = Listed(filtering=-1)
        self._list(self.library.listed)

    @on(messages.Grew)
    def _grew(self) -> None:
        if self.library is None:
            return
        now = self.library.listed
        newer = now.filtering != self.listed.filtering and now.generation == self.listed.generation
        if newer and not now.rows and not now.done:
            return  # the list before stays until something is known of the next
        self._list(now)

    def _list(self, now: Listed) -> None:
        """Show ``now``: what was there stays where it is, and so does the cursor."""
        before, self.listed, self.list.listed = self.listed, now, now
        fresh = (now.filtering, now.generation) != (before.filtering, before.generation)
        self._say_empty(now)
        if fresh or now.rows < self.list.rows or not now.rows:
            self.list.set_rows(now.rows, 0 if fresh else None)
            if fresh and now.generation != before.generation:
                self._number = self._shown = -1
        elif now.rows > self.list.rows:
            self.list.grow(now.rows)
        self._keep_cursor(now)
        if now.problems != before.problems and now.total:
            self._tell_problems()
        self.jumps.resolve(first=True)
        self._heads()

    def _keep_cursor(self, now: Listed) -> None:
        """Find the trajectory again that was under the cursor before the list was made anew."""
        if self._hold is None or self.library is None:
            return
        name, at = self._hold
        if self.list.cursor != max(0, at):
            self._hold = None  # it was moved since: nothing to bring back
            return
        number = self.library.index.find(name)
        position = now.position(number) if number is not None else -1
        if position >= 0:
            self._hold = None
            self.list.move_to(position)
        elif now.done:
            self._hold = None

    def _say_empty(self, now: Listed) -> None:
        if self._trouble:
            self.list.empty = self.host.empty_hint(self._trouble)
        elif not now.done:
            self.list.empty = "reading trajectories …" if now.reading else "filtering …"
        elif self.filter and now.total:
            self.list.empty = f"nothing matches {self.filter}\npress esc to clear the filter"
        else:
            problems = self.library.index.problems if self.library else ()
            none = f"no trajectories in {self.host.data.name}"
            self.list.empty = self.host.empty_hint(str(problems[0]) if problems else none)

    def _tell_problems(self) -> None:
        problems = self.library.index.problems if self.library else ()
        if problems:
            many = f"{len(problems):,} things in the data cannot be used; the first: "
            text = str(problems[0])
            trace = "\n".join(map(str, problems[:200])) if len(problems) > 1 else ""
            self.host.error(many + text if len(problems) > 1 else text, trace)

    @on(messages.Certified)
    def _certified(self) -> None:
        self.list.certified()
        self.jumps.resolve()
        self._heads()

    @on(messages.Searched)
    def _searched(self) -> None:
        self.jumps.resolve()
        self._heads()

    @on(messages.Failed)
    def _failed(self, message: messages.Failed) -> None:
        self.host.error(f"{type(message.error).__name__}: {message.error}")

    @on(messages.NotReady)
    def _prepare(self) -> None:
        self.preparing.start()

    def heard(self, event: Event) -> None:
        self.preparing.heard(event)
        self.losses.heard(event)

    # --- opening ----------------------------------------------------------------------------

    @property
    def current(self) -> Facts | None:
        """The facts of the trajectory under the cursor."""
        return self.list.facts(self.list.cursor)

    @property
    def number(self) -> int:
        return self.list.number(self.list.cursor)

    @property
    def settled(self) -> bool:
        """Whether the list is that of the present filter, as far as it goes."""
        return self.listed.filtering == self._filtering

    @on(LineList.Moved, "#tra-list")
    def _moved(self) -> None:
        number = self.list.number(self.list.cursor)
        if number == self._number or self.library is None:
            if self.library is None or number < 0:
                self._number = self._shown = -1
                self._show(None)
            return
        self._number = number
        self.jumps.moved(number)
        self._after.clear()
        known = self.library.renderer.known(number) if number >= 0 else None
        self.library.opener.open(number)
        if known is not None:
            self._show(known)
        elif self._shown < 0 or number < 0:
            self._show(None)
        else:
            self.set_timer(LATE_S, self._late)
        self._heads()

    def _late(self) -> None:
        """What was looked at before stays in view for a moment, and no longer."""
        if self._shown not in (-1, self._number):
            self._show(None)

    @on(messages.Opened)
    def _opened(self, message: messages.Opened) -> None:
        if message.number == self._number and message.source is self._post:
            self._show(message.rendered)

    def _show(self, rendered: Rendered | None) -> None:
        facts = self.current
        if rendered is None:
            self.rendered, self._shown = None, -1
            why = legends.waiting(bool(self.preparing.job), self.library)
            self.view.show(None, why if facts else "")
        elif rendered is not self.rendered or self._shown != self._number:
            again = self._shown == self._number and self.rendered is not None
            self.rendered, self._shown = rendered, self._number
            marks = self.list.marks.setdefault(facts.id, set()) if facts else None
            self.view.show(rendered.doc, "", marks, keep=again)
            if self.needle and not again:
                self.view.find(self.needle)
            after, self._after = self._after, []
            for do in after:
                do()
        self._legends()

    def _then(self, do: Callable[[], object]) -> None:
        """Do it to what the cursor is on; where that is still being rendered, as soon as it is."""
        self._moved()
        if self._shown == self._number:
            do()
        else:
            self._after.append(do)

    # --- heads and feet ---------------------------------------------------------------------

    def _heads(self) -> None:
        for lines in (self.list_head, self.list_foot, self.view_head):
            lines.update()

    @on(TokenView.Looked)
    def _legends(self) -> None:
        for lines in (self.view_head, self.state, self.statistics, self.legend):
            lines.update()

    def _list_head(self, width: int) -> tuple[Parts, ...]:
        if self.library is None:
            return (((" Trajectories", "strong"),),)
        more: Parts = ()
        if self.host.narrow:  # there is no foot then
            dropped = self.library.certifier.verdicts.dropped(self.listed.total)
            dropped.pop(NOT_KEPT, None)  # what is kept stands there already
            more = (*self._wanted(), *listing.reasons(dropped))
        return (listing.head(self.listed, more, width),)

    def _wanted(self) -> Parts:
        """What is waited for, what the list is filtered by, what was searched for."""
        chosen = f"f: {self.filter}" if self.filter else ""
        return (
            (self.jumps.news(), "warn"),
            (visible(chosen), "accent"),
            (self.jumps.holds(), "accent"),
        )

    def _list_foot(self, width: int) -> tuple[Parts, ...]:
        if self.library is None:
            return ((), ())
        certifier = self.library.certifier
        dropped = certifier.verdicts.dropped(self.listed.total)
        return (
            listing.fitted(self._wanted(), width),
            listing.foot(certifier.known, self.listed.total, dropped, width),
        )

    def _view_head(self, width: int) -> tuple[Parts, ...]:
        facts = self.current
        if self._shown >= 0 and self.library is not None:
            facts = self.library.facts(self._shown)  # of what is in the view
        return legends.head(facts, self.view, self.rendered, width)

    def _state(self, width: int) -> tuple[Parts, ...]:
        return legends.state(self.view, self.rendered, self.needle, width)

    # --- landing ----------------------------------------------------------------------------

    def open(self) -> None:
        """Go from the list to the tokens."""
        self._moved()
        self.go_to(self.view)

    def go(self, position: int, kind: Kind, by: int) -> None:
        """Land on a position of the list, and there on what was looked for."""
        self.list.move_to(position)
        self._moved()
        self._then(lambda: self._arrive(kind, by))

    def _arrive(self, kind: Kind, by: int) -> None:
        if kind == "match":
            self.view.find(self.needle, last=by < 0)
        elif kind == "failed":
            self.view.set_view("certificate")
        else:
            self.view.to_blamed()

    def say(self, text: str) -> None:
        if text:
            self.host.note(text)

    def show_nothing(self) -> None:
        """There is nothing to show yet; say what is waited for."""
        self._show(None)

    def look_again(self) -> None:
        """Open what the cursor is on anew."""
        self._number = -1
        self._moved()

    def render_again(self, view: View) -> None:
        """What is known besides the tokens has changed: make the documents anew."""
        if self.library is not None:
            self.library.renderer.forget()
            self.look_again()
            self._then(lambda: self.view.set_view(view))
