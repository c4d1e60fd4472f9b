"""The Trajectories pane: its keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import on

from sekft_engine.data import filters
from sekft_tui.input.actions import bindings, key_for, of
from sekft_tui.input.footer import FooterState, Item
from sekft_tui.input.places import Place
from sekft_tui.panes.trajectories import export
from sekft_tui.panes.trajectories.browser import Browser
from sekft_tui.panes.trajectories.jumps import Kind
from sekft_tui.panes.trajectories.losses import Measured, Runs
from sekft_tui.text import visible


class TrajectoriesPane(Browser):
    """One short method for each key; slow work is done by the library, on threads."""

    place: ClassVar[Place] = "trajectories"
    BINDINGS = bindings("trajectories")

    def seek(self, name: str) -> None:
        """Open the trajectory with the id ``name``, as soon as it is in the list."""
        number = self.library.index.find(name) if self.library is not None else None
        position = self.listed.position(number) if number is not None else -1
        if position >= 0:
            self.list.move_to(position)
            self.open()
        elif self.library is None or not self.listed.done:
            self.list.move_to(0)
            self.cursor.awaited = name
            self.go_to(self.view)
        else:
            clear = key_for("trajectories.back")
            why = f"{clear} clears the filter" if self.filter else "another data set was trained on"
            self.host.note(f"{visible(name)} is not in this list; {why}")

    def action_view(self, by: int) -> None:
        self._when_shown(lambda: self.view.next_view(by))

    def action_mask(self) -> None:
        self._when_shown(self.view.next_mode)

    def action_turn(self, by: int) -> None:
        self._when_shown(lambda: self.view.step_turn(by))

    def action_token(self, by: int) -> None:
        self._when_shown(lambda: self.view.step_token(by))

    def action_trajectory(self, by: int) -> None:
        self.list.move(by)

    def action_boundary(self, by: int) -> None:
        self._step(self.view.step_boundary, by, "no further mask boundary")

    def action_trained(self, by: int) -> None:
        self._step(self.view.step_trained, by, "no further trained span")

    def _step(self, step: Callable[[int], bool], by: int, otherwise: str) -> None:
        def do() -> None:
            if not step(by):
                self.host.note(otherwise)

        self._when_shown(do)

    def action_mark(self) -> None:
        def mark() -> None:
            self.view.toggle_mark()
            self.list.redraw()

        self._when_shown(mark)

    def action_marked(self, by: int) -> None:
        self._step(
            self.view.step_marked, by, f"no further mark; {key_for('trajectories.mark')} sets one"
        )

    def action_dropped(self, by: int) -> None:
        self._jump("dropped", by)

    def action_failed(self, by: int) -> None:
        self._jump("failed", by)

    def _jump(self, kind: Kind, by: int) -> None:
        if self.library is not None and not self.library.renderer.base:
            self.host.note("no base in this workspace, so nothing can be certified")
            return
        self.jumps.start(kind, by)
        self._update_heads()

    def action_filter(self) -> None:
        current, filtering = self.current, self._filtering
        under = self.cursor.awaited or (current.id if current else "")

        def cancel() -> None:
            if self._filtering != filtering:
                self.cursor.awaited = under

        self.host.prompt.ask(
            "filter", self.set_filter, value=str(self.filter), hint=filters.HINT,
            changed=lambda text: self.set_filter(text, typing=True), cancelled=cancel,
        )  # fmt: skip

    def set_filter(self, text: str, *, typing: bool = False) -> None:
        """List only what matches ``text``. Raises BadFilter, and leaves the list as it is."""
        wanted = filters.parse(text, typing=typing)
        if wanted == self.filter:
            return
        self.filter = wanted
        self.jumps.cancel()
        self.cursor.stay()
        if self.library is not None:
            self.library.certifier.release()
            self._filtering = self.library.reader.filter(wanted)
        self._update_heads()

    def action_search(self) -> None:
        again = f"⏎ {visible(self.sought)!r} again  " if self.sought else ""
        self.host.prompt.ask("search", self.search, hint=f"{again}n next  N previous")

    def search(self, text: str) -> None:
        """Find ``text`` from the cursor on, first in the open trajectory, then in the others; an
        empty one repeats the last search."""
        if not text and self.needle:
            self.action_match(1)
            return
        self.needle = self.sought = text or self.sought
        self.jumps.cancel()
        if self.library is not None:
            self.library.search(self.needle)

        def find() -> None:
            if not self.view.find(self.needle) and self.needle:
                self.jumps.start("match", 1)
                self._update_heads()

        self._when_shown(find)
        self._update_heads()

    def action_match(self, by: int) -> None:
        if not self.needle:
            self.action_search()
            return

        def step() -> None:
            if not self.view.find_next(by):
                self.jumps.start("match", by)
                self._update_heads()

        self._when_shown(step)

    def action_back(self) -> None:
        """Undo one thing: the waiting jump, else the search, the open trajectory, the filter."""
        if self.jumps.cancel():
            self.host.note("stopped")
        elif self.needle:
            self.needle = ""
            self.view.find("")
            if self.library is not None:
                self.library.search("")
        elif self.is_on(self.view):
            self.remove_class("-no-side")
            self.go_to(self.list)
        elif self.filter:
            self.set_filter("")
        self._update_heads()

    def action_statistics(self) -> None:
        from sekft_tui.screens.statistics import StatisticsScreen

        if self.library is not None:
            self.library.certifier.request()
            self.host.push_screen(StatisticsScreen(self.library))

    def footer(self) -> FooterState:
        if self.library is None:
            return FooterState(dict.fromkeys((key.action for key in of(self.place)), ""))
        on_list = self.is_on(self.list)
        return FooterState(first=(Item(key_for("motion.choose"), "tokens"),) if on_list else ())

    def action_side(self) -> None:
        """Show or hide the list."""
        hidden = not self.has_class("-no-side")
        if hidden and not self.list.rows:
            self.host.note("there is nothing to show beside the list")
            return
        if hidden and self.is_on(self.list):
            self.go_to(self.view)
        self.set_class(hidden, "-no-side")

    def action_losses(self) -> None:
        self.losses.choose()

    def action_measure(self) -> None:
        self.losses.measure()

    @on(Runs)
    def _runs(self, message: Runs) -> None:
        self.losses.offer(message)

    @on(Measured)
    def _measured(self, message: Measured) -> None:
        self.losses.take(message)

    def ask_export(self) -> bool:
        export.ask(self)
        return True

    def file(self) -> Path | None:
        """The file of the trajectory under the cursor, where it has one of its own."""
        number = self.number
        if self.library is None or number < 0:
            return None
        return self.library.index.path_of(number)

    def copied(self) -> tuple[str, str]:
        """The span or turn under the cursor; if the list has the focus, the whole trajectory."""
        facts = self.current
        if self.is_on(self.view) and self.view.doc is not None:
            return self.view.span_text().what, self.view.plain()
        return (visible(facts.id) if facts else "", self.view.whole())

    def whole(self) -> str:
        return self.view.whole()
