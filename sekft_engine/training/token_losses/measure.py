"""Measure the loss of each trained token without and with an adapter, without side effects."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from sekft_engine.core.errors import JobFailed
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.device import out_of_memory, release_memory
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.token_losses.losses import (
    DECIMALS,
    Part,
    TokenLosses,
    ids_digest,
)
from sekft_engine.training.trainer.batches import plan_steps
from sekft_engine.training.trainer.data import Data, TrainRow
from sekft_engine.training.trainer.loss import (
    TrainedTokenLogits,
    token_losses,
    trained_token_logits,
)

#: Most tokens of one forward pass, except for a single longer row: enough to keep a processor busy,
#: few enough for regular progress and a quick stop.
TOKENS = 1024
#: The largest share of padding in a forward pass.
PADDING = 0.2


def measure(
    base: ResidentBase,
    name: str,
    rows: Sequence[TrainRow],
    *,
    adapter: str,
    parts: Mapping[str, Part] | None = None,
    leave: Callable[[], bool] = lambda: False,
) -> Iterator[list[TokenLosses]]:
    """Yield the losses of ``rows`` without and with the adapter ``name``, a few rows at a time.

    The shortest rows come first.

    No random number is drawn and all state is restored (active adapter, trainable weights,
    gradients, the mode of each module), so this may run between two training steps.

    Args:
        adapter: the digest of the adapter, to be recorded.
        parts: the part of the run's data by trajectory id.
        leave: called between forward passes; True ends the measurement.

    Raises:
        JobFailed: a loss is not finite; the error names the trajectory.
    """
    waiting = _groups(rows)
    render = base.tokenizer.render_digest
    while waiting:
        if leave():
            return
        group = waiting.pop(0)
        try:
            found = _both(base, name, group)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or len(group) == 1:
                raise
            half = len(group) // 2
            waiting[:0] = [group[:half], group[half:]]
            release_memory()
            continue
        yield [
            TokenLosses(
                id=row.id,
                render=render,
                ids_digest=ids_digest(row),
                adapter=adapter,
                part=(parts or {}).get(row.id, ""),
                positions=(row.at + 1).tolist(),
                before=_rounded(before, row, "the bare base"),
                after=_rounded(after, row, "the adapter"),
            )
            for row, before, after in zip(group, *found, strict=True)
        ]


def choose_measured(data: Data, recipe: Recipe) -> list[tuple[TrainRow, Part]]:
    """The rows that are measured at the end of a run, chosen by the recipe's seed.

    Half of them are held-out rows, half training rows; more of one kind if the other is short.
    """
    visited = sorted({row for batch in plan_steps(len(data.train), recipe) for row in batch})
    count = recipe.token_losses
    aside = min(len(data.heldout), max((count + 1) // 2, count - len(visited)))
    return [
        *((data.heldout[row], "heldout") for row in _some(len(data.heldout), aside, recipe.seed)),
        *((data.train[visited[n]], "train")
          for n in _some(len(visited), count - aside, recipe.seed)),
    ]  # fmt: skip


def _some(count: int, wanted: int, seed: int) -> list[int]:
    chosen = np.random.default_rng([seed, 3]).permutation(count)[: max(0, wanted)]
    return sorted(int(number) for number in chosen)


@contextlib.contextmanager
def undisturbed(base: ResidentBase) -> Iterator[None]:
    """A context after which the base is in the state it had before."""
    active = base.active
    modes = [(module, module.training) for module in base.model.modules()]
    trainable = [(tensor, tensor.requires_grad) for tensor in base.model.parameters()]
    try:
        yield
    finally:
        base.activate(active)
        for tensor, wanted in trainable:
            tensor.requires_grad_(requires_grad=wanted)
        for module, mode in modes:
            module.training = mode


def _both(
    base: ResidentBase, name: str, rows: Sequence[TrainRow]
) -> tuple[list[list[float]], list[list[float]]]:
    import torch

    with undisturbed(base), torch.no_grad():
        base.activate(None)
        logits = trained_token_logits(base.model)
        before = _losses(logits, rows)
        base.activate(name)
        return before, _losses(logits, rows)


def _losses(logits: TrainedTokenLogits, rows: Sequence[TrainRow]) -> list[list[float]]:
    """The losses of the trained tokens in nats, one list per row."""
    losses, _ = token_losses(logits, rows)
    values = losses.double().cpu().tolist()
    ends = np.cumsum([row.trained for row in rows]).tolist()
    return [values[end - row.trained : end] for row, end in zip(rows, ends, strict=True)]


def _rounded(losses: list[float], row: TrainRow, whose: str) -> list[float]:
    if not np.isfinite(losses).all():
        raise JobFailed(
            f"the loss of {whose} is not finite on this trajectory",
            where=row.id,
            mend="train again at a lower learning rate",
        )
    return [round(loss, DECIMALS) + 0.0 for loss in losses]  # + 0.0 turns -0.0 into 0.0


def _groups(rows: Sequence[TrainRow]) -> list[list[TrainRow]]:
    """Rows grouped by similar length, each group for one forward pass."""
    groups: list[list[TrainRow]] = []
    for row in sorted(rows, key=lambda row: (len(row), row.id)):
        group = [*groups[-1], row] if groups else [row]
        padded = len(row) * len(group)
        if groups and padded <= TOKENS and padded - sum(map(len, group)) <= PADDING * padded:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups
