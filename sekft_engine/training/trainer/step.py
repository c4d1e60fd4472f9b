"""The outcome of an optimiser step: its figures, or why it was not finished."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sekft_engine.core.errors import JobFailed


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One optimiser step.

    Attributes:
        step: its number, from 1.
        loss: the mean over its trained tokens, in nats.
        lr: the learning rate.
        grad_norm: the norm of the gradients before clipping.
        trained_tokens, tokens: of all rows of the step.
        seconds: how long it took.
    """

    step: int
    loss: float
    lr: float
    grad_norm: float
    trained_tokens: int
    tokens: int
    seconds: float


class Diverged(JobFailed):
    """A loss or a gradient is not finite; names the step and the trajectories."""

    step = 0  #: the step in which it was found


def diverged(step: int, what: str, ids: Sequence[str], good_step: int) -> Diverged:
    """The error that ``what`` is not finite.

    Args:
        step: the step in which that was found.
        what: names the loss, or the gradient.
        ids: the trajectories that it is of; empty = unknown.
        good_step: the step of the adapter that is kept; 0 = none is.
    """
    names = ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
    saved = f"the adapter of step {good_step} is kept" if good_step else "no adapter"
    error = Diverged(
        f"{what} is not finite at step {step}, trajectory {names or 'unknown'}; {saved}",
        mend="lower the learning rate, or look at that trajectory with: sekft mask",
    )
    error.step = step
    return error


class Abandoned(Exception):
    """The caller asked to stop in the middle of a step; no weight has changed in it."""


def mean_rate(recent: Sequence[Step]) -> float:
    """Tokens per second over these steps; 0 where they took no time."""
    seconds = sum(step.seconds for step in recent)
    return sum(step.tokens for step in recent) / seconds if seconds > 0 else 0.0
