"""Warning signs: losses and gradients that are outliers to the steps before them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import msgspec

#: The most steps that define what is usual, and the fewest.
WINDOW, ENOUGH = 32, 8
#: A spike is a loss so many deviations above the median, by this share of it, and by so many nats.
#: The deviation is the median absolute deviation, which earlier spikes do not move (Iglewicz and
#: Hoaglin, How to Detect and Handle Outliers, 1993).
DEVIATIONS, SHARE, NATS = 6.0, 0.5, 0.25
#: A gradient norm below this share of the initial one has vanished; above ten times this share it
#: has recovered.
GONE = 1e-3

SPIKE, VANISHING, NOT_FINITE = "loss spike", "vanishing gradient", "not finite"


class Sign(msgspec.Struct, frozen=True):
    """A warning: ``value`` is the loss or the gradient norm, ``usual`` its earlier level."""

    kind: str
    value: float
    usual: float

    @property
    def text(self) -> str:
        what = "the gradient" if self.kind == VANISHING else "the loss"
        return f"{self.kind}: {what} is {self.value:.3g}, usual is {self.usual:.3g}"


class Signs(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics over the steps so far, and the steps of each kind of sign (``seen``).

    It is part of each checkpoint, so that a resumed run finds the same signs.
    """

    losses: tuple[float, ...] = ()
    norms: tuple[float, ...] = ()
    vanished: bool = False
    seen: Mapping[str, tuple[int, ...]] = {}

    @property
    def usual_loss(self) -> float:
        return statistics.median(self.losses) if self.losses else 0.0

    def after(self, step: int, loss: float, norm: float) -> tuple[Signs, list[Sign]]:
        """The statistics after ``step``, and the signs found in it."""
        found = []
        if self._is_spike(loss):
            found.append(Sign(SPIKE, loss, self.usual_loss))
        start = statistics.median(self.norms) if len(self.norms) == ENOUGH else 0.0
        vanished = norm <= start * GONE * (10 if self.vanished else 1)
        if vanished and not self.vanished:
            found.append(Sign(VANISHING, norm, start))
        steps_of = {kind: tuple(steps) for kind, steps in self.seen.items()}
        for sign in found:
            steps_of[sign.kind] = (*steps_of.get(sign.kind, ()), step)
        updated = Signs(
            losses=(*self.losses, loss)[-WINDOW:],
            norms=(*self.norms, norm)[:ENOUGH],
            vanished=vanished,
            seen=steps_of,
        )
        return updated, found

    def _is_spike(self, loss: float) -> bool:
        if len(self.losses) < ENOUGH:
            return False
        usual = self.usual_loss
        deviation = 1.4826 * statistics.median(abs(loss - usual) for loss in self.losses)
        return loss - usual > max(DEVIATIONS * deviation, SHARE * usual, NATS)
