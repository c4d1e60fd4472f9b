"""Trajectories: what there is to learn from, and which tokens of it are trained."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from sekft_engine.errors import SekftError
from sekft_engine.trajectory import Trajectory
from sekft_tui import filters
from sekft_tui.actions import Place, bindings
from sekft_tui.library import Library, Rendered
from sekft_tui.panes.pane import Pane, Part
from sekft_tui.text import Parts, clip, fit, percent, visible
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.lines import Lines
from sekft_tui.widgets.token_view import TokenView

_MASK_NAMES = {"all": "all tokens", "trained": "trained only", "masked": "masked only"}
_OUTCOMES = {"exit": "good", "panic": "note", "cap": "warn", "error": "bad"}


class TrajectoriesPane(Pane):
    """A list to the left, the tokens of the chosen trajectory to the right."""

    place: ClassVar[Place] = "trajectories"
    BINDINGS = bindings("trajectories")
    SCOPED_CSS = False
    DEFAULT_CSS = """
    TrajectoriesPane #tra-split { layout: horizontal; }
    TrajectoriesPane #tra-left { width: 44; border-right: solid $line; }
    .-narrow TrajectoriesPane #tra-split { layout: vertical; }
    .-narrow TrajectoriesPane #tra-left { width: 1fr; height: 8; border: none; }
    TrajectoriesPane #tra-right .foot { height: 1; }
    """

    def __init__(self) -> None:
        super().__init__(id="trajectories")
        self.library: Library | None = None
        self.rows: list[Trajectory] = []
        self.filter = ""
        self.needle = ""
        self._shown: str = ""
        self._rendered: Rendered | None = None
        self._marks: dict[str, set[int]] = {}
        self._loading = ""

    def compose(self) -> ComposeResult:
        self.list_head = Lines(self._list_head)
        self.list = LineList(
            self._row, chosen=self._open, empty="reading trajectories …", id="tra-list"
        )
        self.view_head = Lines(self._view_head)
        self.view = TokenView(id="tra-view")
        self.legend = Lines(self._legend, classes="foot")
        self.certificate = Lines(self._certificate, classes="foot")
        with Container(id="tra-split"):
            yield Part(self.list_head, self.list, id="tra-left")
            part = Part(self.view_head, self.view, self.certificate, self.legend, id="tra-right")
            yield part

    def on_mount(self) -> None:
        self.reload()

    def first_focus(self) -> Widget:
        return self.list

    # --- the list ---------------------------------------------------------------------------

    def reload(self) -> None:
        self._read_disk()

    @work(exclusive=True, group="load")
    async def _read_disk(self) -> None:
        """Read the workspace's trajectories on a thread."""
        library = Library(self.host.data, self.host.base, self.host.recipe.max_length)
        try:
            await asyncio.to_thread(library.load)
        except SekftError as error:
            self.host.error(str(error))
        self.library = library
        self._shown = ""
        if library.skipped:
            self.host.error(
                f"{len(library.skipped)} of the files cannot be trained on; the first: "
                f"{library.skipped[0]}",
                "\n".join(library.skipped),
            )
        self._fill()

    def _fill(self) -> None:
        if self.library is None:
            return
        terms = filters.parse(self.filter)
        under = self.current
        self.rows = [row for row in self.library.trajectories if _matches(row, terms)]
        if not self.library.trajectories:
            self.list.empty = self.host.empty_hint(f"no trajectories in {self.library.path}")
        else:
            self.list.empty = f"nothing matches {self.filter!r}\npress esc to clear the filter"
        cursor = self.rows.index(under) if under in self.rows else 0
        self.list.set_rows(len(self.rows), cursor)
        self.list_head.update()

    @property
    def current(self) -> Trajectory | None:
        return self.rows[self.list.cursor] if self.list.cursor < len(self.rows) else None

    def _list_head(self, width: int) -> tuple[Parts, ...]:
        if self.library is None:
            return (((" Trajectories", "strong"),),)
        total = len(self.library.trajectories)
        kept = sum(trajectory.keep for trajectory in self.rows)
        count = f"{len(self.rows)} of {total}" if self.filter else f"{total}"
        parts = [(f" {count}", "strong"), (f" trajectories · {kept} kept", "quiet")]
        if self.filter:
            parts.append((clip(f"  f: {self.filter}", max(0, width - 34)), "accent"))
        return (tuple(parts),)

    def _row(self, y: int, width: int) -> Parts:
        row = self.rows[y]
        marked = "•" if self._marks.get(row.id) else " "
        kind = 20 if width >= 62 else 0
        name = max(8, width - 2 - kind - 6 - 4)
        return (
            ("●" if row.keep else "○", "good" if row.keep else "quiet"),
            (marked, "accent"),
            (fit(visible(row.id), name), "text"),
            (" " + fit(visible(row.archetype or "-"), kind - 1) if kind else "", "quiet"),
            (f" {row.outcome:<5}", _OUTCOMES[row.outcome]),
            (f"{row.steps:>3} ", "quiet"),
        )

    @on(LineList.Moved, "#tra-list")
    def _moved(self) -> None:
        row = self.current
        if row is None:
            self._shown = ""
            self._show(None)
        elif row.id != self._shown:
            self._shown = row.id
            found = self.library.at_once(row) if self.library else None
            if found is not None:
                self._show(found)
            else:
                self._fetch(row)

    @work(exclusive=True, group="render")
    async def _fetch(self, row: Trajectory) -> None:
        library = self.library
        if library is None:
            return
        if self._rendered is None:
            self.view.show(None, "loading the tokenizer …")
        rendered = await asyncio.to_thread(library.render, row)
        if self._shown == row.id and self.library is library:
            self._show(rendered)

    def _show(self, rendered: Rendered | None) -> None:
        self._rendered = rendered
        row = self.current
        marks = self._marks.setdefault(row.id, set()) if row else None
        if rendered is None:
            self.view.show(None, "")
        else:
            self.view.show(rendered.doc, rendered.dropped, marks)
            self.view.find(self.needle)
        self._legends()

    # --- legends ----------------------------------------------------------------------------

    @on(TokenView.Looked)
    def _legends(self) -> None:
        for lines in (self.view_head, self.legend, self.certificate):
            lines.update()

    def _view_head(self, width: int) -> tuple[Parts, ...]:
        row = self.current
        if row is None:
            return ((),)
        count = len(self.view.doc.turns) if self.view.doc else len(row.turns)
        turns = f" turn {self.view.turn + 1}/{count} "
        facts = [
            row.archetype,
            row.provider,
            row.announcement,
            row.outcome + (" ✓" if row.verified else " ✗"),
        ]
        about = " · ".join(visible(fact) for fact in facts if fact)
        room = max(0, width - len(turns))
        name = clip(f" {visible(row.id)}", room)
        return (
            (
                (name, "strong"),
                (fit("  " + about, max(0, room - len(name))), "quiet"),
                (turns, "text"),
            ),
        )

    def _legend(self, width: int) -> tuple[Parts, ...]:
        doc = self.view.doc
        if doc is None:
            return ((),)
        total = len(doc.tokens)
        share = f" trained {doc.trained} / {total} = {percent(doc.trained, total)} "
        mode = _MASK_NAMES[self.view.mode] + (" · edges" if self.view.edges else "")
        samples: Parts = (
            ("▌", "trained"), ("trained", "trained"), ("  masked", "masked"),
            ("  <control>", "special"), (" ", ""), ("<trained>", "special-trained"),
        )  # fmt: skip
        used = len(share) + sum(len(text) for text, _ in samples)
        room = width - used
        if room < len(mode) + 5:  # narrow: the help shows the samples too
            samples, room = samples[:3], width - len(share) - 16
        right = fit(f" m: {mode} ", max(0, room), right=True)
        return (((share, "strong"), *samples, (right, "accent")),)

    def _certificate(self, width: int) -> tuple[Parts, ...]:
        rendered = self._rendered
        if rendered is None:
            return ((),)
        if rendered.dropped:
            text = clip(f" {visible(rendered.dropped)}", width - 2)
            return (((" ✗", "bad"), (text, "bad")),)
        parts: list[tuple[str, str]] = [(" certificate ", "quiet")]
        room = width - 13
        for name, ok in sorted(rendered.certificate, key=lambda line: line[1]):
            name = name.replace("_", " ")
            text = f"{'✓' if ok else '✗'} {name}  "
            if len(text) > room:
                parts.append(("…", "quiet"))
                break
            parts.append((text, "good" if ok else "bad"))
            room -= len(text)
        return (tuple(parts),)

    # --- keys -------------------------------------------------------------------------------

    def _open(self) -> None:
        self._settle()
        self.go_to(self.view)

    def _settle(self) -> None:
        """Show what the cursor is on, though its message may not have come round yet."""
        self._moved()

    def action_mask(self) -> None:
        self._settle()
        self.view.next_mode()

    def action_edges(self) -> None:
        self.view.toggle_edges()

    def action_turn(self, by: int) -> None:
        self._settle()
        self.view.step_turn(by)

    def action_trajectory(self, by: int) -> None:
        self.list.move(by)

    def action_boundary(self, by: int) -> None:
        self._settle()
        if not self.view.step_boundary(by):
            self.host.note("no further mask boundary")

    def action_mark(self) -> None:
        self._settle()
        self.view.toggle_mark()
        self.list.redraw()

    def action_marked(self, by: int) -> None:
        self._settle()
        if not self.view.step_marked(by):
            self.host.note("no further mark; space sets one")

    def action_filter(self) -> None:
        def change(text: str) -> None:
            filters.parse(text)
            self.filter = text.strip()
            self._fill()

        self.host.prompt.ask("filter", change, value=self.filter, hint=filters.HINT, changed=change)

    def action_search(self) -> None:
        def search(text: str) -> None:
            self.needle = text.strip()
            self.view.find(self.needle)
            if self.needle and not self._holds(self.current):
                self.action_match(1)

        self.host.prompt.ask("search", search, value=self.needle)

    def _holds(self, row: Trajectory | None) -> bool:
        return row is not None and self.needle.lower() in _text(row)

    def action_match(self, by: int) -> None:
        if not self.needle:
            self.action_search()
            return
        count = len(self.rows)
        for step in range(1, count + 1):
            at = (self.list.cursor + by * step) % count
            if self._holds(self.rows[at]):
                self.list.move_to(at)
                return
        self.host.note(f"{self.needle!r} is in none of these trajectories")

    def action_back(self) -> None:
        if self.needle:
            self.needle = ""
            self.view.find("")
        elif self.is_on(self.view):
            self.go_to(self.list)
        elif self.filter:
            self.filter = ""
            self._fill()

    def plain(self) -> str:
        """The token view's text; from the list, the whole trajectory's."""
        if self.is_on(self.view) or self.current is None:
            return self.view.plain()
        return "\n".join(turn.content for turn in self.current.turns)


def _matches(row: Trajectory, wanted: filters.Filter) -> bool:
    def ask(field: str) -> filters.Value:
        if field == "turns":
            return len(row.turns)
        if field == "length":
            return sum(len(turn.content) for turn in row.turns)
        found: filters.Value = getattr(row, {"channel": "announcement"}.get(field, field), None)
        return found

    return filters.matches(wanted, ask, lambda: _text(row))


def _text(row: Trajectory) -> str:
    return "\n".join((row.id, row.archetype, *(turn.content for turn in row.turns))).lower()
