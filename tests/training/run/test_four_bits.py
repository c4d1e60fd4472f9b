"""A base in four bits teaches the same whether or not it has been evaluated before."""

from __future__ import annotations

from pathlib import Path

import torch

from sekft_engine.model.resident import ResidentBase
from tests.models import weights_digest
from tests.training.conftest import RECIPE

IDS = torch.tensor([[1, 520, 9531, 198, 2, 17]])


def gradients(base: ResidentBase) -> list[torch.Tensor]:
    weights = base.trainable("a")
    torch.manual_seed(0)
    base.model(input_ids=IDS, labels=IDS).loss.backward()
    found = [weight.grad.clone() for weight in weights if weight.grad is not None]
    for weight in weights:
        weight.grad = None
    assert len(found) == len(weights)
    return found


def test_an_eval_changes_neither_weights_nor_gradients(tiny_base: Path) -> None:
    base = ResidentBase.load(tiny_base, load_4bit=True)
    digest = weights_digest(base)
    base.new_adapter("a", RECIPE)
    with torch.no_grad():
        for weight in base.trainable("a"):  # with a second matrix of zeros the first learns nothing
            weight.add_(0.01)
    before = gradients(base)
    base.activate("a")
    with torch.no_grad():
        base.model(input_ids=IDS)
    after = gradients(base)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert weights_digest(base) == digest
