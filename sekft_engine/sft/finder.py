"""The learning-rate finder: how the loss answers to rates from far too low to far too high.

An adapter is trained on the real data for a few steps while the rate grows from step to step by the
same factor, and is thrown away. Each step's loss is divided by what the bare base makes of the same
trajectories, for they differ by more than a step can teach. It falls while the rate serves, and
rises once it is too high: the range test of Smith, Cyclical Learning Rates for Training Neural
Networks, 2017 (arXiv:1506.01186). A tenth of the rate at the lowest loss is taken, as is usual
since Howard and Gugger, fastai: A Layered API for Deep Learning, 2020 (arXiv:2002.04688).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from sekft_engine import events, jobs
from sekft_engine.bases import resolve_base
from sekft_engine.context import Context
from sekft_engine.errors import Interrupted, JobFailed
from sekft_engine.recipe import Recipe
from sekft_engine.render import ChatTokenizer
from sekft_engine.sft.data import TrainRow, load_data
from sekft_engine.sft.loop import Abandoned, Diverged, Trainer

LOWEST, HIGHEST = 1e-6, 1.0
#: Steps of a sweep where the recipe sets no limit.
STEPS = 60
#: How much of the smoothed loss stays from one step to the next.
SMOOTHING = 0.7
#: A smoothed loss so many times the bare base's has left for good.
TOO_HIGH = 1.5
#: The name of the adapter that is thrown away.
_NAME = "finding a rate"


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One step: its loss and that of the ``bare`` base on the same trajectories, in nats;
    ``share`` is the one over the other, ``smooth`` that over the steps so far."""

    step: int
    lr: float
    loss: float
    bare: float
    share: float
    smooth: float
    grad_norm: float


def run_find_rate(job: jobs.FindRate, context: Context) -> dict[str, Any]:
    """Sweep, and return what ``sekft train --find-lr`` prints. Nothing is written.

    Raises:
        JobFailed: the loss does not fall at any rate, or there are too few steps to tell.
    """
    began = time.monotonic()
    folder = resolve_base(job.base, context.workspace, report=context.progress)
    tokenizer = ChatTokenizer.load(folder)
    data = load_data(job.data, job.hub, tokenizer, job.recipe)
    count = job.recipe.max_steps or STEPS
    epochs = math.ceil(count * job.recipe.batch / len(data.train))
    recipe = msgspec.structs.replace(job.recipe, max_steps=count, epochs=epochs)
    base = context.load_base(str(folder), job.load_4bit)
    active = base.active
    base.new_adapter(_NAME, recipe)
    trainer = Trainer(base, _NAME, data, recipe, leave=context.cancelled, rate=rate_of)
    curve: list[Point] = []
    try:
        bare = []
        for rows in _batches(trainer):
            bare.append(trainer.mean_loss(rows)[0])
            context.progress("what the bare base makes of them", len(bare), count)
        for point in sweep(trainer, bare):
            curve.append(point)
            context.emit(
                events.RateTried(
                    job="",
                    step=point.step,
                    steps=count,
                    lr=point.lr,
                    share=point.share,
                    smooth=point.smooth,
                )
            )
            told = f"lr {point.lr:.1e}  loss x {point.smooth:.3f}"
            context.progress("finding a learning rate", point.step, count, told)
            context.wait_while_paused()
    except Abandoned:
        raise Interrupted("stopped before a rate was found") from None
    finally:
        trainer.close()
        base.drop(_NAME)
        base.activate(active)
    return {
        "suggested": suggested(curve),
        "lowest_loss_at": lowest(curve).lr,
        "swept": [LOWEST, curve[-1].lr],
        "steps": len(curve),
        "curve": msgspec.to_builtins(curve),
        "seconds": round(time.monotonic() - began, 3),
    }


def rate_of(step: int, steps: int, _recipe: Recipe) -> float:
    """The rate of step ``step`` (from 1) of ``steps``: each is the same factor above the last."""
    return float(LOWEST * (HIGHEST / LOWEST) ** ((step - 1) / max(1, steps - 1)))


def sweep(trainer: Trainer, bare: Sequence[float]) -> Iterator[Point]:
    """Train until the loss has left for good, is no number, or the plan ends. ``bare`` are the
    losses of the base without an adapter."""
    mean = 0.0
    try:
        for step, before in zip(trainer.steps(), bare, strict=True):
            share = step.loss / before
            mean = SMOOTHING * mean + (1 - SMOOTHING) * share
            smooth = mean / (1 - SMOOTHING**step.step)  # the mean began at nothing
            yield Point(
                step=step.step,
                lr=step.lr,
                loss=step.loss,
                bare=before,
                share=share,
                smooth=smooth,
                grad_norm=step.grad_norm,
            )
            if smooth > TOO_HIGH:
                return
    except Diverged:
        return


def _batches(trainer: Trainer) -> Iterator[list[TrainRow]]:
    for batch in trainer.plan:
        yield [trainer.data.train[row] for row in batch]


def lowest(curve: Sequence[Point]) -> Point:
    """Where the smoothed loss was lowest."""
    return min(curve, key=lambda point: point.smooth)


def suggested(curve: Sequence[Point]) -> float:
    """A tenth of the rate at the lowest loss, to two digits."""
    best = lowest(curve) if curve else None
    if best is None or best.step == 1 or len(curve) < 10:
        raise JobFailed(
            "no learning rate makes the loss fall",
            where=f"{len(curve)} steps from {LOWEST:g} on",
            mend="give it more steps with --max-steps, or a larger --batch",
        )
    return float(f"{best.lr / 10:.1e}")
