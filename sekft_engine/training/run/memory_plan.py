"""Predict the memory of a step before the run; refuse what cannot fit, and suggest what would.

Where the memory computed from the base's shape is at most half of what is free, nothing is
measured: the measurement could not decide otherwise, and takes longer than several steps. Else the
peak memory of a few short passes, forward and backward, is measured and extrapolated to the
heaviest pass of the run: a fixed part, one that grows with the tokens, one with the squares of the
rows' lengths (attention that holds all its weights), and one with the trained tokens. Two parts
that are computed in parallel are held at once, each with gradients of its own. Where that does not
fit, the same is measured with activations that are recomputed.

Decoder and head have their peaks at different moments, and which peak is higher depends on the
length. So they are measured apart and added: an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import msgspec
import numpy as np

from sekft_engine.bases.shape import read_shape
from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.device import device_of, release_memory
from sekft_engine.model.kernels.cross_entropy import MAX_LOGITS
from sekft_engine.model.kernels.layers import decoder_layers
from sekft_engine.model.kernels.parallel_parts import parallel_parts
from sekft_engine.model.kernels.recompute import RECOMPUTED
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.planning.computed import Computing, computed_step
from sekft_engine.training.planning.step import Passes, StepMemory
from sekft_engine.training.run.measured_memory import known_memory, remember_memory
from sekft_engine.training.run.peak import peak_bytes
from sekft_engine.training.trainer.data import TrainRow
from sekft_engine.training.trainer.loss import (
    TrainedTokenLogits,
    token_losses,
    trained_token_logits,
)
from sekft_engine.training.trainer.packing import pack, pad
from sekft_engine.training.trainer.ranks import ALONE, Ranks

#: Tokens of the passes through the decoder alone. Some processors compute attention in blocks of
#: 128 queries, so only whole numbers of blocks show how memory grows.
LENGTHS = (128, 256, 384)
#: Tokens of the two passes through decoder and head, and how many of them are trained: half and
#: all. Where the head does not have the peak even with all of them trained, it never has.
HEAD_TOKENS, TRAINED = 48, (23, 47)
#: So many times the computed memory must be free where it is not measured. The computed one is
#: within a tenth of what a step takes; the measured one adds up two peaks, so it may be almost
#: twice as much.
AMPLE = 2
#: The name of the adapter that is measured.
_NAME = "probing"
GIB = 2**30
#: Called with what is done, and how much there is.
Report = Callable[[int, int], None]
#: What was measured in this process, or found on disk.
_KNOWN: dict[tuple[object, ...], StepMemory] = {}


def _unreported(done: int, total: int) -> None:
    del done, total


class MemoryPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Whether to recompute activations, and the expected memory as a log line."""

    recompute: bool
    summary: str


def plan_memory(
    base: ResidentBase,
    rows: Sequence[TrainRow],
    recipe: Recipe,
    ranks: Ranks = ALONE,
    *,
    others_load: bool = True,
    report: Report = _unreported,
) -> MemoryPlan:
    """Decide how the steps of a run fit into memory: directly, or with activations recomputed if
    the recipe allows it. With several processes it runs in the first, which has the longest rows.

    Args:
        others_load: whether the other processes have not loaded their bases yet.
        report: called with the number of passes measured so far, and of those to be measured.

    Raises:
        BadInput: the recipe's targets are not layers of this base.
        Unavailable: a step cannot fit into the free memory; the error suggests what would.
    """
    run = Passes(rows, recipe, ranks)
    bases = (ranks.neighbours - 1) * base.memory() if others_load else 0
    device = device_of(base.device)
    free = device.free_bytes()
    if not device.has_own_memory:  # processes on one machine share its main memory
        free = max(0, free - bases) // ranks.neighbours
    choices = {"never": (False,), "always": (True,), "auto": (False, True)}[recipe.recompute]
    if not decoder_layers(base.model):
        choices = (False,)
    bound = _computed_bound(base, recipe, run, recompute=choices[0])
    if bound is not None and AMPLE * bound <= free:
        text = f"{bound / GIB:.2f} GiB, as computed from the shape of the base"
        return _plan(text, free, recompute=choices[0])
    measured: list[StepMemory] = []
    for recompute in choices:
        measured.append(_measured(base, recipe, recompute=recompute, report=report))
        heaviest = run.heaviest(measured[-1])
        needed = measured[-1].bytes_of(heaviest)
        text = f"{needed / GIB:.2f} GiB for a pass over {heaviest.tokens} tokens"
        if needed <= free:
            besides = _without_recomputing(measured[0], free, run) if len(measured) > 1 else ""
            return _plan(text, free, recompute=recompute, besides=besides)
    raise Unavailable(
        f"a step cannot fit into memory: {text}, and {free / GIB:.2f} GiB are free",
        mend=run.what_fits(measured[-1], free),
    )


