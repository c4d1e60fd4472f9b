"""The list of runs: how it is read, drawn, filtered and sorted, and what of it goes out."""

from __future__ import annotations

import asyncio
import datetime as dt
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from sekft_engine.core.errors import SekftError
from sekft_engine.core.text import count
from sekft_engine.data import filters
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_tui.host import Host
from sekft_tui.input.actions import bindings, key_for
from sekft_tui.input.footer import FooterState, Item
from sekft_tui.input.places import Place
from sekft_tui.panes.following import FollowingPane
from sekft_tui.panes.pane import Part
from sekft_tui.panes.runs.facts import facts
from sekft_tui.panes.runs.rows import HINT, ORDERS, PREPARING, RUN, Row, Rows, loss_of, text_of
from sekft_tui.panes.runs.shelf import RunShelf
from sekft_tui.panes.searching import SearchedPane
from sekft_tui.panes.sorting import SortedPane
from sekft_tui.process.exporting import Writer, as_csv, as_json
from sekft_tui.screens.box import Sheet
from sekft_tui.text import Parts, clip, clip_facts, clip_left, fit, short_path, visible
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.lines import Lines

if TYPE_CHECKING:
    from sekft_engine.records.runs import RunInfo

_STATUS = {
    PREPARING: ("▸", "accent"),
    "running": ("▸", "accent"),
    "done": ("✓", "good"),
    "failed": ("✗", "bad"),
    "stopped": ("■", "warn"),
    "died": ("†", "bad"),
}


