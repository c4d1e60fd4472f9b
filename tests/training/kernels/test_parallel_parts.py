"""Parts of a micro-batch in parallel: the sums of one pass, whatever the threads do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from sekft_engine.model.kernels.layers import decoder_layers
from sekft_engine.model.kernels.parallel_parts import parallel_parts, run_parallel
from sekft_engine.model.loading import load_model
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.trainer import accumulate, loss
from sekft_engine.training.trainer.accumulate import GradientAccumulator
from sekft_engine.training.trainer.data import Data, TrainRow
from sekft_engine.training.trainer.loss import trained_token_logits
from sekft_engine.training.trainer.trainer import Trainer
from tests.training.conftest import RECIPE, equal, train_three_steps


@pytest.fixture(autouse=True)
def _two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on two cores, with groups that are halved whether it pays for rows as short as these."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr("sekft_engine.training.trainer.batches.MAX_OVERHEAD", 1.99)
    yield
    torch.set_num_threads(before)


#: Passes of a whole step, so that there is something to halve.
trained = partial(train_three_steps, micro_batch=4)


def test_parts_run_at_the_same_time_on_their_share_of_the_threads() -> None:
    meet = threading.Barrier(2, timeout=30)

    def work(number: int) -> tuple[int, int, str]:
        meet.wait()
        return number, torch.get_num_threads(), threading.current_thread().name

    (first, own, name), (second, others, other_name) = run_parallel(work, [1, 2])
    assert (first, second) == (1, 2)
    assert (own, others) == (1, 1)
    assert name != other_name
    assert torch.get_num_threads() == 2


def test_what_fails_is_told_when_all_have_ended() -> None:
    ended: list[int] = []

    def work(number: int) -> None:
        if number < 2:
            raise MemoryError(number)
        time.sleep(0.2)
        ended.append(number)

    with pytest.raises(MemoryError, match="1"):
        run_parallel(work, [2, 1])
    assert ended == [2]
    assert torch.get_num_threads() == 2


def test_threads_that_cannot_be_shared_out_evenly_make_one_pass() -> None:
    assert parallel_parts(torch.device("cpu")) == 2
    assert parallel_parts(torch.device("cuda")) == 1
    torch.set_num_threads(3)
    assert parallel_parts(torch.device("cpu")) == 1


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_two_runs_are_the_same_bits_and_one_part_gives_the_same_sums(
    dropout: float, base: ResidentBase, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, weights, trainer = trained(base, data, dropout=dropout)
    assert trainer.accumulator.parts == 2
    again_steps, again, _ = trained(base, data, dropout=dropout)
    assert steps == again_steps
    assert equal(weights, again)
    monkeypatch.setattr(accumulate, "parallel_parts", lambda _device: 1)
    if not dropout:  # whose draws are those of the pass
        alone, _, _ = trained(base, data, dropout=0.0)
        for one, other in zip(steps, alone, strict=True):
            assert one.loss == pytest.approx(other.loss, abs=1e-5)
            assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-3)


def test_activations_that_are_computed_again_give_the_same_bits(
    base: ResidentBase, data: Data
) -> None:
    steps, weights, _ = trained(base, data, dropout=0.1, recompute="never")
    again_steps, again, _ = trained(base, data, dropout=0.1, recompute="always")
    assert steps == again_steps
    assert equal(weights, again)


def test_a_run_that_goes_on_ends_in_the_same_bits(base: ResidentBase, data: Data) -> None:
    steps, weights, _ = trained(base, data, dropout=0.1)
    recipe = msgspec.structs.replace(RECIPE, micro_batch=4, max_steps=3, dropout=0.1)
    base.new_adapter("a", recipe)
    first = Trainer(base, "a", data, recipe)
    next(iter(first.steps()))
    state = {name: tensor.clone() for name, tensor in first.state().items()}
    base.drop("a")
    base.new_adapter("b", recipe)
    second = Trainer(base, "b", data, recipe)
    second.restore(state, 1, 4, recompute=False)
    told = [msgspec.structs.replace(step, seconds=0.0) for step in second.steps()]
    assert told == steps[1:]
    assert equal(second.weights, weights)


def test_a_model_that_draws_by_itself_is_noticed_and_its_passes_are_made_as_one(
    tiny_base: Path, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads would draw from one generator in no order that could be repeated."""
    norm = type(decoder_layers(load_model(tiny_base))[0].input_layernorm)
    own = norm.forward

    def noisy(self: Any, states: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = own(self, states)
        return torch.nn.functional.dropout(normed, 0.1, training=self.training)

    monkeypatch.setattr(norm, "forward", noisy)
    base = ResidentBase.load(tiny_base)  # one that is so from the beginning
    steps, weights, trainer = trained(base, data)
    assert trainer.accumulator.parts == 1
    monkeypatch.setattr(accumulate, "parallel_parts", lambda _device: 1)
    alone_steps, alone, _ = trained(base, data)
    assert steps == alone_steps
    assert equal(weights, alone)


def test_memory_that_does_not_suffice_in_one_part_adds_nothing(
    base: ResidentBase, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    base.new_adapter("a", RECIPE)
    weights = base.trainable("a")
    both = GradientAccumulator(trained_token_logits(base.model), weights, base.device)
    real = loss.token_losses

    def cramped(logits: Any, rows: Sequence[TrainRow]) -> Any:
        if threading.current_thread().name.startswith("part"):
            raise MemoryError
        return real(logits, rows)

    monkeypatch.setattr(accumulate, "token_losses", cramped)
    with pytest.raises(MemoryError):
        both.backward(data.train[:4], 1)
    assert all(weight.grad is None for weight in weights)


def test_held_out_rows_are_measured_in_parts_too(base: ResidentBase, data: Data) -> None:
    base.new_adapter("a", RECIPE)
    logits = trained_token_logits(base.model)
    both = GradientAccumulator(logits, base.trainable("a"), base.device)
    base.model.eval()
    total, count = both.losses(data.train[:5])
    each = [both.losses([row]) for row in data.train[:5]]
    assert count == sum(number for _, number in each) == sum(row.trained for row in data.train[:5])
    assert total == pytest.approx(sum(some for some, _ in each), rel=1e-6)
