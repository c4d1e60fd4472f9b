"""The progress of making the demo workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_tui.input.actions import same_key
from sekft_tui.screens.box import BoxScreen
from sekft_tui.text import Parts, bar, clip, fit, visible, wrapped

if TYPE_CHECKING:
    from sekft_tui.model.reducer import Shared


class SetupScreen(BoxScreen[bool]):
    """One line for each task; closes itself when all are done."""

    BINDINGS = [same_key("global.interrupt", "app.interrupt")]
    SCROLLS = False
    HINTS = (("box.close", "close, and look around"), ("global.interrupt", "cancel, or leave"))

    def __init__(self) -> None:
        super().__init__()
        self._tasks: dict[str, events.Progress] = {}
        self._failed = ""

    def on_mount(self) -> None:
        self.query_one("#box").border_title = "making the demo workspace"
        self._put()

    def _put(self) -> None:
        width = min(78, int(self.app.size.width * 0.96) - 6)
        lines: list[Parts] = [
            (("A small real model, sandboxed worlds and recorded sessions.", "text"),),
            (("This is done once; later starts open at once.", "quiet"),),
            (),
        ]
        latest = next(reversed(self._tasks), "")
        lines += [_task(task, width, task.label != latest) for task in self._tasks.values()]
        if not self._tasks and not self._failed:
            lines.append((("  starting …", "quiet"),))
        if self._failed:
            lines += [(), *(((line, "bad"),) for line in wrapped(self._failed, width))]
        self.put(tuple(lines))

    def draw(self, shared: Shared) -> None:
        job = next((job for job in shared.jobs.values() if job.kind == "setup"), None)
        if job is None:
            return
        if job.progress is not None:
            self._tasks[job.progress.label] = job.progress
        if job.status in ("failed", "cancelled"):
            self._failed = job.error or "the set-up was cancelled"
        self._put()

    def engine_event(self, event: Event) -> None:
        match event:
            case events.JobDone(kind="setup"):
                self.dismiss(True)

    def action_close(self) -> None:
        self.dismiss(False)


def _task(task: events.Progress, width: int, over: bool) -> Parts:
    """The line of a task; one that was followed by another is ``over``."""
    done = over or (task.total > 0 and task.done >= task.total)
    share = 1.0 if done else task.done / task.total if task.total else 0.0
    filled, empty = bar(share, 18)
    steps = task.total if done else task.done
    count = f"{steps}/{task.total}" if task.total else (str(task.done) if task.done else "")
    return (
        (" ✓ " if done else " ▸ ", "good" if done else "accent"),
        (fit(visible(task.label), 26), "strong"),
        (filled, "good" if done else "accent"),
        (empty, "rule"),
        (f" {count:>9} ", "text"),
        (clip(visible(task.detail), max(0, width - 58)), "quiet"),
    )
