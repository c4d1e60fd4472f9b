"""Losses and gradients that are out of line with the steps before them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import msgspec

#: Steps that tell what is usual, and how many of them it takes to know.
WINDOW, ENOUGH = 32, 8
#: A loss is a spike so many deviations above the median, and by this much of it, and so many nats.
#: Deviations are told by the median of the distances to the median, which a spike before does not
#: move (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993).
DEVIATIONS, SHARE, NATS = 6.0, 0.5, 0.25
#: A gradient below this share of what it was at the beginning has vanished; above ten times as
#: much it is back.
GONE = 1e-3

SPIKE, VANISHING, NOT_FINITE = "loss spike", "vanishing gradient", "not finite"


class Sign(msgspec.Struct, frozen=True):
    """``value`` is the loss or the gradient's norm, ``usual`` what it was before."""

    kind: str
    value: float
    usual: float

    @property
    def text(self) -> str:
        what = "the gradient" if self.kind == VANISHING else "the loss"
        return f"{self.kind}: {what} is {self.value:.3g}, usual is {self.usual:.3g}"


class Signs(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the steps so far. It is part of each checkpoint, so that a run that is
    resumed sees what it would have seen. ``seen`` are the steps of each kind of sign."""

    losses: tuple[float, ...] = ()
    norms: tuple[float, ...] = ()
    vanished: bool = False
    seen: Mapping[str, tuple[int, ...]] = {}

    @property
    def usual_loss(self) -> float:
        return statistics.median(self.losses) if self.losses else 0.0

    def after(self, step: int, loss: float, norm: float) -> tuple[Signs, list[Sign]]:
        """What is known after ``step``, and the signs seen in it."""
        found = []
        if self._is_spike(loss):
            found.append(Sign(SPIKE, loss, self.usual_loss))
        start = statistics.median(self.norms) if len(self.norms) == ENOUGH else 0.0
        gone = norm <= start * GONE * (10 if self.vanished else 1)
        if gone and not self.vanished:
            found.append(Sign(VANISHING, norm, start))
        seen = {kind: tuple(steps) for kind, steps in self.seen.items()}
        for sign in found:
            seen[sign.kind] = (*seen.get(sign.kind, ()), step)
        known = Signs(
            losses=(*self.losses, loss)[-WINDOW:],
            norms=(*self.norms, norm)[:ENOUGH],
            vanished=gone,
            seen=seen,
        )
        return known, found

    def _is_spike(self, loss: float) -> bool:
        if len(self.losses) < ENOUGH:
            return False
        usual = self.usual_loss
        deviation = 1.4826 * statistics.median(abs(one - usual) for one in self.losses)
        return loss - usual > max(DEVIATIONS * deviation, SHARE * usual, NATS)
