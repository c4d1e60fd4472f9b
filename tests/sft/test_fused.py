"""Fused layers are PEFT's and the model's own, computed with less work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from sekft_engine.base import ResidentBase
from sekft_engine.sft import elementwise, fused, products
from sekft_engine.sft.data import Data
from sekft_engine.sft.dropout import draw_kept, kept_share
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


def drops_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torch's dropout and ours drop the same values, by place and shape."""

    def kept(values: torch.Tensor, rate: float) -> torch.Tensor:
        places = torch.arange(values.numel()).mul_(7919) % 1000
        return (places >= 1000 * rate).to(torch.uint8).view(values.shape)

    monkeypatch.setattr(fused, "draw_kept", kept)
    monkeypatch.setattr(fused, "kept_share", lambda rate: 1 - rate)
    monkeypatch.setattr(
        torch.nn.Dropout,
        "forward",
        lambda self, rows: rows * kept(rows, self.p) / (1 - self.p) if self.training else rows,
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
    same(outcome(base, fused_layers, dropout=dropout), theirs)
    differs = not torch.equal(theirs[0], outcome(base, nullcontext)[0])
    assert differs == dropout


@pytest.mark.parametrize("dropout", [False, True])
def test_in_four_bits_too(dropout: bool, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drops_alike(monkeypatch)
    base = ResidentBase.load(tiny_base, load_4bit=True)
    adapted(base, dropout=0.3)
    theirs = outcome(base, nullcontext, dropout=dropout)
    same(outcome(base, fused_layers, dropout=dropout), theirs)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.9])
def test_dropout_drops_the_share_it_is_to_drop(rate: float) -> None:
    torch.manual_seed(3)
    rows = torch.empty(400, 501)
    kept, others = draw_kept(rows, rate), draw_kept(rows, rate)
    assert kept.shape == rows.shape
    assert set(kept.flatten().tolist()) == {0, 1}
    for one in (kept, others):
        assert float(one.double().mean()) == pytest.approx(1 - rate, abs=0.006)
    assert kept_share(rate) == pytest.approx(1 - rate, abs=1e-5)
    both = float((kept * others).double().mean())
    assert both == pytest.approx((1 - rate) ** 2, abs=0.006)  # draws know nothing of each other
    torch.manual_seed(3)
    assert torch.equal(draw_kept(rows, rate), kept)


def test_what_is_dropped_is_never_everything() -> None:
    assert kept_share(0.9999999) > 0


def test_norms_rotations_and_swiglu_of_llamas_kind_are_found(base: ResidentBase) -> None:
    from transformers.models.gemma.modeling_gemma import GemmaMLP, GemmaRMSNorm
    from transformers.models.llama import modeling_llama as llama
    from transformers.models.mistral.modeling_mistral import MistralMLP, MistralRMSNorm

    for kind in (llama.LlamaRMSNorm, MistralRMSNorm):
        assert elementwise._is_norm(kind)
    for kind in (llama.LlamaMLP, MistralMLP):
        assert elementwise._is_swiglu(kind)
    assert not elementwise._is_norm(GemmaRMSNorm)  # its weight is one less
    assert elementwise._is_swiglu(GemmaMLP)  # as far as its activation is SiLU
    assert not elementwise._is_silu(torch.nn.GELU())
    theirs = llama.apply_rotary_pos_emb
    assert elementwise._is_rotary(theirs)
    with fused_layers(base.model), fused_layers(base.model):
        assert llama.apply_rotary_pos_emb is not theirs
    assert llama.apply_rotary_pos_emb is theirs


def test_what_turns_only_a_part_of_each_head_is_left_to_the_model() -> None:
    from transformers.models.nemotron.modeling_nemotron import apply_rotary_pos_emb

    query, key = torch.randn(1, 4, 3, 8), torch.randn(1, 2, 3, 8)
    cos, sin = torch.randn(1, 3, 4), torch.randn(1, 3, 4)
    theirs = apply_rotary_pos_emb(query, key, cos, sin)
    ours = elementwise._rotary(apply_rotary_pos_emb, query, key, cos, sin)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_a_second_pass_back_is_refused_and_not_wrong(base: ResidentBase) -> None:
    adapted(base)
    weights = base.trainable("a")
    with fused_layers(base.model):
        loss = base.model(input_ids=IDS).logits.square().mean()
        torch.autograd.grad(loss, weights, retain_graph=True)
        with pytest.raises(RuntimeError, match="inplace"):
            torch.autograd.grad(loss, weights)


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
