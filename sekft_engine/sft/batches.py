"""Which rows make up which step, and how they share forward passes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sekft_engine.recipe import Recipe
from sekft_engine.sft.data import TrainRow
from sekft_engine.sft.packing import common_tokens

#: Two groups side by side save time up to so many times the tokens that one would go over, counting
#: the larger group twice: they are of unequal size, and each has what all begin with in common.
WORTH = 1.12
#: Up to so many rows the best two groups are searched for; of more a greedy choice is as good to a
#: hundredth, and a search would take longer than it saves.
SEARCHED = 32


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


def halves(rows: Sequence[TrainRow], *, shared: bool) -> list[list[TrainRow]]:
    """Rows in two groups that take about as long to compute, or in one where two save no time. With
    ``shared``, what rows of a group begin with in common counts once, else they are padded."""
    common = [[common_tokens(one.ids, other.ids) for other in rows] for one in rows]

    def tokens(group: Sequence[int]) -> int:
        if not shared:
            return len(group) * max((len(rows[one]) for one in group), default=0)
        known = (max((common[one][other] for other in group[:at]), default=0)
                 for at, one in enumerate(group))  # fmt: skip
        return sum(len(rows[one]) - some for one, some in zip(group, known, strict=True))

    def time(sides: Sequence[int]) -> tuple[int, int]:
        own = [tokens(_where(sides, side)) for side in (0, 1)]
        return max(own), sum(own)

    sides = [-1] * len(rows)  # on neither yet
    for one in sorted(range(len(rows)), key=lambda number: -len(rows[number])):
        sides = min((_changed(sides, {one: side}) for side in (0, 1)), key=time)
    # A greedy choice misses some: as long as a move or an exchange saves time, make the best.
    while len(rows) <= SEARCHED:
        moves = [_changed(sides, {one: 1 - side}) for one, side in enumerate(sides)]
        exchanges = [
            _changed(sides, {one: 1, other: 0})
            for one in _where(sides, 0)
            for other in _where(sides, 1)
        ]
        best = min((*moves, *exchanges), key=time)
        if time(best) >= time(sides):
            break
        sides = best
    if 2 * time(sides)[0] > WORTH * tokens(range(len(rows))):
        return [list(rows)]
    return [[rows[one] for one in _where(sides, side)] for side in (0, 1)]


def _where(sides: Sequence[int], side: int) -> list[int]:
    return [number for number, own in enumerate(sides) if own == side]


def _changed(sides: Sequence[int], changes: dict[int, int]) -> list[int]:
    return [changes.get(number, side) for number, side in enumerate(sides)]


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
