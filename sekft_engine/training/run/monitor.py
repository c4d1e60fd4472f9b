"""What a run reports between its steps: each step, its batch, the machine, the speed bound."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import events
from sekft_engine.training.run.gauges import Gauges
from sekft_engine.training.run.health import Sign
from sekft_engine.training.run.roofline import measure_bound
from sekft_engine.training.trainer.data import TrainRow
from sekft_engine.training.trainer.step import Step, mean_rate
from sekft_engine.training.trainer.trainer import Trainer
from sekft_engine.work.context import Context

#: Seconds between events about batches whose trajectories were all reported before, at least: a
#: fast machine has more batches than a screen can show.
BATCH_EVERY_S = 0.5
#: How often a measurement says how far it is.
TELL_EVERY_S = 1.0


class Watch:
    """Emits monitoring events of a run, between its steps and on their thread."""

    def __init__(self, context: Context, base: ResidentBase) -> None:
        self._context = context
        self._gauges = Gauges(base.device)
        self._emitted_at = 0.0
        self._emitted: set[str] = set()
        #: The last steps: their speed says how long the rest will take.
        self._recent: deque[Step] = deque(maxlen=10)
        context.emit(measure_bound(base))

    def begins(self, step: int, rows: Sequence[TrainRow]) -> None:
        """Report that ``step`` is about to train on ``rows``."""
        ids = {row.id for row in rows}
        if not ids <= self._emitted or time.monotonic() - self._emitted_at >= BATCH_EVERY_S:
            self._emitted |= ids
            self._emitted_at = time.monotonic()
            batch = [
                events.BatchRow(id=row.id, tokens=len(row), edges=trained_edges(row))
                for row in rows
            ]
            self._context.emit(events.StepBegan(job="", step=step, batch=batch))

    def done(self, step: Step, trainer: Trainer) -> None:
        """Report the step that ``trainer`` has done."""
        self._recent.append(step)
        plan, train = trainer.plan, trainer.data.train
        rate = mean_rate(self._recent)
        remaining = trainer.remaining_tokens(step.step)
        rows = sum(len(batch) for batch in plan[: step.step])
        self._context.emit(
            events.StepDone(
                job="",
                step=step.step,
                steps=len(plan),
                epoch=rows / len(train),
                loss=step.loss,
                lr=step.lr,
                grad_norm=step.grad_norm,
                trained_tokens=step.trained_tokens,
                tokens=step.tokens,
                tokens_per_s=step.tokens / step.seconds if step.seconds > 0 else 0.0,
                seconds=step.seconds,
                eta_s=remaining / rate if rate else 0.0,
                rows=[train[row].id for row in plan[step.step - 1]],
            )
        )

    def sign(self, step: int, sign: Sign) -> None:
        """Report a warning sign in ``step``."""
        self._context.emit(
            events.SignSeen(job="", step=step, sign=sign.kind, value=sign.value, usual=sign.usual)
        )

    def look(self) -> None:
        """Read the gauges if a reading is due."""
        if self._gauges.due():
            self._context.emit(self._gauges.read())


def told(context: Context, label: str) -> Callable[[int, int], None]:
    """Tells how many of how many are measured: at the beginning, and from time to time."""
    last = -math.inf

    def report(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= TELL_EVERY_S:
            last = time.monotonic()
            context.progress(label, done, total)

    return report


def trained_edges(row: TrainRow) -> list[int]:
    """The spans of trained tokens: [start, end, start, end, …], ends excluded."""
    at = np.asarray(row.at) + 1
    breaks = np.flatnonzero(np.diff(at) > 1)
    starts = np.concatenate((at[:1], at[breaks + 1]))
    ends = np.concatenate((at[breaks], at[-1:])) + 1
    return [int(edge) for edge in np.stack((starts, ends), axis=1).ravel()]
