"""What a step takes of memory, told before the run: what cannot fit is refused, with what would.

A few short passes are measured, forward and backward, and their peaks are extrapolated to the
heaviest pass of the run: a fixed part, one that grows with the tokens, one with the squares of the
rows' lengths (attention that holds all its weights), and one with the tokens that are trained. Two
halves of a pass that go side by side are held at once, each with gradients of its own.
Where that does not fit, the same is measured with activations that are computed again.

Decoder and head have their peaks at different moments, and which is the higher one depends on the
length. So they are measured apart, and added up: an upper bound of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from heapq import nlargest
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from sekft_engine.base import ResidentBase
from sekft_engine.errors import Unavailable
from sekft_engine.recipe import Recipe
from sekft_engine.sft.batches import halves, plan_steps, split_rows
from sekft_engine.sft.cross_entropy import MOST_LOGITS
from sekft_engine.sft.data import TrainRow
from sekft_engine.sft.lanes import lanes_on
from sekft_engine.sft.loss import Selected, selected_logits, token_losses
from sekft_engine.sft.memory import free_memory
from sekft_engine.sft.packing import pack, pad
from sekft_engine.sft.peak import peak_bytes
from sekft_engine.sft.ranks import ALONE, Ranks
from sekft_engine.sft.recompute import RECOMPUTED, blocks_of

#: Tokens of the passes through the decoder alone. Attention by blocks of 128 queries, as some
#: processors have it for rows that are not too long, holds a whole square of weights for one block
#: and little more than half of it for many: only whole numbers of blocks show how it grows. Longer
#: rows hold no weights there; what they need is estimated several times too high.
LENGTHS = (128, 256, 384)
#: Tokens of the two passes through decoder and head, and how many of them are trained: half and
#: all. Where the head does not have the peak even with all of them trained, it never has.
HEAD_TOKENS, TRAINED = 48, (23, 47)
#: Passes of a run that are looked at for the heaviest one.
LOOKED_AT = 32
#: The name of the adapter that is measured.
_NAME = "probing"
GIB = 2**30


class Load(NamedTuple):
    """What a pass goes over: tokens, the sum of the squares of its rows' lengths, how many of the
    tokens are trained, and in how many lanes."""

    tokens: int
    squares: int
    trained: int
    lanes: int = 1


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a step: ``fixed``, ``per_token``, ``per_square`` of the tokens of one row,
    ``per_trained`` token, of which ``at_once`` have logits at the same time, and ``per_lane`` of
    those that a pass can go in at a time."""

    fixed: float
    per_token: float
    per_square: float
    per_trained: float
    at_once: int
    packs: bool
    per_lane: float = 0.0
    lanes: int = 1

    def of(self, load: Load) -> int:
        """What a pass over so much takes."""
        logits = self.per_trained * min(load.trained, self.at_once * load.lanes)
        gradients = self.per_lane * load.lanes if load.lanes > 1 else 0
        tokens, squares = self.per_token * load.tokens, self.per_square * load.squares
        return round(self.fixed + tokens + squares + logits + gradients)

    def load(self, rows: Sequence[TrainRow]) -> Load:
        """What a pass over these rows goes over: streams of them, or all padded to the longest."""
        parts = halves(rows, shared=self.packs) if self.lanes > 1 else [rows]
        padded = (len(part) * max(len(row) for row in part) for part in parts)
        return Load(
            tokens=sum(pack(part).ids.size for part in parts) if self.packs else sum(padded),
            squares=sum(len(row) ** 2 for row in rows),
            trained=sum(row.trained for row in rows),
            lanes=len(parts),
        )


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How a run's steps fit into memory, and what is to be expected as a line for the log."""

    recompute: bool
    told: str


def refuse_too_much(
    base: ResidentBase,
    rows: Sequence[TrainRow],
    recipe: Recipe,
    ranks: Ranks = ALONE,
    *,
    others_load: bool = True,
) -> Fit:
    """Measure how the steps of a run fit: as they are, or with activations that are computed again
    where the recipe leaves that open. Of several processes this is the first one: the longest row
    of a step is its own. ``others_load``: the others have yet to load their bases.

    Raises:
        BadInput: the recipe's targets are none of this base's layers.
        Unavailable: a step cannot fit into the memory that is free; says what would.
    """
    run = _Passes(rows, recipe, ranks)
    taken = (ranks.neighbours - 1) * base.memory() if others_load else 0
    there = free_bytes(base)
    if base.device.type != "cuda":  # processes of one machine share its main memory
        there = max(0, there - taken) // ranks.neighbours
    ways = {"never": (False,), "always": (True,), "auto": (False, True)}[recipe.recompute]
    if not blocks_of(base.model):
        ways = (False,)
    needs: list[Need] = []
    for recompute in ways:
        needs.append(measure_need(base, recipe, recompute=recompute))
        heaviest = run.heaviest(needs[-1])
        wanted = needs[-1].of(heaviest)
        told = f"{wanted / GIB:.2f} GiB for a pass over {heaviest.tokens} tokens"
        if wanted <= there:
            why = RECOMPUTED if recompute else "no activations are computed twice"
            if len(needs) > 1:
                why += _without(needs[0], there, run)
            line = f"a step takes up to {told}; {there / GIB:.2f} GiB are free: {why}"
            return Fit(recompute=recompute, told=line)
    raise Unavailable(
        f"a step cannot fit into memory: {told}, and {there / GIB:.2f} GiB are free",
        mend=_what_fits(needs[-1], there, run),
    )


