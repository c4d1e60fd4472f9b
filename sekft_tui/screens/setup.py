"""The progress of making the demo workspace."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_tui.input.actions import same_key
from sekft_tui.input.footer import hints
from sekft_tui.messages import RedrawPane
from sekft_tui.model.job_text import count_text, demo_job
from sekft_tui.screens.box import CLOSE, BoxScreen
from sekft_tui.text import Parts, bar, clip, duration, fit, visible, wrapped
from sekft_tui.widgets.lines import Lines

if TYPE_CHECKING:
    from sekft_tui.model.reducer import Shared


class SetupScreen(BoxScreen[None]):
    """One line for each task; closes itself when all are done."""

    BINDINGS = [
        same_key("global.interrupt", "app.interrupt"),
        same_key("global.demo-progress", "close"),
    ]
    SCROLLS = False
    HINTS = (("box.close", "close, and look around"), ("global.interrupt", "asks: stop or leave"))
    _OVER = (CLOSE,)

    def __init__(self) -> None:
        super().__init__()
        self._tasks: tuple[tuple[events.Progress, float], ...] = ()
        self._failed = ""

    def make_foot(self) -> Lines:
        return Lines(
            lambda width: (hints(self._OVER if self._failed else self.HINTS, width),),
            id="foot", classes="foot",
        )  # fmt: skip

    def on_mount(self) -> None:
        self.query_one("#box").border_title = "making the demo workspace"
        self._put()
        self.set_interval(1.0, self._put)  # the clock of the present task
        self.post_message(RedrawPane())

    def _put(self) -> None:
        width = min(78, int(self.app.size.width * 0.96) - 6)
        lines: list[Parts] = [
            (("A small real model, sandboxed worlds and recorded sessions.", "text"),),
            (("This is done once; later starts open at once.", "quiet"),),
            (),
        ]
        over = [True] * (len(self._tasks) - 1) + [False]
        lines += [
            _task(task, width, "" if is_over else duration(max(0.0, time.time() - began)), is_over)
            for (task, began), is_over in zip(self._tasks, over, strict=False)
        ]
        if not self._tasks and not self._failed:
            lines.append((("  starting …", "quiet"),))
        if self._failed:
            lines += [
                *([()] if self._tasks else []),
                *(((line, "bad"),) for line in wrapped(self._failed, width)),
            ]
        self.put(tuple(lines))

    def draw(self, shared: Shared) -> None:
        job = demo_job(shared)
        if job is None:
            return
        self._tasks = tuple(job.tasks.values())
        if job.status in ("failed", "cancelled"):
            self._failed = job.error or "the set-up was cancelled"
            self.query_one("#foot", Lines).update()
        self._put()

    def engine_event(self, event: Event) -> None:
        match event:
            case events.JobDone(kind="setup"):
                self.dismiss(None)


def _task(task: events.Progress, width: int, clock: str, over: bool) -> Parts:
    """The line of a task; one that was followed by another is ``over``. Of one whose end nobody
    knows, ``clock`` is shown."""
    done = over or (task.total > 0 and task.done >= task.total)
    share = 1.0 if done else task.done / task.total if task.total else 0.0
    filled, empty = bar(share, 18)
    at = msgspec.structs.replace(task, done=task.total) if done and task.total else task
    count = count_text(at) or clock
    return (
        (" ✓ " if done else " ▸ ", "good" if done else "accent"),
        (fit(visible(task.label), 26), "strong"),
        (filled, "good" if done else "accent"),
        (empty, "rule"),
        (f" {count:>9} ", "text"),
        (clip(visible(task.detail), max(0, width - 58)), "quiet"),
    )
