"""The computed memory of steps beside the measured one, on the device where a base is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import torch

from sekft_engine.bases.shape import DecoderShape, read_shape
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.device import device_of, release_memory
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.planning.computed import Computing, computed_step
from sekft_engine.training.run.peak import peak_bytes
from sekft_engine.training.trainer.data import TrainRow
from sekft_engine.training.trainer.loss import token_losses, trained_token_logits
from tests.gpu.bases import RECIPE, Setting, rows_of


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a step, without the base and the optimiser: computed and measured."""

    computed: int
    measured: int

    @property
    def error(self) -> float:
        """By how much the computed size is off, as a share of the measured one."""
        return self.computed / self.measured - 1


def compare(
    base: ResidentBase,
    shape: DecoderShape,
    recipe: Recipe,
    rows: list[TrainRow],
    *,
    recompute: bool = False,
) -> Compared:
    """Compute and measure one pass over ``rows``, forward and back."""
    computing = computing_of(base)
    memory = computed_step(shape, recipe, computing, load_4bit=base.quantised, recompute=recompute)
    base.new_adapter("measured", recipe)
    try:
        weights = base.trainable("measured")
        measured = peak_of_pass(base.model, rows, recompute=recompute)
        size = memory.size_of(rows)
        computed = memory.bytes_of(size) - round(memory.fixed)
        for weight in weights:
            weight.grad = None
    finally:
        base.drop("measured")
        release_memory()
    return Compared(computed=computed, measured=measured)


def computing_of(base: ResidentBase) -> Computing:
    """How this base computes."""
    dtype = next(
        parameter.dtype for parameter in base.model.parameters() if parameter.is_floating_point()
    )
    return Computing(device="cuda" if base.device.type == "cuda" else "cpu", width=dtype.itemsize)


def peak_of_pass(model: Any, rows: list[TrainRow], *, recompute: bool) -> int:
    """The most bytes of tensors that a pass over ``rows`` makes, forward and back, when there are
    gradients of an earlier pass, to which it adds."""
    device = next(model.parameters()).device
    logits = trained_token_logits(model)
    logits.recompute = recompute

    def step(rows: list[TrainRow] = rows) -> None:
        with logits.kernels:
            losses, _ = token_losses(logits, rows)
            torch.autograd.backward(losses.sum())

    step([TrainRow(id="", ids=rows[0].ids[:16], at=np.arange(4, 8, dtype=np.int32))])
    if device.type == "cuda":  # what torch's allocator says, workspaces of kernels included
        release_memory()
        torch.cuda.reset_peak_memory_stats()
        before, _ = device_of(device).tensor_bytes()
        step()
        return device_of(device).tensor_bytes()[1] - before
    with ThreadPoolExecutor(max_workers=1) as fresh:  # a thread that holds no buffers yet
        return fresh.submit(peak_bytes, step).result()


#: Recipes that differ in what a step holds.
RECIPES = {
    "plain": RECIPE,
    "rank 64": msgspec.structs.replace(RECIPE, rank=64),
    "dropout": msgspec.structs.replace(RECIPE, dropout=0.1),
    "attention only": msgspec.structs.replace(RECIPE, targets="q_proj,k_proj,v_proj,o_proj"),
}


def compared(setting: Setting) -> dict[str, dict[str, Any]]:
    """All comparisons of a setting: recipes, with and without recomputation, whole and in NF4."""
    found: dict[str, dict[str, Any]] = {}
    for load_4bit in (False, True):
        base = setting.load(setting.small, load_4bit=load_4bit)
        shape = read_shape(base.path)
        rows = rows_of(base, 2 if setting.tiny else 4, 320 if setting.tiny else 1500)
        for name, recipe in RECIPES.items():
            for recompute in (False, True):
                item = compare(base, shape, recipe, rows, recompute=recompute)
                key = name + (", NF4" if load_4bit else "") + (", recomputed" if recompute else "")
                found[key] = {
                    "computed_mib": item.computed / 2**20, "measured_mib": item.measured / 2**20,
                    "error": item.error,
                }  # fmt: skip
        del base
        release_memory()
    return found
