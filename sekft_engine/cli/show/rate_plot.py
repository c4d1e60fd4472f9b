"""A learning-rate sweep as a small plot of characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sekft_engine.records.trainings import RatePoint

WIDTH, HEIGHT = 60, 12
#: Higher shares are drawn at the upper edge.
HIGHEST = 1.2


def rate_plot(curve: Sequence[RatePoint], chosen: float) -> str:
    """The smoothed loss, as a share of the bare base's, over the rate (logarithmic), with a line
    at the rate that was chosen. What is far above the bare base is drawn at the upper edge."""
    rates = [math.log10(point.lr) for point in curve]
    losses = [min(point.smooth, HIGHEST) for point in curve]
    left, right = rates[0], rates[-1]
    low, high = min(losses), max(losses)

    def column(rate: float) -> int:
        return round((rate - left) / ((right - left) or 1.0) * (WIDTH - 1))

    cells = [[" "] * WIDTH for _ in range(HEIGHT)]
    mark = min(max(column(math.log10(chosen)), 0), WIDTH - 1)
    for row in cells:
        row[mark] = "┊"
    for rate, loss in zip(rates, losses, strict=True):
        down = round((high - loss) / ((high - low) or 1.0) * (HEIGHT - 1))
        cells[down][column(rate)] = "•"
    labels = {0: f"{high:.2f}", HEIGHT - 1: f"{low:.2f}"}
    lines = [f"{labels.get(at, ''):>6} ┤{''.join(row)}".rstrip() for at, row in enumerate(cells)]
    ticks = [" "] * (WIDTH + 6)
    for power in range(math.ceil(left), math.floor(right) + 1):
        text = f"1e{power}"
        at = min(column(power), WIDTH - 1)
        ticks[at : at + len(text)] = text
    lines.append(" " * 7 + "└" + "─" * WIDTH)
    lines.append(" " * 8 + "".join(ticks).rstrip())
    return "\n".join(lines)
