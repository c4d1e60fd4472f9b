"""A search for a learning rate as its events tell it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from sekft_engine import events
from sekft_tui.series import Floats, Table


@dataclass
class RateView:
    """One search, live or over. ``found`` is the rate that it suggests, 0 = none yet; ``seen``:
    someone has looked at it."""

    job: str = ""
    steps: int = 0
    found: float = 0.0
    seen: bool = False
    #: Step, logarithm of the rate, share of the bare base's loss, and that smoothed.
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

    def tried(self, event: events.RateTried) -> None:
        self.steps = event.steps
        self._points.add((event.step, math.log10(event.lr), event.share, event.smooth))

    def ended(self, result: dict[str, Any]) -> None:
        self.found = float(result.get("suggested") or 0.0)
