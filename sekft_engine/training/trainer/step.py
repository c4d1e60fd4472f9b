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


class Abandoned(Exception):
    """The caller asked to stop in the middle of a step; no weight has changed in it."""


def mean_rate(recent: Sequence[Step]) -> float:
    """Tokens per second over these steps; 0 where they took no time."""
    seconds = sum(step.seconds for step in recent)
    return sum(step.tokens for step in recent) / seconds if seconds > 0 else 0.0