def _without(need: Need, there: int, run: _Passes) -> str:
    """With how many rows a pass would fit even so."""
    count = _rows_that_fit(need, there, run)
    return f" (with --micro-batch {count} they need not be)" if count else ""


class _Passes(NamedTuple):
    """The forward passes of a run in this process."""

    rows: Sequence[TrainRow]
    recipe: Recipe
    ranks: Ranks

    def heaviest(self, need: Need, micro_batch: int = 0) -> Load:
        """The one that takes the most, looked for among the longest ones."""
        passes = (
            group
            for step in plan_steps(len(self.rows), self.recipe)
            for group in split_rows(
                self.ranks.share([self.rows[number] for number in step]),
                micro_batch or self.recipe.micro_batch,
            )
        )
        longest = nlargest(LOOKED_AT, passes, key=lambda group: sum(len(row) for row in group))
        return max(map(need.load, longest), key=need.of)


def measure_need(base: ResidentBase, recipe: Recipe, *, recompute: bool = False) -> Need:
    """Measure passes of a few tokens through the base with an adapter of this recipe."""
    active = base.active
    base.new_adapter(_NAME, recipe)
    try:
        weights = base.trainable(_NAME)
        selected = selected_logits(base.model)
        selected.recompute = recompute
        by_length = [_peak(base, selected, tokens, 1, head=False) for tokens in LENGTHS]
        few, many = (_peak(base, selected, HEAD_TOKENS, trained, head=True) for trained in TRAINED)
        held = sum(weight.numel() * weight.element_size() for weight in weights)
        for weight in weights:
            weight.grad = None
    finally:
        base.drop(_NAME)
        base.activate(active)
        free_memory()
    square, token, fixed = np.polyfit(LENGTHS, by_length, 2)
    trained = max(0.0, (many - few) / (TRAINED[1] - TRAINED[0]))
    return Need(
        # Two moments of the optimiser, and the last good weights.
        fixed=max(0.0, float(fixed)) + 3 * held,
        per_token=max(0.0, float(token)),
        per_square=max(0.0, float(square)),
        per_trained=trained,
        # The logits of a piece are made while those of the piece before are still there.
        at_once=2 * max(1, MOST_LOGITS // base.model.config.get_text_config().vocab_size),
        packs=selected.packs,
        per_lane=held,
        lanes=lanes_on(base.device),
    )


def _peak(base: ResidentBase, selected: Selected, tokens: int, trained: int, *, head: bool) -> int:
    """Peak of a pass over one row: through the decoder, and through the ``head`` too."""
    import torch

    at = np.arange(tokens - 1 - trained, tokens - 1, dtype=np.int32)
    ids = np.arange(1, tokens + 1, dtype=np.int32) % base.model.config.get_text_config().vocab_size
    row = TrainRow(id="", ids=ids, at=at)

    def step() -> None:
        with selected:
            if head:
                out, _ = token_losses(selected, [row], base.device)
            else:
                out = selected.hidden(pack([row]) if selected.packs else pad([row]))
            torch.autograd.backward(out.sum())

    if base.device.type != "cpu":
        return peak_bytes(step)
    # Buffers that a thread keeps for its next pass count too: here it has none from a pass before.
    with ThreadPoolExecutor(max_workers=1) as fresh:
        return fresh.submit(peak_bytes, step).result()


def _what_fits(need: Need, there: int, run: _Passes) -> str:
    """The largest micro-batch that fits; else how long a row may be."""
    if count := _rows_that_fit(need, there, run):
        return f"--micro-batch {count} fits"
    if run.recipe.recompute == "never":
        return "--recompute auto needs less"
    longest = max(run.rows, key=len)
    for tokens in range(len(longest) // 16 * 16, 15, -16):
        if need.of(Load(tokens, tokens**2, min(longest.trained, tokens))) <= there:
            return f"--micro-batch 1 --max-length {tokens} fits"
    return "take a smaller base or --load-4bit, or free some memory"


def _rows_that_fit(need: Need, there: int, run: _Passes) -> int:
    """The largest micro-batch that fits and is smaller than the recipe's; 0 = none."""
    most = min(run.recipe.micro_batch, run.recipe.batch, len(run.rows))
    for count in range(most - 1, 0, -1):
        if need.of(run.heaviest(need, count)) <= there:
            return count
    return 0


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
