"""The product's own training loop, and the same with one saving at a time given up."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import numpy as np

from sekft_engine.data.recipe import Recipe
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records.adapters import AdapterMeta
from sekft_engine.training.trainer import accumulate, loss
from sekft_engine.training.trainer import trainer as loop
from sekft_engine.training.trainer.data import Data, TrainRow
from sekft_engine.training.trainer.loss import TrainedTokenLogits, trained_token_logits
from sekft_engine.training.trainer.packing import Batch, pack
from sekft_engine.training.trainer.trainer import Trainer

RECIPE = Recipe(
    lr=1e-3, schedule="constant", warmup=0, dropout=0, epochs=1, heldout=0, token_losses=0, clip=1.0
)
#: Tokens that a row has after its last trained one, where they are not cut.
TAIL = 32


class Run(msgspec.Struct):
    """Tokens of whole rows (what a person has to train on) per second, and the losses of the steps.

    ``seconds`` are those of the steps but the first, which warms up.
    """

    tokens_per_s: float
    trained_per_s: float
    seconds: float
    losses: list[float]


def run_of(rows: Sequence[TrainRow], batch: int, seconds: float, losses: list[float]) -> Run:
    """A run over ``rows`` of which all steps but the first took ``seconds``."""
    timed = rows[batch:]
    return Run(
        tokens_per_s=sum(map(len, timed)) / seconds,
        trained_per_s=sum(row.trained for row in timed) / seconds,
        seconds=seconds,
        losses=losses,
    )


def sekft(
    base: ResidentBase, rows: Sequence[TrainRow], options: argparse.Namespace, start: Path
) -> Run:
    """The product's own loop, from the adapter in ``start``, which is made where it is not."""
    recipe = msgspec.structs.replace(
        RECIPE,
        batch=options.batch,
        micro_batch=options.micro_batch,
        recompute=options.recompute,
        dropout=options.dropout,
    )
    base.new_adapter("bench", recipe)
    try:
        if not start.exists():
            base.save_adapter("bench", start, AdapterMeta())
        data = Data(train=tuple(rows), heldout=(), dropped={}, digest="", order="")
        trainer = Trainer(base, "bench", data, recipe)
        trainer.plan = [
            list(range(at, at + options.batch)) for at in range(0, len(rows), options.batch)
        ]
        steps = list(trainer.steps())
        trainer.close()
    finally:
        base.drop("bench")
    seconds = sum(step.seconds for step in steps[1:])
    return run_of(rows, options.batch, seconds, [step.loss for step in steps])


def levers(
    base: ResidentBase, rows: list[TrainRow], options: argparse.Namespace, start: Path
) -> Iterator[tuple[str, Run]]:
    """The loop with all savings, then with each given up in turn."""

    def all_logits(self: TrainedTokenLogits, batch: Batch) -> Any:
        logits = self._run(self.model, batch).logits
        trained = logits[torch.from_numpy(batch.rows), torch.from_numpy(batch.columns)]
        targets = torch.from_numpy(batch.targets)
        return torch.nn.functional.cross_entropy(trained.float(), targets, reduction="none")

    import torch

    few = rows[: options.batch * options.lever_steps]
    ends = [
        msgspec.structs.replace(row, ids=np.concatenate([row.ids, row.ids[:TAIL]])) for row in few
    ]
    longest = max(map(len, few))
    filler = np.full(longest, few[0].ids[0], dtype=few[0].ids.dtype)
    padded = [
        msgspec.structs.replace(row, ids=np.concatenate([row.ids, filler[len(row) :]]))
        for row in few
    ]
    one = argparse.Namespace(**{**vars(options), "micro_batch": 1})
    again = argparse.Namespace(**{**vars(options), "recompute": "always"})

    def measured(
        given: list[TrainRow] = few,
        settings: argparse.Namespace = options,
        changes: Sequence[tuple[Any, str, Any]] = (),
    ) -> Run:
        with ExitStack() as stack:
            for owner, name, value in changes:
                stack.enter_context(mock.patch.object(owner, name, value))
            run = sekft(base, given, settings, start)
        return run_of(few, options.batch, run.seconds, run.losses)

    def padded_logits(model: Any) -> TrainedTokenLogits:
        logits = trained_token_logits(model)
        logits.packs = False
        return logits

    yield "none", measured()
    yield (
        "rows padded, not packed",
        measured(changes=[(loop, "trained_token_logits", padded_logits)]),
    )
    yield (
        "beginnings computed again",
        measured(changes=[(loss, "pack", partial(pack, min_shared=1 << 30))]),
    )
    yield (
        "layers with backwards of their own",
        measured(changes=[(loss, "fused_linears", lambda _model: ())]),
    )
    yield (
        "halves side by side",
        measured(changes=[(accumulate, "parallel_parts", lambda _device: 1)]),
    )
    yield "logits at every token", measured(changes=[(TrainedTokenLogits, "losses", all_logits)])
    yield f"{TAIL} tokens after the last trained", measured(ends)
    yield "all rows as long as the longest", measured(padded)
    yield "one row per pass", measured(settings=one)
    yield "activations computed again", measured(settings=again)
