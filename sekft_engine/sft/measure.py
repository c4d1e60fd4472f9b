"""Measure the loss of each trained token without and with an adapter, disturbing nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from sekft_engine.base import ResidentBase
from sekft_engine.errors import JobFailed
from sekft_engine.recipe import Recipe
from sekft_engine.sft.batches import plan_steps
from sekft_engine.sft.data import Data, TrainRow
from sekft_engine.sft.loss import Selected, selected_logits, token_losses
from sekft_engine.sft.memory import free_memory, out_of_memory
from sekft_engine.sft.token_loss import DECIMALS, Part, TokenLosses, ids_digest

#: Most tokens of one forward pass, but for a single longer row: enough to keep a processor busy,
#: and few enough that progress is seen and a request to stop is heard.
TOKENS = 1024
#: Rows share a forward pass only where padding makes up no more than this share of it.
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
    """The losses of ``rows`` under the bare base and under its adapter ``name``, a few rows at a
    time, shortest first.

    Nothing is drawn at random and nothing stays changed, so that this may run between two steps
    of a training: the active adapter, what is trainable, gradients and the mode of each module
    are afterwards what they were.

    Args:
        adapter: the digest to record of the adapter's weights.
        parts: by trajectory id, what the rows were to the run.
        leave: asked between forward passes; True ends the measurement.

    Raises:
        JobFailed: a loss is not a finite number; names the trajectory.
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
            free_memory()
            continue
        yield [
            TokenLosses(
                id=row.id,
                render=render,
                ids_digest=ids_digest(row),
                adapter=adapter,
                part=(parts or {}).get(row.id, ""),
                positions=(row.at + 1).tolist(),
                before=_kept(before, row, "the bare base"),
                after=_kept(after, row, "the adapter"),
            )
            for row, before, after in zip(group, *found, strict=True)
        ]


def choose_measured(data: Data, recipe: Recipe) -> list[tuple[TrainRow, Part]]:
    """Which trajectories the end of a run measures: the recipe's number, half of them held out,
    the others of those that were trained on, by its seed; more of one where the other is short."""
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
    """Whatever is activated inside, the base is left as it was found."""
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
        selected = selected_logits(base.model)
        before = _losses(selected, base, rows)
        base.activate(name)
        return before, _losses(selected, base, rows)


def _losses(selected: Selected, base: ResidentBase, rows: Sequence[TrainRow]) -> list[list[float]]:
    """One list per row, in nats."""
    losses, _ = token_losses(selected, rows, base.device)
    values = losses.double().cpu().tolist()
    ends = np.cumsum([row.trained for row in rows]).tolist()
    return [values[end - row.trained : end] for row, end in zip(rows, ends, strict=True)]


def _kept(losses: list[float], row: TrainRow, whose: str) -> list[float]:
    if not np.isfinite(losses).all():
        raise JobFailed(
            f"the loss of {whose} is not finite on this trajectory",
            where=row.id,
            mend="train again at a lower learning rate",
        )
    return [round(loss, DECIMALS) + 0.0 for loss in losses]  # + 0.0: there is no minus nothing


def _groups(rows: Sequence[TrainRow]) -> list[list[TrainRow]]:
    """Rows of similar length together, as many as one forward pass takes."""
    groups: list[list[TrainRow]] = []
    for row in sorted(rows, key=lambda row: (len(row), row.id)):
        group = [*groups[-1], row] if groups else [row]
        padded = len(row) * len(group)
        if groups and padded <= TOKENS and padded - sum(map(len, group)) <= PADDING * padded:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups
