"""What a step takes of memory, told before the run: what cannot fit is refused, with what would.

A few short passes are measured, forward and backward, and what they held at most is taken on to the
longest rows: a fixed part, one that grows with the tokens, one with their square (attention that
holds all its weights), and one with the tokens that are trained (their logits).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from sekft_engine.base import ResidentBase
from sekft_engine.errors import Unavailable
from sekft_engine.recipe import Recipe
from sekft_engine.sft.data import TrainRow
from sekft_engine.sft.loss import Selected, selected_logits, token_losses
from sekft_engine.sft.memory import free_memory
from sekft_engine.sft.peak import peak_bytes

#: Tokens of the passes that are measured, and trained ones among the last.
LENGTHS, TRAINED = (16, 32, 64), 33
#: The name of the adapter that is measured.
_NAME = "probing"
GIB = 2**30


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a step: ``fixed``, ``per_token``, ``per_square`` of the tokens of one row, and
    ``per_trained`` token."""

    fixed: float
    per_token: float
    per_square: float
    per_trained: float

    def of(self, rows: int, tokens: int, trained: int) -> int:
        """What a pass over ``rows`` rows of ``tokens`` tokens, ``trained`` of each, takes."""
        row = self.per_token * tokens + self.per_square * tokens**2 + self.per_trained * trained
        return round(self.fixed + rows * row)


def refuse_too_much(base: ResidentBase, rows: Sequence[TrainRow], recipe: Recipe) -> str:
    """Measure, and return what is to be expected as a line for the log.

    Raises:
        BadInput: the recipe's targets are none of this base's layers.
        Unavailable: a step cannot fit into the memory that is free; says what would.
    """
    longest = max(rows, key=len)
    most = max(row.trained for row in rows)
    there = free_bytes(base)
    need = measure_need(base, recipe)
    count = min(recipe.micro_batch, recipe.batch, len(rows))
    wanted = need.of(count, len(longest), most)
    told = f"{wanted / GIB:.2f} GiB for a pass over {count} x {len(longest)} tokens"
    if wanted <= there:
        return f"a step takes up to {told}; {there / GIB:.2f} GiB are free"
    raise Unavailable(
        f"a step cannot fit into memory: {told}, and {there / GIB:.2f} GiB are free",
        where=f"trajectory {longest.id}",
        mend=_what_fits(need, there, count, longest, most),
    )


def measure_need(base: ResidentBase, recipe: Recipe) -> Need:
    """Measure passes of a few tokens through the base with an adapter of this recipe."""
    base.new_adapter(_NAME, recipe)
    try:
        weights = base.trainable(_NAME)
        selected = selected_logits(base.model)
        short, middle, long = (_peak(base, selected, tokens, 1) for tokens in LENGTHS)
        more = _peak(base, selected, LENGTHS[-1], TRAINED)
        held = sum(weight.numel() * weight.element_size() for weight in weights)
        for weight in weights:
            weight.grad = None
    finally:
        base.drop(_NAME)
        free_memory()
    square, token, fixed = np.polyfit(LENGTHS, (short, middle, long), 2)
    trained = max(0.0, (more - long) / (TRAINED - 1))
    return Need(
        # Two moments of the optimiser, and the last good weights.
        fixed=max(0.0, float(fixed)) + 3 * held,
        per_token=max(0.0, float(token)),
        per_square=max(0.0, float(square)),
        per_trained=trained,
    )


def _peak(base: ResidentBase, selected: Selected, tokens: int, trained: int) -> int:
    import torch

    at = np.arange(tokens - 1 - trained, tokens - 1, dtype=np.int32)
    ids = np.arange(1, tokens + 1, dtype=np.int32) % base.model.config.get_text_config().vocab_size
    row = TrainRow(id="", ids=ids, at=at)

    def step() -> None:
        losses, _ = token_losses(selected, [row], base.device)
        torch.autograd.backward(losses.sum())

    return peak_bytes(step)


def _what_fits(need: Need, there: int, count: int, longest: TrainRow, most: int) -> str:
    """The largest micro-batch that fits; else how long a row may be."""
    for rows in range(count - 1, 0, -1):
        if need.of(rows, len(longest), most) <= there:
            return f"--micro-batch {rows} fits"
    for tokens in range(len(longest) // 16 * 16, 15, -16):
        if need.of(1, tokens, min(most, tokens)) <= there:
            return f"--micro-batch 1 --max-length {tokens} fits"
    return "take a smaller base or --load-4bit, or free some memory"


def free_bytes(base: ResidentBase) -> int:
    """Memory that a step may still take on the base's device."""
    import torch

    if base.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(base.device)
        spare = torch.cuda.memory_reserved(base.device) - torch.cuda.memory_allocated(base.device)
        return int(free) + spare
    return _free_main_memory()


def _free_main_memory() -> int:
    """What the machine has left, or less where this process's group is limited."""
    found = []
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(one for one in lines if one.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 1024)
    for limit, used in _CGROUP_FILES:
        with suppress(OSError, ValueError):
            most = int(Path(limit).read_text(encoding="ascii"))
            found.append(max(0, most - int(Path(used).read_text(encoding="ascii"))))
    return min(found, default=2**63)


_V1, _V2 = "/sys/fs/cgroup/memory/", "/sys/fs/cgroup/"
_CGROUP_FILES = (
    (_V2 + "memory.max", _V2 + "memory.current"),
    (_V1 + "memory.limit_in_bytes", _V1 + "memory.usage_in_bytes"),
)
