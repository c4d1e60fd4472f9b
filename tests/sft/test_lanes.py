"""The halves of a pass side by side: the sums of one pass, whatever the threads do."""

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

from sekft_engine.base import ResidentBase
from sekft_engine.loading import load_model
from sekft_engine.sft import loss, passes
from sekft_engine.sft.data import Data, TrainRow
from sekft_engine.sft.lanes import lanes_on, side_by_side
from sekft_engine.sft.last_block import Places
from sekft_engine.sft.loop import Trainer
from sekft_engine.sft.loss import selected_logits
from sekft_engine.sft.passes import Passes
from sekft_engine.sft.recompute import blocks_of
from tests.sft.conftest import RECIPE, equal, train_three_steps


@pytest.fixture(autouse=True)
def _two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on two cores, with groups that are halved whether it pays for rows as short as these."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr("sekft_engine.sft.batches.WORTH", 1.99)
    yield
    torch.set_num_threads(before)


#: Passes of a whole step, so that there is something to halve.
trained = partial(train_three_steps, micro_batch=4)


def test_parts_run_at_the_same_time_on_their_share_of_the_threads() -> None:
    meet = threading.Barrier(2, timeout=30)

    def work(number: int) -> tuple[int, int, str]:
        meet.wait()
        return number, torch.get_num_threads(), threading.current_thread().name

    (first, own, name), (second, others, other_name) = side_by_side(work, [1, 2])
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
        side_by_side(work, [2, 1])
    assert ended == [2]
    assert torch.get_num_threads() == 2


def test_threads_that_cannot_be_shared_out_evenly_make_one_pass() -> None:
    assert lanes_on(torch.device("cpu")) == 2
    assert lanes_on(torch.device("cuda")) == 1
    torch.set_num_threads(3)
    assert lanes_on(torch.device("cpu")) == 1


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_two_runs_are_the_same_bits_and_one_lane_gives_the_same_sums(
    dropout: float, base: ResidentBase, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, weights, trainer = trained(base, data, dropout=dropout)
    assert trainer._passes.lanes == 2
    again_steps, again, _ = trained(base, data, dropout=dropout)
    assert steps == again_steps
    assert equal(weights, again)
    monkeypatch.setattr(passes, "lanes_on", lambda _device: 1)
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
    norm = type(blocks_of(load_model(tiny_base))[0].input_layernorm)
    own = norm.forward

    def noisy(self: Any, states: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = own(self, states)
        return torch.nn.functional.dropout(normed, 0.1, training=self.training)

    monkeypatch.setattr(norm, "forward", noisy)
    monkeypatch.setattr("sekft_engine.sft.fused.quick_forward", lambda _module: None)
    base = ResidentBase.load(tiny_base)  # one that is so from the beginning
    steps, weights, trainer = trained(base, data)
    assert trainer._passes.lanes == 1
    monkeypatch.setattr(passes, "lanes_on", lambda _device: 1)
    alone_steps, alone, _ = trained(base, data)
    assert steps == alone_steps
    assert equal(weights, alone)


def test_memory_that_does_not_suffice_in_one_lane_adds_nothing(
    base: ResidentBase, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    base.new_adapter("a", RECIPE)
    weights = base.trainable("a")
    both = Passes(selected_logits(base.model), weights, base.device)
    real = loss.token_losses

    def cramped(selected: Any, rows: Sequence[TrainRow], device: Any) -> Any:
        if threading.current_thread().name.startswith("lane"):
            raise MemoryError
        return real(selected, rows, device)

    monkeypatch.setattr(passes, "token_losses", cramped)
    with pytest.raises(MemoryError):
        both.add_gradients(data.train[:4], 1)
    assert all(weight.grad is None for weight in weights)


def test_held_out_rows_are_measured_in_lanes_too(base: ResidentBase, data: Data) -> None:
    base.new_adapter("a", RECIPE)
    selected = selected_logits(base.model)
    both = Passes(selected, base.trainable("a"), base.device)
    base.model.eval()
    total, count = both.losses(data.train[:5])
    each = [both.losses([row]) for row in data.train[:5]]
    assert count == sum(number for _, number in each) == sum(row.trained for row in data.train[:5])
    assert total == pytest.approx(sum(some for some, _ in each), rel=1e-6)


def test_a_place_that_many_rows_want_gets_the_same_gradient_whatever_else_runs() -> None:
    """Rows that begin alike share places. Indexing adds their gradients in the order in which
    threads come by, so bits depended on how busy the machine was."""
    values = torch.randn(1, 60, 576, requires_grad=True)
    columns = torch.arange(60).repeat(40)
    slope = torch.randn(1, len(columns), 576)
    places = Places(torch.zeros_like(columns), columns)
    assert torch.equal(places.of(values), values[:, columns])

    def gradient() -> torch.Tensor:
        (found,) = torch.autograd.grad(places.of(values), values, slope)
        return found

    first = gradient()
    busy = threading.Event()
    others = [threading.Thread(target=_spin, args=(busy,)) for _ in range(3)]
    for other in others:
        other.start()
    try:
        assert all(torch.equal(first, gradient()) for _ in range(50))
    finally:
        busy.set()
        for other in others:
            other.join()


def _spin(until: threading.Event) -> None:
    matrix = torch.randn(200, 200)
    while not until.is_set():
        matrix @ matrix
