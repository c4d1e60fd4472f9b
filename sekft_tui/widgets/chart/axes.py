"""Limits, ticks and their labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from sekft_tui.model.series import Floats
from sekft_tui.text import duration, short_number

#: The kind of number on an axis; a "power" is an exponent of ten.
Form = Literal["plain", "share", "count", "seconds", "bytes", "power"]

_CLOCK = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


class Frame(NamedTuple):
    """The part of the plane that is drawn; with ``log`` the y limits are logarithms."""

    x0: float
    x1: float
    y0: float
    y1: float
    log: bool = False

    def y_of(self, values: Floats) -> Floats:
        """Values as drawn: on a log axis their logarithm, NaN if there is none."""
        if not self.log:
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values > 0, np.log10(np.where(values > 0, values, 1.0)), np.nan)

    def row(self, y: float, height: int) -> int:
        """The cell row of ``y`` (as drawn) among ``height``; may lie outside."""
        share = (self.y1 - y) / ((self.y1 - self.y0) or 1.0)
        return round(max(-1e6, min(1e6, share * (height * 4 - 1)))) // 4

    def column(self, x: float, width: int) -> int:
        """The cell column of ``x`` among ``width``; may lie outside."""
        share = (x - self.x0) / ((self.x1 - self.x0) or 1.0)
        return int(max(-1e6, min(1e6, share * (width * 2 - 1) + 0.5)) // 2)


def frame_for(
    curves: Sequence[tuple[Floats, Floats]],
    x0: float,
    x1: float,
    log: bool = False,
    limits: tuple[float, float] | None = None,
) -> Frame:
    """Limits that hold every finite value of ``curves`` between ``x0`` and ``x1``.

    ``limits`` lie inside as well. A log axis becomes a linear one if no value is positive.
    """
    seen = [np.array(limits)] if limits else []
    for xs, ys in curves:
        start, end = np.searchsorted(xs, x0), np.searchsorted(xs, x1, side="right")
        inside = _drawable(ys[start:end], log)
        if len(inside):
            seen.append(np.array([inside.min(), inside.max()]))
    values = np.concatenate(seen) if seen else np.zeros(0)
    if log:
        values = np.log10(values[values > 0])
        if not len(values):
            return frame_for(curves, x0, x1, limits=limits)
    if not len(values):
        return Frame(x0, x1, 0.0, 1.0, log)
    low, high = float(values.min()), float(values.max())
    if limits == (low, high):
        return Frame(x0, x1, low, high, log)
    if high - low < 1e-9 * max(abs(low), abs(high)):  # a constant, apart from rounding
        low = high = (low + high) / 2
    pad = (high - low) * 0.06 or abs(high) * 0.1 or 0.5
    bottom = low - pad
    if not log and low >= 0:
        bottom = max(0.0, bottom)
    # A little more above, so that a constant does not lie between two rows of dots.
    return Frame(x0, x1, bottom, high + 1.03 * pad, log)


def _drawable(values: Floats, log: bool) -> Floats:
    """The values that an axis can show; not copied if it can show all."""
    if not len(values):
        return values
    if values.min() > (0.0 if log else -math.inf) and values.max() < math.inf:
        return values
    return values[np.isfinite(values) & (values > 0) if log else np.isfinite(values)]


# --- ticks --------------------------------------------------------------------------------------


def ticks(low: float, high: float, count: int, form: Form = "plain") -> list[float]:
    """At most ``count`` round numbers from ``low`` to ``high``: 1, 2 or 5 times a power of ten; for
    seconds as clocks show them, for bytes powers of two."""
    span = high - low
    if count < 1 or not math.isfinite(span) or span <= 0:
        return [low] if math.isfinite(low) else []
    if form == "seconds" and span / count > 1:
        for step in (*_CLOCK, *(86400 * 2**power for power in range(1, 12))):
            if span / step <= count:
                return _multiples(low, high, step)[:count] or [low]
    if form == "power":
        return log_ticks(low, high, count)
    if form == "bytes":
        step = 2.0 ** math.ceil(math.log2(span / count))
        return _multiples(low, high, step)[:count] or [low]
    step = 10.0 ** math.floor(math.log10(span / count))
    finer = [low]
    for factor in (1, 2, 5, 10, 20, 50):
        found = _multiples(low, high, step * factor)
        if len(found) <= count:
            return found or finer[:count]  # a range may lie between two coarser ticks
        finer = found
    return [low]


def log_ticks(low: float, high: float, count: int) -> list[float]:
    """Logarithms of at most ``count`` round numbers between ``10**low`` and ``10**high``."""
    for digits in ((1, 2, 3, 4, 5, 6, 8), (1, 2, 5), (1, 3), (1,)):
        if (high - low) * len(digits) > 4 * count:
            continue
        found = [
            power + math.log10(digit)
            for power in range(math.floor(low), math.ceil(high) + 1)
            for digit in digits
        ]
        found = [value for value in found if low <= value <= high]
        if len(found) <= count:
            # Within a decade there may be no round number in this sense.
            return found if len(found) > 1 else _linear(low, high, count) or found
    return ticks(low, high, count)


def _linear(low: float, high: float, count: int) -> list[float]:
    """Ticks of a short stretch of a log axis: round numbers as on a linear one."""
    if abs(low) > 300 or abs(high) > 300:
        return []
    return [math.log10(tick) for tick in ticks(10**low, 10**high, count) if tick > 0]


def _multiples(low: float, high: float, step: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last - first > 1000:
        return [low] * 1001
    return [number * step for number in range(first, last + 1)]


# --- labels -------------------------------------------------------------------------------------


def label_all(values: list[float], form: Form = "plain", log: bool = False) -> list[str]:
    """The labels of an axis's ticks; with ``log`` the values are logarithms."""
    if log:
        values = [10**value if abs(value) < 300 else math.inf for value in values]
        return [label(value, form) for value in values]
    return tick_labels(values) if form == "plain" else [label(value, form) for value in values]


def label(value: float, form: Form) -> str:
    """One number in few characters."""
    if form == "share":
        return f"{100 * value:.0f}%"
    if form == "count":
        return short_number(value)
    if form == "seconds":
        return duration(value) if value >= 60 else f"{value:.3g} s"
    if form == "bytes":
        return f"{value / 2**30:.3g}G"
    if form == "power":
        return _scientific(10**value)
    if value and not 0.001 <= abs(value) < 10000:
        return _scientific(value)
    return f"{value:.3g}"


def tick_labels(values: list[float]) -> list[str]:
    """Numbers on an axis, with as few decimals as make them exact, in at most seven characters."""
    if not values:
        return []
    top = max(abs(value) for value in values)
    if top >= 100000 or 0 < top < 0.0005:
        return [_scientific(value) if value else "0" for value in values]
    for digits in range(6):
        labels = [f"{value:.{digits}f}" for value in values]
        right = all(
            abs(float(label) - value) <= 1e-9 * top
            for label, value in zip(labels, values, strict=True)
        )
        if right:
            break
    return labels


def _scientific(value: float) -> str:
    mantissa, _, power = f"{value:.1e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(power)}"
