"""The training loop: deterministic, honest about NaN, patient with little memory."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
import torch

from sekft_engine.core.errors import Unavailable
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.trainer import accumulate, loss
from sekft_engine.training.trainer.data import Data
from sekft_engine.training.trainer.step import Abandoned, Diverged, Step
from sekft_engine.training.trainer.trainer import Trainer
from tests.models import weights_digest
from tests.training.conftest import RECIPE


def train(base: ResidentBase, data: Data, **changes: Any) -> tuple[list[Step], torch.Tensor]:
    """The steps of one whole run, and the adapter's weights after it."""
    recipe = msgspec.structs.replace(RECIPE, **changes)
    base.new_adapter("a", recipe)
    trainer = Trainer(base, "a", data, recipe)
    try:
        steps = list(trainer.steps())
        return steps, torch.cat([weight.detach().flatten() for weight in trainer.weights])
    finally:
        trainer.close()
        base.drop("a")


def same(step: Step) -> tuple[Any, ...]:
    return step.loss, step.lr, step.grad_norm, step.trained_tokens


def test_the_same_seed_gives_the_same_run_bit_for_bit(base: ResidentBase, data: Data) -> None:
    first, weights = train(base, data, dropout=0.1)
    again, same_weights = train(base, data, dropout=0.1)
    assert [same(step) for step in first] == [same(step) for step in again]
    assert torch.equal(weights, same_weights)
    other, other_weights = train(base, data, dropout=0.1, seed=1)
    assert [same(step) for step in first] != [same(step) for step in other]
    assert not torch.equal(weights, other_weights)


def test_the_loss_falls(base: ResidentBase, data: Data) -> None:
    steps, _ = train(base, data, epochs=6)
    assert steps[-1].loss < steps[0].loss - 0.3


def test_only_the_adapter_learns(base: ResidentBase, data: Data) -> None:
    before = weights_digest(base)
    for seed in range(3):
        train(base, data, seed=seed)
    assert weights_digest(base) == before


def test_a_loss_that_explodes_stops_the_run_naming_the_trajectory(
    base: ResidentBase, data: Data
) -> None:
    recipe = msgspec.structs.replace(RECIPE, lr=1e30, warmup=0.0, clip=0.0, epochs=4)
    base.new_adapter("a", recipe)
    trainer = Trainer(base, "a", data, recipe)
    done: list[Step] = []
    with pytest.raises(Diverged, match=r"not finite at step \d+, trajectory session-\d+"):
        done.extend(trainer.steps())
    assert all(torch.isfinite(weight).all() for weight in trainer.weights)
    heldout, tokens = trainer.heldout_loss()
    assert math.isfinite(heldout), "the weights that are kept still give a loss"
    assert tokens > 0
    trainer.close()


def test_one_bad_trajectory_is_the_one_that_is_named(
    base: ResidentBase, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = data.train[3].id
    real = loss.token_losses

    def poisoned(logits: Any, rows: Any) -> Any:
        losses, owners = real(logits, rows)
        places = torch.tensor([rows[int(owner)].id == bad for owner in owners])
        return losses.masked_fill(places, float("inf")), owners

    monkeypatch.setattr(accumulate, "token_losses", poisoned)
    with pytest.raises(Diverged) as caught:
        train(base, data)
    assert f"trajectory {bad};" in str(caught.value)


def test_too_little_memory_halves_the_forward_passes_and_nothing_else(
    base: ResidentBase, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, weights = train(base, data, dropout=0.0, micro_batch=1)
    real = loss.token_losses

    def cramped(logits: Any, rows: Any) -> Any:
        if len(rows) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(logits, rows)

    monkeypatch.setattr(accumulate, "token_losses", cramped)
    steps, same_weights = train(base, data, dropout=0.0, micro_batch=4)
    assert [same(step) for step in steps] == [same(step) for step in plain]
    assert torch.equal(weights, same_weights)


def test_memory_that_never_suffices_is_told_with_step_and_trajectory(
    base: ResidentBase, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(accumulate, "token_losses", full)
    wanted = r"does not suffice for step 1, trajectory session-\d+ of \d+ tokens.*--max-length"
    with pytest.raises(Unavailable, match=wanted) as caught:
        train(base, data)
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


def test_a_step_that_is_abandoned_changes_nothing(base: ResidentBase, data: Data) -> None:
    asked = iter([False] * 5)
    base.new_adapter("a", RECIPE)
    trainer = Trainer(base, "a", data, RECIPE, leave=lambda: next(asked, True))
    steps = trainer.steps()
    next(steps)
    next(steps)
    before = [weight.detach().clone() for weight in trainer.weights]
    with pytest.raises(Abandoned):
        next(steps)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.weights, strict=True))
    trainer.close()
    assert not any(weight.requires_grad for weight in base.model.parameters())
