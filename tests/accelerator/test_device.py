"""What the simulated device does as a card does. It stands on an interface of torch that is marked
experimental; where a new version of torch changes that, these tests say so first."""

from __future__ import annotations

import pytest
import torch

from tests.accelerator.simulated import KIND, SimTensor, allocator, record


def test_numbers_are_those_of_the_cpu_and_gradients_lie_on_the_device() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 4)
    x = torch.randn(3, 8)
    layer(x).square().sum().backward()
    moved = torch.nn.Linear(8, 4).to(KIND)
    with torch.no_grad():
        for own, other in zip(moved.parameters(), layer.parameters(), strict=True):
            own.copy_(other)
    moved(x.to(KIND)).square().sum().backward()
    for own, other in zip(moved.parameters(), layer.parameters(), strict=True):
        assert own.grad is not None
        assert other.grad is not None
        assert own.grad.device == torch.device(KIND, 0)
        assert torch.equal(own.grad.cpu(), other.grad)


@pytest.mark.parametrize("make", ["zeros", "ones", "empty", "rand"])
def test_factories_make_tensors_on_it(make: str) -> None:
    made = getattr(torch, make)(2, 3, device=KIND)
    assert isinstance(made, SimTensor)
    assert made.device.type == KIND
    assert torch.arange(4, device=KIND).tolist() == [0, 1, 2, 3]
    assert torch.full((2,), 7, device=KIND).tolist() == [7, 7]


def test_tensors_of_device_and_cpu_do_not_mix() -> None:
    there, here = torch.ones(3, device=KIND), torch.ones(3)
    for operation in (torch.add, torch.mul, torch.maximum):
        with pytest.raises(RuntimeError, match="expected all tensors on sim:0"):
            operation(there, here)
    with pytest.raises(RuntimeError, match="expected all tensors on sim:0"):
        there[torch.tensor([0])]
    assert (there + torch.tensor(1.0)).tolist() == [2.0] * 3, "single numbers may"


def test_views_share_memory_and_writes_are_seen_through_them() -> None:
    whole = torch.zeros(4, device=KIND)
    part = whole[1:3]
    part.fill_(1)
    assert whole.tolist() == [0, 1, 1, 0]
    assert part.untyped_storage()._cdata == whole.untyped_storage()._cdata


def test_what_waits_for_the_device_is_counted() -> None:
    there = torch.ones(3, device=KIND)
    record.clear()
    float(there.sum())
    there.cpu()
    there.nonzero()
    there[there > 0]
    torch.ones(3).to(KIND)
    torch.tensor([1.0], device=KIND)
    assert sum(record.waits.values()) == 6
    record.clear()
    there.add_(1).clone()
    torch.ones(3).to(KIND, non_blocking=True)
    assert not record.waits


def test_its_memory_is_counted_and_runs_out() -> None:
    before = allocator.held
    held = torch.zeros(1000, device=KIND)
    view = held[:10]
    assert allocator.held == before + 4000
    allocator.capacity = before + 5000
    with pytest.raises(torch.OutOfMemoryError):
        torch.zeros(1000, device=KIND)
    del held
    assert allocator.held == before + 4000, "the view holds it"
    del view
    assert allocator.held == before


def test_it_draws_from_a_generator_of_its_own() -> None:
    torch.manual_seed(3)
    first = torch.rand(4, device=KIND)
    torch.manual_seed(3)
    torch.rand(4)
    assert torch.equal(torch.rand(4, device=KIND).cpu(), first.cpu())
    here = torch.get_rng_state()
    torch.rand(4, device=KIND)
    assert torch.equal(torch.get_rng_state(), here)
