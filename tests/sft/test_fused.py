"""Fused layers are PEFT's own, computed with less work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from sekft_engine.base import ResidentBase
from sekft_engine.sft import products
from sekft_engine.sft.data import Data
from sekft_engine.sft.fused import fused_layers
from sekft_engine.sft.short_attention import attend_short
from tests.sft.conftest import RECIPE

IDS = torch.arange(40).reshape(2, 20) * 7 % 400


@pytest.fixture(autouse=True, params=["MKL", "oneDNN"])
def _library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made this machine's processor, both ways are tried."""
    monkeypatch.setattr(products, "by_mkl", lambda: request.param == "MKL")


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


def adapted(base: ResidentBase, **changes: Any) -> None:
    base.new_adapter("a", msgspec.structs.replace(RECIPE, **changes))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in base.trainable("a"):
            weight.add_(0.05 * torch.randn_like(weight))


@pytest.mark.parametrize("targets", ["all-linear", "q_proj,v_proj"])
@pytest.mark.parametrize("dropout", [False, True])
def test_the_same_adapter_gives_the_same_logits_and_gradients(
    targets: str, dropout: bool, base: ResidentBase
) -> None:
    adapted(base, targets=targets, dropout=0.3)
    theirs = outcome(base, nullcontext, dropout=dropout)
    ours = outcome(base, fused_layers, dropout=dropout)
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours[1], theirs[1], atol=1e-6, rtol=1e-4)


def test_in_four_bits_too(tiny_base: Path) -> None:
    base = ResidentBase.load(tiny_base, load_4bit=True)
    adapted(base)
    theirs, ours = outcome(base, nullcontext), outcome(base, fused_layers)
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours[1], theirs[1], atol=1e-6, rtol=1e-4)


def test_the_model_is_as_it_was_afterwards(base: ResidentBase, data: Data) -> None:
    adapted(base)
    base.activate("a")
    before = base.weights_digest()
    plain = base.model(input_ids=IDS).logits
    with fused_layers(base.model), fused_layers(base.model):
        base.activate(None)
        bare = base.model(input_ids=IDS).logits
        base.activate("a")
    assert not any("forward" in module.__dict__ for module in base.model.modules())
    assert base.weights_digest() == before
    assert torch.equal(base.model(input_ids=IDS).logits, plain)
    base.activate(None)
    torch.testing.assert_close(bare, base.model(input_ids=IDS).logits, atol=1e-5, rtol=1e-4)
    base.activate("a")


@pytest.mark.parametrize(("new", "before"), [(300, 0), (150, 40), (1, 5), (7, 0)])
def test_attention_of_short_rows_is_torchs(new: int, before: int) -> None:
    torch.manual_seed(0)
    query = torch.randn(1, new + before, 6, 16).transpose(1, 2).requires_grad_()
    key, value = (
        torch.randn(1, new + before, 2, 16).transpose(1, 2).requires_grad_() for _ in range(2)
    )
    theirs = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=0.3, enable_gqa=True
    )[:, :, before:]
    ours = attend_short(query[:, :, before:], key, value, 0.3)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    slope = torch.randn_like(theirs)
    wanted = torch.autograd.grad(theirs, (query, key, value), slope)
    found = torch.autograd.grad(ours, (query, key, value), slope)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
