"""``Q``: the job queue: reorder jobs, hold them, remove them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical

from sekft_engine.records.events import Queued
from sekft_tui.input.actions import bindings, key_for, same_key
from sekft_tui.messages import RedrawPane
from sekft_tui.model.endings import never_begun
from sekft_tui.model.job_text import engine_text, job_state, queued_text
from sekft_tui.process.bridge import loaded_by
from sekft_tui.screens.box import CLOSE, BoxScreen, plain_title
from sekft_tui.text import Parts, clip, fit, visible
from sekft_tui.widgets.line_list import LineList

if TYPE_CHECKING:
    from sekft_engine.records.runs import RunInfo
    from sekft_tui.model.reducer import Shared
    from sekft_tui.process.bridge import Bridge

_EMPTY = (
    "no job is running or waiting\n"
    "{train} in Train or {eval} in Eval starts one; further ones wait here"
)
_ELSEWHERE = "no job of this workbench is running or waiting\n{run} is running in another process"


class QueueScreen(BoxScreen[None]):
    """The running job first, then the waiting ones in their order.

    Args:
        bridge: the way to the engine.
        elsewhere: tells which run another process writes.
    """

    DEFAULT_CSS = """
    QueueScreen #queue { max-height: 100%; background: $surface; }
    """
    PLACE = "queue"
    BINDINGS = [
        *bindings("queue"),
        same_key("global.queue", "close"),
    ]
    HINTS = (
        ("queue.move-back queue.move", "move up, down"),
        ("queue.hold", "hold, release"),
        ("queue.cancel", "remove"),
        CLOSE,
    )

    def __init__(self, bridge: Bridge, elsewhere: Callable[[], RunInfo | None]) -> None:
        super().__init__()
        self._bridge = bridge
        self._elsewhere = elsewhere
        self._rows: list[tuple[Queued, str]] = []
        self._active = ""

    def compose(self) -> ComposeResult:
        self.list = LineList(self._row, empty=self._empty(), id="queue")
        self.box = Vertical(self.list, self.make_foot(), id="box")
        self.box.border_title = "queue"
        yield self.box

    def _empty(self) -> str:
        """What is said where the queue is empty."""
        run, remote = self._elsewhere(), self._bridge.remote
        if remote is not None and remote.state == "ended":
            said = [
                f"the engine has ended: {visible(remote.why)}",
                *never_begun(remote.never_begun),
            ]
            return "\n".join(said)
        if run is not None:
            return _ELSEWHERE.format(run=visible(run.id))
        return _EMPTY.format(train=key_for("train.start"), eval=key_for("eval.start"))

    def on_mount(self) -> None:
        self._fit()
        self.set_focus(self.list)
        self.post_message(RedrawPane())

    def draw(self, shared: Shared) -> None:
        """Show the queue; the cursor stays on its job."""
        under = self._under
        queue = shared.queue
        running = queue.running if queue is not None else None
        waiting = queue.waiting if queue is not None else []
        self._active = running.id if running is not None else ""
        self._rows = [(job, "held" if job.held else "queued") for job in waiting]
        if running is not None:
            job = shared.jobs.get(running.id)
            status = job.status if job is not None else "running"
            self._rows.insert(0, (running, status))
            self.box.border_subtitle = plain_title(engine_text(shared)[0])
        else:
            self.box.border_subtitle = ""
        self.list.empty = self._empty()
        ids = [queued.id for queued, _ in self._rows]
        at = ids.index(under.id) if under is not None and under.id in ids else self.list.cursor
        self.list.set_rows(len(self._rows), at)
        self._fit()

    def _fit(self) -> None:
        room = max(3, self.app.size.height - 8)
        self.list.styles.height = max(3, min(len(self._rows) or self.list.lines_of_empty, room))

    @property
    def _under(self) -> Queued | None:
        at = self.list.cursor
        return self._rows[at][0] if at < len(self._rows) else None

    def _row(self, y: int, width: int) -> Parts:
        job, status = self._rows[y]
        text, style = job_state(status)
        label = queued_text(job, loaded_by(self._bridge.engine), active=job.id == self._active)
        again = "resumes  " if job.resumes else ""
        return (
            (fit(f" {text}", 14), style),
            (fit(visible(job.kind), 10), "strong"),
            (again, "warn"),
            (clip(label, max(0, width - 25 - len(again))), "text"),
        )

    # --- keys -------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        job = self._under
        if job is None or job.id == self._active:
            return
        self._bridge.engine.move(job.id, by)

    def action_hold(self) -> None:
        """Hold or release a waiting job; pause the running one at its next step, or resume it."""
        job = self._under
        if job is not None and self._bridge.toggle_pause(job.id) is None:
            self.notify("nothing to hold: the job has ended")

    def action_cancel(self) -> None:
        """Remove a waiting job; the running one ends its step and saves."""
        job = self._under
        if job is not None:
            self._bridge.engine.cancel(job.id, after_step=True)
