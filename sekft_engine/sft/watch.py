"""What one may watch of a run besides its losses: the batch in training, the machine, the bound."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from sekft_engine import events
from sekft_engine.base import ResidentBase
from sekft_engine.context import Context
from sekft_engine.gauges import Gauges
from sekft_engine.sft.bound import measure_bound
from sekft_engine.sft.data import TrainRow

#: Batches are told of at most so often where all their trajectories were told before; on a quick
#: machine that is fewer than there are.
BATCH_EVERY_S = 0.5


class Watch:
    """Tells of a run in events, between its steps and on their thread."""

    def __init__(self, context: Context, base: ResidentBase) -> None:
        self._context = context
        self._gauges = Gauges(str(base.device))
        self._told_at = 0.0
        self._told: set[str] = set()
        context.emit(measure_bound(base))

    def begins(self, step: int, rows: Sequence[TrainRow]) -> None:
        """``step`` is about to train on ``rows``."""
        ids = {row.id for row in rows}
        if not ids <= self._told or time.monotonic() - self._told_at >= BATCH_EVERY_S:
            self._told |= ids
            self._told_at = time.monotonic()
            batch = [
                events.BatchRow(id=row.id, tokens=len(row), edges=trained_edges(row))
                for row in rows
            ]
            self._context.emit(events.StepBegan(job="", step=step, batch=batch))

    def look(self) -> None:
        """Read the gauges, if it is time."""
        if self._gauges.due():
            self._context.emit(self._gauges.read())


def trained_edges(row: TrainRow) -> list[int]:
    """Where trained tokens begin and end: [start, end, start, end, …], ends excluded."""
    at = np.asarray(row.at) + 1
    breaks = np.flatnonzero(np.diff(at) > 1)
    starts = np.concatenate((at[:1], at[breaks + 1]))
    ends = np.concatenate((at[breaks], at[-1:])) + 1
    return [int(edge) for edge in np.stack((starts, ends), axis=1).ravel()]