def _plan(needed: str, free: int, *, recompute: bool, besides: str = "") -> MemoryPlan:
    why = RECOMPUTED if recompute else "no activations are computed twice"
    summary = f"a step takes up to {needed}; {free / GIB:.2f} GiB are free: {why}{besides}"
    return MemoryPlan(recompute=recompute, summary=summary)


def _computed_bound(
    base: ResidentBase, recipe: Recipe, run: Passes, *, recompute: bool = False
) -> int | None:
    """The most bytes that a step of ``run`` takes, with all rows padded; None = the memory of this
    base is not known in advance."""
    device = device_of(base.device).computed_as
    if not device:
        return None
    try:
        shape = read_shape(base.path)
        memory = computed_step(
            shape,
            recipe,
            _computing_of(base, device),
            load_4bit=base.quantised,
            recompute=recompute,
        )
    except BadInput:  # a family that is not known, or targets that the measurement refuses
        return None
    if shape.weights != base.parameters:
        return None
    padded = msgspec.structs.replace(memory, packs=False)
    return padded.bytes_of(run.heaviest(padded))


def _computing_of(base: ResidentBase, device: Literal["cpu", "cuda"]) -> Computing:
    """How this base computes."""
    dtype = next(
        parameter.dtype for parameter in base.model.parameters() if parameter.is_floating_point()
    )
    return Computing(
        device=device,
        width=dtype.itemsize,
        parts=parallel_parts(base.device),
    )


def _without_recomputing(memory: StepMemory, free: int, run: Passes) -> str:
    """The micro-batch that would fit without recomputing, for the log."""
    count = run.rows_that_fit(memory, free)
    return f" (with --micro-batch {count} they need not be)" if count else ""


def _measured(base: ResidentBase, recipe: Recipe, *, recompute: bool, report: Report) -> StepMemory:
    """:func:`measure_step`, once for the same base and the same shape of adapter."""
    import torch

    key = (
        *(base.digest, base.quantised, str(base.model.dtype), device_of(base.device).description),
        *(recipe.rank, recipe.targets, recipe.dropout),
        *(recompute, torch.get_num_threads()),
    )
    found = _KNOWN.get(key) or known_memory(key)
    if found is None:
        found = measure_step(base, recipe, recompute=recompute, report=report)
        remember_memory(key, found)
    _KNOWN[key] = found
    return found


def measure_step(
    base: ResidentBase, recipe: Recipe, *, recompute: bool = False, report: Report = _unreported
) -> StepMemory:
    """Measure passes of a few tokens through the base with an adapter of this recipe."""
    active = base.active
    base.new_adapter(_NAME, recipe)
    try:
        weights = base.trainable(_NAME)
        logits = trained_token_logits(base.model)
        logits.recompute = recompute
        passes = [(tokens, 1, False) for tokens in LENGTHS]
        passes += [(HEAD_TOKENS, trained, True) for trained in TRAINED]
        peaks = []
        for done, (tokens, trained, head) in enumerate(passes):
            report(done, len(passes))
            peaks.append(_peak(base, logits, tokens, trained, head=head))
        *by_length, few, many = peaks
        held = sum(weight.numel() * weight.element_size() for weight in weights)
        for weight in weights:
            weight.grad = None
    finally:
        base.drop(_NAME)
        base.activate(active)
        release_memory()
    square, token, fixed = np.polyfit(LENGTHS, by_length, 2)
    per_trained = max(0.0, (many - few) / (TRAINED[1] - TRAINED[0]))
    return StepMemory(
        # Two moments of the optimiser, and the last good weights.
        fixed=max(0.0, float(fixed)) + 3 * held,
        per_token=max(0.0, float(token)),
        per_squared_length=max(0.0, float(square)),
        per_trained=per_trained,
        # The logits of a chunk are computed while those of the chunk before still exist.
        logits_at_once=2 * max(1, MAX_LOGITS // base.model.config.get_text_config().vocab_size),
        packs=logits.packs,
        per_part=held,
        parts=parallel_parts(base.device),
    )


def _peak(
    base: ResidentBase, logits: TrainedTokenLogits, tokens: int, trained: int, *, head: bool
) -> int:
    """Peak bytes of a pass over one row: through the decoder, and through the ``head`` too."""
    import torch

    at = np.arange(tokens - 1 - trained, tokens - 1, dtype=np.int32)
    ids = np.arange(1, tokens + 1, dtype=np.int32) % base.model.config.get_text_config().vocab_size
    row = TrainRow(id="", ids=ids, at=at)

    def step() -> None:
        with logits.kernels:
            if head:
                out, _ = token_losses(logits, [row])
            else:
                out = logits.hidden_states(pack([row]) if logits.packs else pad([row]))
            torch.autograd.backward(out.sum())

    if base.device.type != "cpu":
        return peak_bytes(step)
    # Buffers that a thread keeps for its next pass count too: a new thread has none yet.
    with ThreadPoolExecutor(max_workers=1) as fresh:
        return fresh.submit(peak_bytes, step).result()
