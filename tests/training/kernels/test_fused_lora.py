"""Fused linear layers give what PEFT's and the model's own give, with less work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from sekft_engine.model.kernels import fused_lora, matmul
from sekft_engine.model.kernels.dropout import draw_mask, keep_probability
from sekft_engine.model.kernels.fused_lora import fused_linears
from sekft_engine.model.kernels.install import Kernels
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.trainer.data import Data
from tests.models import weights_digest
from tests.training.conftest import RECIPE

IDS = torch.arange(40).reshape(2, 20) * 7 % 400


@pytest.fixture(autouse=True, params=["MKL", "oneDNN"])
def _library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made this machine's processor, both ways are tried."""
    monkeypatch.setattr(matmul, "uses_mkl", lambda: request.param == "MKL")


def outcome(
    base: ResidentBase, context: Callable[[Any], Any], *, dropout: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and the gradient of their squares to the adapter."""
    weights = base.trainable("a")
    base.model.train(dropout)
    torch.manual_seed(5)
    with context(base.model):
        logits = base.model(input_ids=IDS).logits
        gradients = torch.autograd.grad(logits.square().mean(), weights)
    return logits.detach(), torch.cat([one.flatten() for one in gradients])


def fused_kernels(model: Any) -> Kernels:
    return Kernels(lambda: fused_linears(model))


def adapted(base: ResidentBase, **changes: Any) -> None:
    base.new_adapter("a", msgspec.structs.replace(RECIPE, **changes))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in base.trainable("a"):
            weight.add_(0.05 * torch.randn_like(weight))


def drops_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torch's dropout and ours drop the same values, by place and shape."""

    def mask(values: torch.Tensor, p: float) -> torch.Tensor:
        places = torch.arange(values.numel()).mul_(7919) % 1000
        return (places >= 1000 * p).to(torch.uint8).view(values.shape)

    monkeypatch.setattr(fused_lora, "draw_mask", mask)
    monkeypatch.setattr(fused_lora, "keep_probability", lambda p: 1 - p)
    monkeypatch.setattr(
        torch.nn.Dropout,
        "forward",
        lambda self, x: x * mask(x, self.p) / (1 - self.p) if self.training else x,
    )


def same(ours: tuple[torch.Tensor, torch.Tensor], theirs: tuple[torch.Tensor, ...]) -> None:
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours[1], theirs[1], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("targets", ["all-linear", "q_proj,v_proj"])
@pytest.mark.parametrize("dropout", [False, True])
def test_the_same_adapter_gives_the_same_logits_and_gradients(
    targets: str, dropout: bool, base: ResidentBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    drops_alike(monkeypatch)
    adapted(base, targets=targets, dropout=0.3)
    theirs = outcome(base, nullcontext, dropout=dropout)
    same(outcome(base, fused_kernels, dropout=dropout), theirs)
    differs = not torch.equal(theirs[0], outcome(base, nullcontext)[0])
    assert differs == dropout


@pytest.mark.parametrize("dropout", [False, True])
def test_in_four_bits_too(dropout: bool, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drops_alike(monkeypatch)
    base = ResidentBase.load(tiny_base, load_4bit=True)
    adapted(base, dropout=0.3)
    theirs = outcome(base, nullcontext, dropout=dropout)
    same(outcome(base, fused_kernels, dropout=dropout), theirs)


@pytest.mark.parametrize("p", [0.05, 0.3, 0.9])
def test_dropout_drops_the_share_it_is_to_drop(p: float) -> None:
    torch.manual_seed(3)
    x = torch.empty(400, 501)
    mask, another = draw_mask(x, p), draw_mask(x, p)
    assert mask.shape == x.shape
    assert set(mask.flatten().tolist()) == {0, 1}
    for drawn in (mask, another):
        assert float(drawn.double().mean()) == pytest.approx(1 - p, abs=0.006)
    assert keep_probability(p) == pytest.approx(1 - p, abs=1e-5)
    both = float((mask * another).double().mean())
    assert both == pytest.approx((1 - p) ** 2, abs=0.006)  # the draws are independent
    torch.manual_seed(3)
    assert torch.equal(draw_mask(x, p), mask)


def test_dropout_never_drops_everything() -> None:
    assert keep_probability(0.9999999) > 0


def test_a_second_backward_pass_gives_the_same_gradients(base: ResidentBase) -> None:
    adapted(base, dropout=0.3)
    weights = base.trainable("a")
    with fused_kernels(base.model):
        loss = base.model(input_ids=IDS).logits.square().mean()
        first = torch.autograd.grad(loss, weights, retain_graph=True)
        second = torch.autograd.grad(loss, weights)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_the_model_is_as_it_was_afterwards(base: ResidentBase, data: Data) -> None:
    adapted(base)
    base.activate("a")
    before = weights_digest(base)
    plain = base.model(input_ids=IDS).logits
    kernels = fused_kernels(base.model)
    with kernels, kernels:
        base.activate(None)
        bare = base.model(input_ids=IDS).logits
        base.activate("a")
    assert not any("forward" in vars(module) for module in base.model.modules())
    assert weights_digest(base) == before
    assert torch.equal(base.model(input_ids=IDS).logits, plain)
    base.activate(None)
    torch.testing.assert_close(bare, base.model(input_ids=IDS).logits, atol=1e-5, rtol=1e-4)
    base.activate("a")
