"""A search for a learning rate, made of its events."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from sekft_engine.records import events
from sekft_engine.records.trainings import FindRateResult
from sekft_tui.model.series import Floats, Table


@dataclass
class RateView:
    """One search, running or over. ``found`` is the rate that it suggests, 0 = none yet; ``seen``:
    the user has looked at it."""

    job: str = ""
    steps: int = 0
    found: float = 0.0
    seen: bool = False
    #: Step, log10 of the rate, loss as a share of the bare base's, and that share smoothed.
    _points: Table = field(default_factory=lambda: Table(4))

    def __len__(self) -> int:
        return len(self._points)

    @property
    def step(self) -> int:
        """The last step done."""
        return int(self.rows()[0, -1]) if len(self) else 0

    def rows(self) -> Floats:
        """The steps so far, shape (4, n)."""
        return self._points.rows()

    def apply(self, event: events.RateTried) -> None:
        """Add a step."""
        self.steps = event.steps
        self._points.add((event.step, math.log10(event.lr), event.share, event.smooth))

    def finish(self, result: FindRateResult) -> None:
        """The search is over, with this result."""
        self.found = result.suggested