class RunList(SearchedPane, SortedPane, FollowingPane):
    """A table above, the facts of the run under the cursor below."""

    place: ClassVar[Place] = "runs"
    ORDERS = ORDERS
    UNSORTED = "newest first"
    READS = "runs"
    BINDINGS = bindings("runs")
    SCOPED_CSS = False
    DEFAULT_CSS = """
    RunList #runs-top { height: 3fr; }
    RunList #runs-below { height: 2fr; }
    RunList.-no-side #runs-below { display: none; }
    """

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.shelf = RunShelf()
        self.rows = Rows(self.order)
        self.marked: list[str] = []
        self._wanted = self.before.get("run", "")

    def compose(self) -> ComposeResult:
        self.status = Lines(self._status, id="runs-status")
        self.head = Lines(self._head)
        self.list = LineList(
            self._row, chosen=self.action_open, empty="reading runs …", id="runs-list"
        )
        self.facts_head = Lines(self._facts_head)
        self.facts = Sheet()
        with Container():
            yield Part(self.status, self.head, self.list, id="runs-top")
            yield Part(self.facts_head, self.facts, id="runs-below")

    @abstractmethod
    def action_open(self) -> None:
        """What choosing a run does."""

    def on_mount(self) -> None:
        self.reload()

    def first_focus(self) -> Widget:
        return self.list

    def shown(self) -> None:
        self._read_disk()

    def reload(self) -> None:
        self.shelf = RunShelf()
        self._read_disk()

    def follow_disk(self) -> None:
        self._read_disk(follows=True)

    @work(exclusive=True, group=READS)
    async def _read_disk(self, under: str = "", *, follows: bool = False) -> None:
        """Read what has changed.

        Args:
            under: the id of the run to go to; "" = the cursor stays on its run.
            follows: nobody asked for it, so that only what has changed is drawn again.
        """
        rows = await asyncio.to_thread(self.shelf.read, self.host.workspace.runs)
        row, before = self.row, [row.id for row in self.rows.shown]
        if not self.rows.put(rows, self._resumed()) and follows:
            return
        ids = {row.id for row in self.rows.all}
        self.marked = [name for name in self.marked if name in ids]
        if not follows or before != [row.id for row in self.rows.shown]:
            self._fill(under or (row.id if row else self._wanted))
            return
        self.list.redraw()
        self._heads()
        if row != self.row:
            self._show_facts()

    def _resumed(self) -> str:
        """The folder of the run that the engine's job resumes; "" = none."""
        with self.host.bridge.shared() as shared:
            running = shared.queue.running if shared.queue is not None else None
            return str(running.spec.get("out") or "") if running is not None else ""

    def _fill(self, under: str = "") -> None:
        """Show the rows again, with the cursor on the run ``under``; where that is not among them,
        it stays in its row."""
        if self.rows.all and not self.rows.shown:
            clears = f"{key_for('runs.back')} clears the filter"
            self.list.empty = f"nothing matches {self.rows.filter!r}\n{clears}"
        else:
            train, evals = key_for("global.pane-train"), key_for("global.pane-eval")
            starts = ", ".join(
                f"{pane} then {start} starts {what}"
                for pane, start, what in (
                    (train, key_for("train.start"), "a training"),
                    (evals, key_for("eval.start"), "an eval"),
                )
            )
            self.list.empty = f"no runs yet\n{starts}"
        self.list.set_rows(len(self.rows.shown), self.rows.position(under) if under else 0)
        self._heads()

    def _heads(self) -> None:
        for lines in (self.status, self.head, self.facts_head):
            lines.update()

    def engine_event(self, event: Event) -> None:
        if isinstance(event, (*events.ENDINGS, events.JobStarted, events.RunCreated)):
            self._read_disk()

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        shown = self.rows.shown
        return shown[self.list.cursor] if self.list.cursor < len(shown) else None

    @property
    def current(self) -> RunInfo | None:
        """The run under the cursor; None also where the folder cannot be read."""
        return self.row.run if self.row is not None else None

    # --- drawing ----------------------------------------------------------------------------

    def _status(self, width: int) -> tuple[Parts, ...]:
        """How many there are, and how they are chosen and sorted."""
        rows = self.rows
        of = f"{len(rows.shown)} of " if rows.filter else ""
        total = count(len(rows.all if rows.filter else rows.shown), "run")
        broken = rows.unreadable
        unread = f"  {count(broken, 'folder')} cannot be read" if broken else ""
        marked = ""
        if self.marked:
            another = "mark another, " if len(self.marked) == 1 else ""
            compares = f"{key_for('runs.compare')} compares"
            marked = f"  {len(self.marked)} marked: {another}{compares}"
        how = f"  f: {visible(rows.filter)}" if rows.filter else ""
        order = f"  {self.order_text}" if self.order_text else ""
        parts = [
            (f" {of}{total}", "strong"), (order, "accent"), (how, "accent"),
            (marked, "accent"), (unread, "warn"),
        ]  # fmt: skip
        out, room = [], width
        for text, style in parts:
            out.append((clip(text, max(0, room)), style))
            room -= len(text)
        return (tuple(out),)

    def _head(self, width: int) -> tuple[Parts, ...]:
        name = _name_width(width)
        when = fit("when", _when_width(width))
        titles = fit("   run", name + 3) + when + fit("status", 10) + "result, tags"
        return (((clip(titles, width), "quiet"),),)

    def _row(self, y: int, width: int) -> Parts:
        row = self.rows.shown[y]
        name, when = _name_width(width), _when_width(width)
        mark = ("+" if row.id in self.marked else " ", "accent")
        indent = "  " * min(row.depth, 4) + ("└ " if row.depth else "")
        title = fit(indent + visible(row.listed), name - 1) + " "
        if row.run is None:
            why = clip_facts(visible(row.why), max(0, width - name - when - 14))
            return (("?", "warn"), ("  ", ""), (title, "quiet"), (fit("", when), ""),
                    (fit("unreadable", 11), "warn"), (why, "warn"))  # fmt: skip
        run = row.run
        glyph, style = _STATUS.get(run.status, ("·", "quiet"))
        letter = self.host.pinned.letter(run.id)
        room = max(0, width - name - when - 13)
        result = clip_facts(row.short_result, room)
        tags = _tags(row.notes.tags, room - cell_len(result) - 2)
        if tags == "…" and result != row.short_result:
            tags = ""  # the result ends with one
        return (
            (glyph, style),
            (letter or " ", "accent"),
            mark,
            (title, "text" if row.depth else "strong"),
            (fit(_when(run.created)[: when - 1], when), "quiet"),
            (fit(visible(run.status), 10), style),
            (result, "text"),
            (f"  {tags}" if tags else "", "note"),
        )

    @on(LineList.Moved, "#runs-list")
    def _moved(self) -> None:
        self._show_facts()

    def on_resize(self) -> None:
        self._show_facts()

    def _show_facts(self) -> None:
        row = self.row
        width = self.facts.content_width
        self.facts.show(tuple(facts(row, width)) if row else ())
        self.facts_head.update()

    def _facts_head(self, width: int) -> tuple[Parts, ...]:
        row = self.row
        if row is None:
            return ((),)
        name = clip(f" {visible(row.title)}", width)
        room = width - cell_len(name) - 2
        path = clip_left(short_path(str(row.folder)), room) if room > 7 else ""
        return (((name, "strong"), ("  ", ""), (path, "quiet")),)

    def searched(self) -> LineList:
        return self.list

    def row_text(self, y: int) -> str:
        return text_of(self.rows.shown[y])

    def footer(self) -> FooterState:
        run = self.current
        labels = self.match_labels()
        if run is None:
            labels |= dict.fromkeys(("evaluate", "episodes", "resume", "pin"), "")
            if not self.rows.all:
                labels |= dict.fromkeys(("side", "search", "filter"), "")
            return FooterState(labels)
        if not run.adapter:
            labels["evaluate"] = ""
        if run.kind == "train":
            labels["episodes"] = ""
            if self.host.pinned.letter(run.id):
                labels["pin"] = "unpin"
        else:
            labels["pin"] = ""
        if run.status in ("done", "running", PREPARING):
            labels["resume"] = ""
        return FooterState(labels, first=(Item(key_for("motion.choose"), "open"),))

    def kept(self) -> dict[str, str]:
        run = self.row.id if self.row is not None else self._wanted
        return super().kept() | {"run": run}

    # --- keys: the list ---------------------------------------------------------------------

    def action_filter(self) -> None:
        before, under = self.rows.filter, self.row.id if self.row else ""

        def change(text: str) -> None:
            self.rows.filter, old = text.strip(), self.rows.filter
            try:
                self.rows.arrange()
            except SekftError:
                self.rows.filter = old
                raise
            self._fill(self.row.id if self.row else "")

        def accept(text: str) -> None:
            filters.parse(text, RUN)  # a field without a value is a mistake now
            change(text)

        self.host.prompt.ask(
            "filter", accept, value=before, hint=HINT, changed=change,
            cancelled=lambda: self._fill(under),
        )  # fmt: skip

    def sort(self) -> None:
        under = self.row.id if self.row else ""
        self.rows.sort(self.order)
        self._fill(under)

    def action_back(self) -> None:
        """Clear the marks, else the filter."""
        if self.marked:
            self.marked = []
            self.list.redraw()
            self._heads()
        elif self.rows.filter:
            self.rows.filter = ""
            self.rows.arrange()
            self._fill(self.row.id if self.row else "")

    # --- what goes out ----------------------------------------------------------------------

    def folder(self) -> Path | None:
        """The folder of the run under the cursor, also where it cannot be read."""
        return self.row.folder if self.row is not None else None

    def file(self) -> Path | None:
        """The notes on the run under the cursor are changed here; its manifest is for reading."""
        row = self.row
        return None if row is None else row.folder / "run.json"

    def exports(self) -> dict[str, Writer]:
        rows = [row for row in self.rows.shown if row.run is not None]
        columns: dict[str, list[object]] = {
            "run": [row.id for row in rows],
            "title": [row.notes.title for row in rows],
            "kind": [row.run.kind for row in rows if row.run],
            "status": [row.run.status for row in rows if row.run],
            "created": [row.run.created for row in rows if row.run],
            "loss": [loss_of(row.run) for row in rows],
            "result": [row.result for row in rows],
            "tags": [" ".join(row.notes.tags) for row in rows],
            "note": [row.notes.note for row in rows],
        }
        return {".csv": lambda: as_csv(columns), ".json": lambda: as_json(columns)}

    def copied(self) -> tuple[str, str]:
        """With the cursor in the list, the path of the run's folder."""
        row = self.row
        if row is not None and self.is_on(self.list):
            return f"folder of {visible(row.id)}", str(row.folder)
        return super().copied()


def _name_width(width: int) -> int:
    return 14 if width < 70 else 22 if width < 100 else 34


def _tags(tags: Sequence[str], room: int) -> str:
    """As many whole tags as there is room for."""
    shown = [f"#{visible(tag)}" for tag in tags]
    if shown and cell_len(shown[0]) + 2 * (len(shown) > 1) > room:
        return "…" if room > 0 else ""
    return clip_facts(" ".join(shown), room, " ")


def _when_width(width: int) -> int:
    """Room for day and time; in a narrow terminal for the day, so that the result has more."""
    return 7 if width < 70 else 13


def _when(created: str) -> str:
    """Local time, short."""
    try:
        return dt.datetime.fromisoformat(created).astimezone().strftime("%d %b %H:%M")
    except (ValueError, OverflowError):
        return visible(created[:12])
