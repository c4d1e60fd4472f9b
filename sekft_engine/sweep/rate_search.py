"""The learning-rate finder: the loss at rates from far too low to far too high.

An adapter is trained on the real data for a few steps while the rate grows from step to step by the
same factor, and is thrown away. Each step's loss is divided by that of the bare base on the same
trajectories, since they differ by more than one step can teach. The quotient falls while the rate
is useful and rises once it is too high: the range test of Smith, Cyclical Learning Rates for
Training Neural Networks, 2017 (arXiv:1506.01186). A tenth of the rate at the lowest loss is
suggested, as is usual since Howard and Gugger, fastai: A Layered API for Deep Learning, 2020
(arXiv:2002.04688).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence

import msgspec

from sekft_engine.bases import refuse_unknown_targets
from sekft_engine.core.errors import Interrupted, JobFailed
from sekft_engine.data.recipe import Recipe
from sekft_engine.records import events, jobs
from sekft_engine.records.trainings import FindRateResult, RatePoint
from sekft_engine.render import ChatTokenizer
from sekft_engine.training.trainer.data import TrainRow, load_data
from sekft_engine.training.trainer.step import Abandoned, Diverged
from sekft_engine.training.trainer.trainer import Trainer
from sekft_engine.work.context import Context

LOWEST, HIGHEST = 1e-6, 1.0
#: Steps of a sweep where the recipe sets no limit.
STEPS = 60
#: The fewest steps that a rate is chosen from.
LEAST = 10
#: How much of the smoothed loss stays from one step to the next.
SMOOTHING = 0.7
#: A smoothed loss so many times that of the bare base has diverged.
TOO_HIGH = 1.5
#: The name of the adapter that is thrown away.
_NAME = "finding a rate"


def run_find_rate(job: jobs.FindRate, context: Context) -> FindRateResult:
    """Sweep, and return what ``sekft train --find-lr`` prints. Nothing is written.

    Raises:
        JobFailed: the loss does not fall at any rate, or there are too few steps to decide.
    """
    began = time.monotonic()
    folder = context.find_base(job.base)
    refuse_unknown_targets(folder, job.recipe.targets)
    context.device(str(folder), job.device)  # a wrong one is refused before data is read
    tokenizer = ChatTokenizer.load(folder)
    data = load_data(job.data, job.hub, tokenizer, job.recipe, strict=job.strict)
    count = job.recipe.max_steps or STEPS
    epochs = math.ceil(count * job.recipe.batch / len(data.train))
    recipe = msgspec.structs.replace(job.recipe, max_steps=count, epochs=epochs)
    base = context.load_base(str(folder), job.load_4bit, device=job.device)
    with contextlib.ExitStack() as undo:
        undo.callback(base.activate, base.active)
        base.new_adapter(_NAME, recipe)
        undo.callback(base.drop, _NAME)
        trainer = Trainer(base, _NAME, data, recipe, leave=context.cancelled, rate=rate_of)
        undo.callback(trainer.close)
        curve = _tried(trainer, context, count)
    return FindRateResult(
        suggested=suggested(curve),
        lowest_loss_at=lowest(curve).lr,
        swept=[LOWEST, curve[-1].lr],
        steps=len(curve),
        curve=curve,
        seconds=round(time.monotonic() - began, 3),
    )


def _tried(trainer: Trainer, context: Context, count: int) -> list[RatePoint]:
    """The points of the sweep, each told as it is measured."""
    curve: list[RatePoint] = []
    try:
        bare = []
        for rows in _batches(trainer):
            bare.append(trainer.mean_loss(rows)[0])
            context.progress("losses of the bare base", len(bare), count)
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
            line = f"lr {point.lr:.1e}  loss x {point.smooth:.3f}"
            context.progress("finding a learning rate", point.step, count, line)
            context.wait_while_paused()
    except Abandoned:
        raise Interrupted("stopped before a rate was found") from None
    return curve


def rate_of(step: int, steps: int, _recipe: Recipe) -> float:
    """The rate of step ``step`` (from 1) of ``steps``: each is the same factor above the last."""
    return float(LOWEST * (HIGHEST / LOWEST) ** ((step - 1) / max(1, steps - 1)))


def sweep(trainer: Trainer, bare: Sequence[float]) -> Iterator[RatePoint]:
    """Train until the loss diverges, is not finite, or the plan ends.

    Args:
        bare: the losses of the base without an adapter, per step, in nats.
    """
    mean = 0.0
    try:
        for step, before in zip(trainer.steps(), bare, strict=True):
            share = step.loss / before
            mean = SMOOTHING * mean + (1 - SMOOTHING) * share
            smooth = mean / (1 - SMOOTHING**step.step)  # corrects the bias of starting at zero
            yield RatePoint(
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


def lowest(curve: Sequence[RatePoint]) -> RatePoint:
    """Where the smoothed loss was lowest."""
    return min(curve, key=lambda point: point.smooth)


def suggested(curve: Sequence[RatePoint]) -> float:
    """A tenth of the rate at the lowest loss, to two digits."""
    where = f"{len(curve)} steps from {LOWEST:g} on"
    mend = "try more steps, or a larger batch"
    best = lowest(curve) if curve else None
    if best is None or len(curve) < LEAST:
        raise JobFailed(
            "the loss diverged too early to choose a learning rate", where=where, mend=mend
        )
    if best.step == 1:
        raise JobFailed("no learning rate makes the loss fall", where=where, mend=mend)
    return float(f"{best.lr / 10:.1e}")
