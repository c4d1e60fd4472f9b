"""Activations that are computed again: less memory, the same bits."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from sekft_engine.core.errors import Unavailable
from sekft_engine.model.kernels.layers import decoder_layers
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.run.peak import peak_bytes
from sekft_engine.training.trainer import accumulate, loss
from sekft_engine.training.trainer.data import Data, TrainRow
from sekft_engine.training.trainer.loss import token_losses, trained_token_logits
from tests.models import tiny_llama
from tests.training.conftest import equal, train_three_steps


@pytest.fixture
def trained(base: ResidentBase, data: Data) -> Any:
    """Three steps by a recipe: what they told, and the weights they ended in."""
    return partial(train_three_steps, base, data)


def test_steps_are_the_same_bits_dropout_included(trained: Any) -> None:
    steps, weights, plain = trained(recompute="never")
    again_steps, again, trainer = trained(recompute="always")
    assert (plain.recompute, trainer.recompute) == (False, True)
    assert steps == again_steps
    assert equal(weights, again)


def test_less_is_held_and_the_base_stays_as_it_was() -> None:
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(tiny_llama(num_hidden_layers=12, vocab_size=64)).train()
    ids = (np.arange(200, dtype=np.int32) * 7) % 64
    row = TrainRow(id="", ids=ids, at=np.arange(50, 60, dtype=np.int32))
    logits = trained_token_logits(model)

    def step() -> None:
        with logits.kernels:
            losses, _ = token_losses(logits, [row])
            torch.autograd.backward(losses.sum())

    step()  # gradients are there from here on
    whole = peak_bytes(step)
    logits.recompute = True
    assert peak_bytes(step) < whole / 3
    layers = decoder_layers(model)
    assert len(layers) == 12
    assert not any(layer.gradient_checkpointing for layer in layers)


def test_a_step_that_is_short_of_memory_at_one_row_a_pass_computes_again(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, weights, _ = trained(recompute="never", micro_batch=1)
    real = loss.token_losses

    def cramped(logits: Any, rows: Any) -> Any:
        if len(rows) > 1 or not logits.recompute:
            raise MemoryError
        return real(logits, rows)

    monkeypatch.setattr(accumulate, "token_losses", cramped)
    with pytest.raises(Unavailable):
        trained(recompute="never", micro_batch=4)
    _, again, trainer = trained(recompute="auto", micro_batch=4)
    assert (trainer.micro_batch, trainer.recompute) == (1, True)
    assert equal(weights, again)
