"""Which rows make up each step, how they share forward passes, and at which rate they train."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sekft_engine.data.recipe import Recipe
from sekft_engine.training.trainer.data import TrainRow
from sekft_engine.training.trainer.packing import common_tokens

#: Two parallel parts save time if twice the tokens of the larger one are at most so many times
#: those of the undivided pass: parts differ in size, and each computes shared prefixes for itself.
MAX_OVERHEAD = 1.12
#: Up to so many rows the best split is searched for; for more rows a greedy split is within 1 % of
#: it, and a search would take longer than it saves.
MAX_SEARCHED = 32


def plan_steps(count: int, recipe: Recipe) -> list[list[int]]:
    """The row numbers of each optimiser step; the seed decides the order in each epoch."""
    total = max(1, round(count * recipe.epochs))
    if recipe.max_steps:
        total = min(total, recipe.max_steps * recipe.batch)
    order: list[int] = []
    for epoch in range(math.ceil(total / count)):
        shuffled = np.random.default_rng([recipe.seed, 2, epoch]).permutation(count)
        order += [int(number) for number in shuffled]
    return [order[at : min(at + recipe.batch, total)] for at in range(0, total, recipe.batch)]


def split_rows(rows: Sequence[TrainRow], size: int) -> list[list[TrainRow]]:
    """Micro-batches of at most ``size`` rows of similar length, to keep padding small."""
    ranked = sorted(rows, key=len)
    return [ranked[at : at + size] for at in range(0, len(ranked), size)]


def halves(rows: Sequence[TrainRow], *, shared: bool) -> list[list[TrainRow]]:
    """Split rows into two parts of about equal cost, or leave one part if two save no time.

    Args:
        shared: whether shared prefixes within a part are computed once; else rows are padded.
    """
    common = [[common_tokens(row.ids, other.ids) for other in rows] for row in rows]

    def tokens(part: Sequence[int]) -> int:
        if not shared:
            return len(part) * max((len(rows[number]) for number in part), default=0)
        prefixes = (
            max((common[number][earlier] for earlier in part[:at]), default=0)
            for at, number in enumerate(part)
        )
        return sum(
            len(rows[number]) - prefix for number, prefix in zip(part, prefixes, strict=True)
        )

    def cost(sides: Sequence[int]) -> tuple[int, int]:
        """The tokens of the larger part, and of both."""
        both = [tokens(_members(sides, side)) for side in (0, 1)]
        return max(both), sum(both)

    sides = [-1] * len(rows)  # which part each row is in; -1 = none yet
    for number in sorted(range(len(rows)), key=lambda number: -len(rows[number])):
        sides = min((_changed(sides, {number: side}) for side in (0, 1)), key=cost)
    # Improve the greedy split: move or exchange rows as long as that saves time.
    while len(rows) <= MAX_SEARCHED:
        moves = [_changed(sides, {number: 1 - side}) for number, side in enumerate(sides)]
        exchanges = [
            _changed(sides, {left: 1, right: 0})
            for left in _members(sides, 0)
            for right in _members(sides, 1)
        ]
        best = min((*moves, *exchanges), key=cost)
        if cost(best) >= cost(sides):
            break
        sides = best
    if 2 * cost(sides)[0] > MAX_OVERHEAD * tokens(range(len(rows))):
        return [list(rows)]
    return [[rows[number] for number in _members(sides, side)] for side in (0, 1)]


def _members(sides: Sequence[int], side: int) -> list[int]:
    return [number for number, own in enumerate(sides) if own == side]


def _changed(sides: Sequence[int], changes: dict[int, int]) -> list[int]:
    return [changes.get(number, side) for number, side in enumerate(sides)]


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """The learning rate of step ``step`` (from 1) of ``steps``: linear warm-up, then the
    schedule."""
    warm = math.ceil(steps * recipe.warmup)
    if step <= warm:
        return recipe.lr * step / warm
    done = (step - warm - 1) / max(1, steps - warm)
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1.0 + math.cos(math.pi * done))
    if recipe.schedule == "linear":
        return recipe.lr * (1.0 - done)
    return recipe.lr
