"""Which rows make up which step, and how they share forward passes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sekft_engine.recipe import Recipe
from sekft_engine.sft.data import TrainRow


def plan_steps(count: int, recipe: Recipe) -> list[list[int]]:
    """The rows of each optimiser step: every pass in a new order that only the seed decides."""
    total = max(1, round(count * recipe.epochs))
    if recipe.max_steps:
        total = min(total, recipe.max_steps * recipe.batch)
    order: list[int] = []
    for epoch in range(math.ceil(total / count)):
        shuffled = np.random.default_rng([recipe.seed, 2, epoch]).permutation(count)
        order += [int(number) for number in shuffled]
    return [order[at : min(at + recipe.batch, total)] for at in range(0, total, recipe.batch)]


def split_rows(rows: Sequence[TrainRow], size: int) -> list[list[TrainRow]]:
    """Groups of at most ``size`` rows of similar length, so that little padding is computed."""
    ranked = sorted(rows, key=len)
    return [ranked[at : at + size] for at in range(0, len(ranked), size)]


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """The rate of step ``step`` (from 1) of ``steps``: linear warm-up, then the schedule."""
    warm = math.ceil(steps * recipe.warmup)
    if step <= warm:
        return recipe.lr * step / warm
    done = (step - warm - 1) / max(1, steps - warm)
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1.0 + math.cos(math.pi * done))
    if recipe.schedule == "linear":
        return recipe.lr * (1.0 - done)
    return recipe.lr
