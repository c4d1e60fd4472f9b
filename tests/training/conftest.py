"""A resident tiny base, and rows to train it on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from sekft_engine.cli.main import run as run_command
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.trainer.data import Data, load_data
from sekft_engine.training.trainer.step import Step
from sekft_engine.training.trainer.trainer import Trainer
from tests.training.sessions import write_sessions

Sekft = Callable[..., tuple[int, str, str]]

#: Small and eager: a few steps show an effect.
RECIPE = Recipe(rank=4, alpha=8, lr=0.01, batch=4, micro_batch=2, epochs=1, heldout=0.25)


@pytest.fixture(scope="session")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 16 short trajectories."""
    return write_sessions(tmp_path_factory.mktemp("data") / "trajectories", 16)


@pytest.fixture(scope="session")
def loaded(tiny_base: Path) -> ResidentBase:
    return ResidentBase.load(tiny_base)


@pytest.fixture
def base(loaded: ResidentBase) -> Iterator[ResidentBase]:
    """The tiny base without any adapter."""
    yield loaded
    for name in loaded.adapters:
        loaded.drop(name)


@pytest.fixture(scope="session")
def data(loaded: ResidentBase, sessions: Path) -> Data:
    return load_data(str(sessions), "", loaded.tokenizer, RECIPE)


def train_three_steps(
    base: ResidentBase, data: Data, **changes: Any
) -> tuple[list[Step], list[torch.Tensor], Trainer]:
    """What three steps told, but for their seconds, the weights they ended in, and the trainer."""
    recipe = msgspec.structs.replace(RECIPE, **{"dropout": 0.1, "max_steps": 3} | changes)
    base.new_adapter("a", recipe)
    try:
        trainer = Trainer(base, "a", data, recipe)
        told = [msgspec.structs.replace(step, seconds=0.0) for step in trainer.steps()]
        return told, [weight.detach().clone() for weight in trainer.weights], trainer
    finally:
        base.drop("a")


def equal(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> bool:
    """Whether all are the same bits."""
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Sekft:
    """Type a command where one is: exit status, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("SEKFT_WORKSPACE", raising=False)

    def sekft(*words: str) -> tuple[int, str, str]:
        capfdbinary.readouterr()
        status = run_command(words)
        out, err = capfdbinary.readouterr()
        return status, out.decode(), err.decode()

    return sekft
