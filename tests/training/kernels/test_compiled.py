"""Blocks that are compiled give what they give otherwise, and a run goes on where that fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import torch

from sekft_engine.model.kernels import compiled
from sekft_engine.model.kernels.layers import decoder_layers
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.trainer.data import Data
from sekft_engine.training.trainer.step import Step
from sekft_engine.training.trainer.trainer import Trainer
from tests.training.conftest import RECIPE


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def trained(base: ResidentBase, data: Data) -> Any:
    """Two steps by a recipe: what they told, and their trainer."""

    def train(**changes: Any) -> tuple[list[Step], Trainer]:
        recipe = msgspec.structs.replace(RECIPE, max_steps=2, **changes)
        base.new_adapter("a", recipe)
        try:
            trainer = Trainer(base, "a", data, recipe)
            return list(trainer.steps()), trainer
        finally:
            base.drop("a")

    return train


def test_compiled_blocks_give_the_same_losses_and_leave_the_base_as_it_was(
    base: ResidentBase, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Captured and run as graphs; the kernels themselves take a minute to make.
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    plain, _ = trained(dropout=0.0)
    graphs, trainer = trained(dropout=0.0, compile="always")
    assert trainer.compiles
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    for one, other in zip(plain, graphs, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=1e-5)
        assert other.grad_norm == pytest.approx(one.grad_norm, rel=1e-4)
    assert not any("forward" in vars(layer) for layer in decoder_layers(base.model))


def test_a_compiler_that_fails_is_done_without(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no compiler on this machine")

    monkeypatch.setattr(compiled, "BACKEND", broken)
    plain, _ = trained()
    steps, trainer = trained(compile="always")
    assert not trainer.compiles
    assert [step.loss for step in steps] == [step.loss for step in plain]
