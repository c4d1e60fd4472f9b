"""``Q``: what runs and what waits; put it in order, hold it, take it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical

from sekft_engine.events import Queued
from sekft_tui.panes.state_text import engine_text, job_state
from sekft_tui.screens.box import BoxScreen
from sekft_tui.text import Parts, clip, fit, short_path, visible
from sekft_tui.widgets.line_list import LineList
from sekft_tui.widgets.lines import Lines

if TYPE_CHECKING:
    from sekft_tui.app import Workbench
    from sekft_tui.bridge import Bridge
    from sekft_tui.reducer import Shared

_EMPTY = "nothing runs and nothing waits\ns in Train or Eval starts a run; more of them wait here"


class QueueScreen(BoxScreen[None]):
    """The running job first, then those that wait in their order."""

    DEFAULT_CSS = """
    QueueScreen #queue { max-height: 100%; background: $surface; }
    """
    BINDINGS = [
        Binding("escape,q,Q", "dismiss", show=False),
        Binding("K,shift+up", "move(-1)", show=False),
        Binding("J,shift+down", "move(1)", show=False),
        Binding("p,space", "hold", show=False),
        Binding("x", "cancel", show=False),
    ]
    KEYS_TEXT = (
        ("K J", "key"),
        (" sooner, later   ", "quiet"),
        ("p", "key"),
        (" hold, release   ", "quiet"),
        ("x", "key"),
        (" take out   ", "quiet"),
        ("esc", "key"),
        (" close", "quiet"),
    )

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge
        self._rows: list[tuple[Queued, str]] = []
        self._active = ""

    def compose(self) -> ComposeResult:
        self.list = LineList(self._row, empty=_EMPTY, id="queue")
        self.foot = Lines(lambda _: (self.KEYS_TEXT,), classes="foot")
        box = Vertical(self.list, self.foot, id="box")
        box.border_title = "queue"
        yield box

    def on_mount(self) -> None:
        self._fit()
        self.set_focus(self.list)
        cast("Workbench", self.app).redraw_pane()

    def draw(self, shared: Shared) -> None:
        """Show what the engine last told; the cursor stays on its job."""
        under = self._under
        queue = shared.queue
        running = queue.running if queue is not None else None
        waiting = queue.waiting if queue is not None else []
        self._active = running.id if running is not None else ""
        self._rows = [(one, "held" if one.held else "queued") for one in waiting]
        if running is not None:
            job = shared.jobs.get(running.id)
            status = job.status if job is not None else "running"
            self._rows.insert(0, (running, status))
            self.query_one("#box").border_subtitle = engine_text(shared)[0]
        else:
            self.query_one("#box").border_subtitle = ""
        ids = [one.id for one, _ in self._rows]
        at = ids.index(under.id) if under is not None and under.id in ids else self.list.cursor
        self.list.set_rows(len(self._rows), at)
        self._fit()

    def _fit(self) -> None:
        room = max(3, self.app.size.height - 8)
        self.list.styles.height = max(3, min(len(self._rows), room))

    @property
    def _under(self) -> Queued | None:
        at = self.list.cursor
        return self._rows[at][0] if at < len(self._rows) else None

    def _row(self, y: int, width: int) -> Parts:
        one, status = self._rows[y]
        text, style = job_state(status)
        label = short_path(one.label) if one.label.startswith("/") else visible(one.label)
        again = "goes on  " if one.spec.get("resume") and status == "held" else ""
        return (
            (fit(f" {text}", 14), style),
            (fit(visible(one.kind), 10), "strong"),
            (again, "warn"),
            (clip(label, max(0, width - 25 - len(again))), "text"),
        )

    # --- keys -------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        one = self._under
        if one is None or one.id == self._active:
            return
        self._bridge.engine.move(one.id, by)

    def action_hold(self) -> None:
        """A running job pauses at its next step; asked again it goes on, paused by then or not."""
        one = self._under
        if one is not None:
            self._bridge.toggle_pause(one.id)

    def action_cancel(self) -> None:
        """A running job ends its step and saves; a waiting one is forgotten."""
        one = self._under
        if one is not None:
            self._bridge.engine.cancel(one.id, after_step=True)
