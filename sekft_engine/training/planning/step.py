"""The memory of a training step as a function of its heaviest pass, and what fits into how much.

Whether its coefficients are measured (:mod:`sekft_engine.training.run.memory_plan`) or computed
from a base's shape (:mod:`.computed`), the rest is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from typing import NamedTuple

import msgspec

from sekft_engine.data.recipe import Recipe
from sekft_engine.training.trainer.batches import halves, plan_steps, split_rows
from sekft_engine.training.trainer.data import TrainRow
from sekft_engine.training.trainer.packing import pack
from sekft_engine.training.trainer.ranks import ALONE, Ranks

#: The heaviest pass is searched for among so many of the longest.
CANDIDATES = 32
#: Lengths are suggested in steps of so many tokens, the least first.
LENGTH_STEP = 16


class PassSize(NamedTuple):
    """The size of a forward pass: tokens, the sum of the squared row lengths, trained tokens, and
    the number of parts computed in parallel."""

    tokens: int
    squared_lengths: int
    trained: int
    parts: int = 1


class StepMemory(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of a step in bytes, as a function of the size of its heaviest pass.

    Attributes:
        fixed: bytes independent of the size.
        per_token: bytes per token.
        per_trained: bytes per trained token whose logits are in memory.
        per_squared_length: bytes per squared row length.
        per_part: bytes per part, if several are computed in parallel.
        logits_at_once: the most trained tokens of a part with logits at the same time.
        packs: whether rows are packed, else padded.
        parts: the most parts that are computed in parallel.
        backward_per_token: bytes per token that one layer needs in its backward pass, when the
            logits are gone. Measured coefficients have it in ``per_token``, since a measurement
            cannot tell the two moments apart: then the sum is an upper bound.
        backward_fixed: bytes that a layer needs then, whatever the size.
    """

    fixed: float
    per_token: float
    per_squared_length: float
    per_trained: float
    logits_at_once: int
    packs: bool
    per_part: float = 0.0
    parts: int = 1
    backward_per_token: float = 0.0
    backward_fixed: float = 0.0

    def bytes_of(self, size: PassSize) -> int:
        """The memory of a step whose heaviest pass is of this size."""
        gradients = self.per_part * size.parts if size.parts > 1 else 0
        held = self.held_bytes(size) + max(self.logits_bytes(size), self.backward_bytes(size))
        return round(self.fixed + held + gradients)

    def held_bytes(self, size: PassSize) -> float:
        """Bytes that the forward pass leaves for the backward pass."""
        attention = self.per_squared_length * size.squared_lengths
        return self.per_token * size.tokens + attention

    def logits_bytes(self, size: PassSize) -> float:
        """Bytes of logits and their gradients at trained tokens."""
        return self.per_trained * min(size.trained, self.logits_at_once * size.parts)

    def backward_bytes(self, size: PassSize) -> float:
        """Bytes that the backward pass of a layer needs for itself."""
        return self.backward_fixed + self.backward_per_token * size.tokens

    def size_of(self, rows: Sequence[TrainRow]) -> PassSize:
        """The size of a pass over these rows, packed or padded to the longest."""
        parts = halves(rows, shared=self.packs) if self.parts > 1 else [rows]
        padded = (len(part) * max(len(row) for row in part) for part in parts)
        return PassSize(
            tokens=sum(pack(part).input_ids.size for part in parts) if self.packs else sum(padded),
            squared_lengths=sum(len(row) ** 2 for row in rows),
            trained=sum(row.trained for row in rows),
            parts=len(parts),
        )


class Passes:
    """The forward passes of a run in this process.

    Args:
        rows: what is trained on.
        recipe: how many of them share a step and a pass.
        ranks: which of them are computed in this process.
    """

    def __init__(self, rows: Sequence[TrainRow], recipe: Recipe, ranks: Ranks = ALONE) -> None:
        self.rows = rows
        self.recipe = recipe
        self.ranks = ranks

    @property
    def most_rows(self) -> int:
        """The most rows of a pass."""
        return min(self.recipe.micro_batch, self.recipe.batch, len(self.rows))

    @property
    def longest(self) -> tuple[int, int]:
        """The tokens of the longest row, and how many of them are trained."""
        row = max(self.rows, key=len)
        return len(row), row.trained

    def heaviest(self, memory: StepMemory, micro_batch: int = 0) -> PassSize:
        """The pass that takes the most memory, searched for among the longest ones.

        Args:
            micro_batch: rows of a pass; 0 = as the recipe says.
        """
        passes = (
            group
            for step in plan_steps(len(self.rows), self.recipe)
            for group in split_rows(
                self.ranks.share([self.rows[number] for number in step]),
                micro_batch or self.recipe.micro_batch,
            )
        )
        longest = nlargest(CANDIDATES, passes, key=lambda group: sum(len(row) for row in group))
        return max(map(memory.size_of, longest), key=memory.bytes_of)

    def rows_that_fit(self, memory: StepMemory, free: int) -> int:
        """The largest micro-batch that fits into ``free`` bytes and is smaller than the recipe's;
        0 = none."""
        for count in range(self.most_rows - 1, 0, -1):
            if memory.bytes_of(self.heaviest(memory, count)) <= free:
                return count
        return 0

    def what_fits(self, memory: StepMemory, free: int) -> str:
        """The way out where the recipe's passes do not fit: the largest micro-batch that does, else
        how long a row may be."""
        if count := self.rows_that_fit(memory, free):
            return f"--micro-batch {count} fits"
        if self.recipe.recompute == "never":
            return "--recompute auto needs less"
        if tokens := longest_that_fits(memory, free, *self.longest):
            return f"--micro-batch 1 --max-length {tokens} fits"
        return "take a smaller base or --load-4bit, or free some memory"


class LongestPasses(Passes):
    """The passes of a run whose data is not known: all rows are as long as the recipe allows, share
    nothing, and are trained throughout. No data takes more memory."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__((), recipe)

    @property
    def most_rows(self) -> int:
        return min(self.recipe.micro_batch, self.recipe.batch)

    @property
    def longest(self) -> tuple[int, int]:
        return self.recipe.max_length, self.recipe.max_length - 1

    def heaviest(self, memory: StepMemory, micro_batch: int = 0) -> PassSize:
        rows = min(micro_batch or self.most_rows, self.most_rows)
        length, trained = self.longest
        return PassSize(
            tokens=rows * (length - 1 if memory.packs else length),
            squared_lengths=rows * length**2,
            trained=rows * trained,
            parts=min(rows, memory.parts),
        )


def longest_that_fits(memory: StepMemory, free: int, most: int, trained: int) -> int:
    """The most tokens up to ``most`` of a row that fits into ``free`` bytes alone; 0 = none.

    Args:
        trained: how many of its tokens are trained at most.
    """

    def fits(tokens: int) -> bool:
        return memory.bytes_of(PassSize(tokens, tokens**2, min(trained, tokens))) <= free

    low, high = 0, most // LENGTH_STEP  # memory grows with the length, so halving finds it
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle * LENGTH_STEP):
            low = middle
        else:
            high = middle - 1
    return low * LENGTH_STEP
