"""What a job shows on stderr when it is run by hand: one line that moves, or plain lines."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
from typing import Any, TextIO

from sekft_engine.cli.show.library_output import library_output
from sekft_engine.core import terminal
from sekft_engine.core.text import count, visible
from sekft_engine.records import events
from sekft_engine.records.events import Event


class Display:
    """Shows events: a bar on a terminal, else a line per rare event; nothing with ``quiet``."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._bar: Any = None
        self._task: Any = None
        self._stream: TextIO = sys.stderr
        self._context = contextlib.ExitStack()

    @property
    def verbose(self) -> bool:
        return self._verbose

    def __enter__(self) -> Display:
        self._stream = sys.stderr
        if not self._quiet and places_text(self._stream):
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[detail]}", markup=False),
                console=Console(file=self._stream),
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bar.start()
            self._context.callback(self._bar.stop)
        self._context.enter_context(library_output(None if self._quiet else self.line))
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def show(self, event: Event) -> None:
        if self._quiet:
            return
        text = _line(event)
        if text:
            self.line(text)
        if isinstance(event, events.Progress):
            self.progress(event.label, event.done, event.total, event.detail)
        elif isinstance(event, events.RowsReady):
            self.progress("training", 0, event.steps)
        elif isinstance(event, events.StepDone):
            detail = (
                f"loss {event.loss:.4f}  {event.tokens_per_s:.0f} tok/s  {_clock(event.eta_s)} left"
            )
            self.progress("training", event.step, event.steps, detail)
            if self._verbose or (self._bar is None and _worth_a_line(event)):
                self.line(
                    f"step {event.step}/{event.steps}  {detail}  lr {event.lr:.2e}  "
                    f"grad {event.grad_norm:.3f}"
                )

    def line(self, text: str) -> None:
        """One line; what a world or a file put into it cannot act on the terminal."""
        text = visible(text)
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            self._stream.write(text + "\n")
            self._stream.flush()

    def progress(self, label: str, done: int, total: int, detail: str = "") -> None:
        if self._bar is None:
            return
        label, detail = visible(label), visible(detail)
        fields = {"completed": done, "total": total or None, "detail": detail}
        if self._task is None:
            self._task = self._bar.add_task(label, **fields)
        else:
            self._bar.update(self._task, description=label, **fields)

    def report(self, label: str, done: int, total: int) -> None:
        """:meth:`progress` as conversion and download call it."""
        self.progress(label, done, total)


def places_text(stream: TextIO) -> bool:
    """Whether a line that is shown on ``stream`` can be drawn over: it is a terminal, and not one
    that only prints, as those of editors and of CI do."""
    return stream.isatty() and terminal.places_text(os.environ)


def _worth_a_line(event: events.StepDone) -> bool:
    return event.step in (1, event.steps) or event.step % 10 == 0


def _clock(seconds: float) -> str:
    return str(dt.timedelta(seconds=round(seconds)))


def _line(event: Event) -> str:
    """The line of a rare event; '' for the others."""
    match event:
        case events.RowsReady():
            dropped = ", ".join(f"{number} {reason}" for reason, number in event.dropped.items())
            share = event.trained_tokens / max(1, event.tokens)
            return (
                f"{count(event.kept, 'trajectory', 'trajectories')} ({event.heldout:,} held out), "
                f"{count(event.tokens, 'token')}, "
                f"loss on {share:.0%} of them, {count(event.steps, 'step')}"
                + (f"; dropped: {dropped}" if dropped else "")
            )
        case events.BaseLoaded():
            threads = f" with {event.threads} threads" if event.threads else ""
            return (
                f"base {event.base}: {event.parameters / 1e6:.0f} M weights, {event.dtype} on "
                f"{event.device}{threads}, {event.memory / 2**20:.0f} MiB, {event.seconds:.1f} s"
            )
        case events.HeldoutDone():
            return f"step {event.step}: held-out loss {event.loss:.4f} over {event.tokens} tokens"
        case events.RatesMeasured():
            return (
                f"step {event.step}: of {event.n} episodes {event.operates} operate, "
                f"{event.terminates} end, {event.verified} are verified, "
                f"{event.clean_termination} end cleanly"
            )
        case events.Log():
            return f"{event.level}: {event.text}"
    return ""
