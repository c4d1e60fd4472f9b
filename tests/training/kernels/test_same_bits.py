"""Training gives the same bits whatever else the machine does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from sekft_engine.training.trainer.accumulate import GradientAccumulator
from sekft_engine.training.trainer.data import TrainRow
from sekft_engine.training.trainer.loss import gather_tokens, trained_token_logits
from tests.models import tiny_llama
from tests.training.crash import busy_processes

#: Rows that begin alike so far that each place of the beginning is trained many times.
SHARED, OWN, ROWS = 100, 4, 16


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def rows() -> list[TrainRow]:
    beginning = np.arange(SHARED) * 7 % 60
    return [
        TrainRow(
            id=str(number),
            ids=np.concatenate([beginning, (np.arange(OWN) + number) % 60]).astype(np.int32),
            at=np.arange(SHARED + OWN - 1, dtype=np.int32),
        )
        for number in range(ROWS)
    ]


def test_tokens_are_gathered_as_by_indexing() -> None:
    values = torch.randn(3, 20, 8)
    at, columns = torch.tensor([0, 2, 2, 1, 2]), torch.tensor([19, 4, 4, 0, 7])
    assert torch.equal(gather_tokens(values, at, columns), values[at, columns])


@pytest.mark.parametrize("shares", [True, False], ids=["one pass", "two in parallel"])
def test_gradients_are_the_same_bits_beside_busy_processes(
    shares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient of indexing sums what rows give to a shared place in the order in which threads
    arrive."""
    if not shares:  # else two parts, each of which computes the beginning, do not pay
        monkeypatch.setattr("sekft_engine.training.trainer.batches.MAX_OVERHEAD", 1.99)
    torch.manual_seed(0)
    model = LlamaForCausalLM(tiny_llama(vocab_size=64, hidden_size=256)).requires_grad_(
        requires_grad=False
    )
    weight = model.model.layers[0].mlp.down_proj.weight.requires_grad_()
    accumulator = GradientAccumulator(trained_token_logits(model), [weight], weight.device)
    batch = rows()

    def gradient() -> torch.Tensor:
        weight.grad = None
        accumulator.backward(batch, ROWS)
        found: torch.Tensor = weight.grad
        return found

    quiet = gradient()
    with busy_processes(2):
        assert all(torch.equal(quiet, gradient()) for _ in range(3))
