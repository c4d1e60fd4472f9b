"""Packed rows are separate rows: the same losses and the same gradients, with fewer tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sekft_engine.model.device import Device
from sekft_engine.model.kernels.attention import PACKED
from sekft_engine.model.kernels.cross_entropy import (
    chunked_cross_entropy,
    cross_entropy,
)
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.trainer.data import Data, TrainRow
from sekft_engine.training.trainer.loss import TrainedTokenLogits, trained_token_logits
from sekft_engine.training.trainer.packing import Batch, pack, pad
from tests.training.conftest import RECIPE


def row(*ids: int) -> TrainRow:
    """All tokens but the first are trained."""
    return TrainRow(
        id="", ids=np.array(ids, dtype=np.int32), at=np.arange(len(ids) - 1, dtype=np.int32)
    )


#: What they have in common: nothing, a beginning, a beginning of a beginning, all, all but an end.
ROWS = (
    row(1, 2, 3, 4, 5, 6, 7, 8),
    row(9, 8, 7),
    row(1, 2, 3, 4, 11, 12),
    row(1, 2, 3, 4, 11, 12, 13, 14, 15),
    row(1, 2, 3, 30),
    row(1, 2, 3, 4, 5, 6, 7, 8),
    row(1, 2, 3, 4, 5, 6),
)


def results(
    base: ResidentBase, logits: TrainedTokenLogits, batches: list[Batch]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The losses of all batches, and the gradient of their sum to the adapter."""
    weights = base.trainable("a")
    base.model.eval()  # no dropout
    losses = torch.cat([logits.losses(batch) for batch in batches])
    with logits.kernels:
        gradients = torch.autograd.grad(losses.sum(), weights)
    return losses.detach(), torch.cat([gradient.flatten() for gradient in gradients])


def padding(model: Any) -> TrainedTokenLogits:
    """The same losses by rows that are padded."""
    logits = trained_token_logits(model)
    logits.packs = False
    return logits


def stirred(base: ResidentBase) -> None:
    """An adapter that has learnt something, so that all its weights have gradients."""
    base.new_adapter("a", RECIPE)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in base.trainable("a"):
            weight.add_(0.05 * torch.randn_like(weight))


@pytest.mark.parametrize("least", [1, 3, 99])
def test_packed_rows_have_the_losses_and_gradients_of_separate_ones(
    least: int, base: ResidentBase
) -> None:
    stirred(base)
    logits = trained_token_logits(base.model)
    assert logits.packs
    separate = results(base, padding(base.model), [pad([one]) for one in ROWS])
    together = results(base, padding(base.model), [pad(ROWS)])
    packed = results(base, logits, [pack(ROWS, min_shared=least)])
    for losses, gradients in (together, packed):
        order = np.argsort(pad(ROWS).owners, kind="stable")
        torch.testing.assert_close(losses[order], separate[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(gradients, separate[1], atol=1e-5, rtol=1e-4)


def test_real_rows_on_the_real_base_too(smollm2: Path, data: Data) -> None:
    base = ResidentBase.load(smollm2)
    stirred(base)
    logits = trained_token_logits(base.model)
    assert logits.packs
    rows = sorted(data.train, key=len)[:3]
    batch = pack(rows)
    assert batch.input_ids.size < sum(map(len, rows)) - len(rows), "they begin alike"
    packed = results(base, logits, [batch])
    separate = results(base, padding(base.model), [pad([one]) for one in rows])
    torch.testing.assert_close(packed[0], separate[0], atol=1e-4, rtol=1e-5)
    apart = float((packed[1] - separate[1]).norm() / separate[1].norm())
    assert apart < 1e-5


def test_no_token_is_there_twice() -> None:
    batch = pack(ROWS, min_shared=2)
    assert batch.layout is not None
    assert batch.layout.own == (7, 2, 1, 3, 0, 0, 0)
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 9, 8, 11, 12, 13, 14]]
    assert batch.position_ids is not None
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 5, 6, 0, 1, 4, 5, 6, 7]]
    assert batch.layout.lengths == [7, 2, 5, 8, 3, 7, 5]


def test_a_model_that_looks_back_only_so_far_is_packed_too(tiny_base: Path) -> None:
    config = AutoConfig.from_pretrained(tiny_base)
    values = {key: config.to_dict()[key] for key in ("hidden_size", "vocab_size")}
    config = AutoConfig.for_model(
        "mistral",
        **values,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        sliding_window=5,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    logits = trained_token_logits(model)
    assert logits.packs
    with torch.no_grad():
        packed = logits.losses(pack(ROWS, min_shared=2))
        separate = torch.cat([padding(model).losses(pad([one])) for one in ROWS])
    torch.testing.assert_close(packed, separate, atol=1e-5, rtol=1e-5)


def test_families_whose_layers_are_of_another_kind_have_the_same_losses() -> None:
    """Granite scales what a layer adds; Gemma has more norms, and a soft cap."""
    for kind, more in (("granite", {"residual_multiplier": 0.5}), ("gemma2", {"head_dim": 8})):
        torch.manual_seed(0)
        config = AutoConfig.for_model(
            kind,
            vocab_size=64,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=64,
            **more,
        )
        model = AutoModelForCausalLM.from_config(config).eval()
        logits = trained_token_logits(model)
        with torch.no_grad():
            losses = logits.losses(pack(ROWS) if logits.packs else pad(ROWS))
            separate = torch.cat([padding(model).losses(pad([one])) for one in ROWS])
        torch.testing.assert_close(losses, separate, atol=1e-5, rtol=1e-5)
        assert not any("forward" in module.__dict__ for module in model.modules())


def test_a_model_whose_rows_would_not_be_alone_is_not_packed(tiny_base: Path) -> None:
    """GPT-2's attention is asked for a mask of its own, and bloom's knows no such function."""
    for kind in ("bloom", "gpt2"):
        torch.manual_seed(0)
        small = AutoConfig.for_model(
            kind, vocab_size=64, n_layer=1, n_head=2, hidden_size=32, n_embd=32
        )
        model = AutoModelForCausalLM.from_config(small).eval()
        before = model.config._attn_implementation
        logits = trained_token_logits(model)
        with torch.no_grad():
            losses = logits.losses(pack(ROWS) if logits.packs else pad(ROWS))
            separate = torch.cat([padding(model).losses(pad([one])) for one in ROWS])
        torch.testing.assert_close(losses, separate, atol=1e-5, rtol=1e-5)
        assert model.config._attn_implementation == before != PACKED


def test_the_kernel_for_unequal_rows_gives_what_each_row_alone_gives(
    base: ResidentBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path that CUDA takes, with torch's kernel replaced by the plain meaning of its
    arguments."""

    def plain(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        ends: torch.Tensor,
        key_ends: torch.Tensor,
        longest: int,
        longest_key: int,
        *,
        scale: float,
        window_size: tuple[int, int],
        enable_gqa: bool,
    ) -> torch.Tensor:
        assert torch.equal(ends, key_ends)
        assert longest == longest_key == int(ends.diff().max())
        assert window_size == (-1, 0)
        rows = []
        for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            one, keys, values = (
                tensor[a:b].transpose(0, 1)[None] for tensor in (query, key, value)
            )
            seen = torch.nn.functional.scaled_dot_product_attention(
                one, keys, values, is_causal=True, scale=scale, enable_gqa=enable_gqa
            )
            rows.append(seen[0].transpose(0, 1))
        return torch.cat(rows)

    stirred(base)
    logits = trained_token_logits(base.model)
    wanted = results(base, logits, [pack(ROWS, min_shared=2)])
    calls: list[int] = []

    def counted(*tensors: torch.Tensor, **options: object) -> torch.Tensor:
        calls.append(1)
        return plain(*tensors, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", counted)
    monkeypatch.setattr(Device, "has_varlen", lambda _device, _query: True)
    found = results(base, logits, [pack(ROWS, min_shared=2)])
    assert calls
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_a_large_vocabulary_is_taken_in_pieces_with_the_same_result() -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(16, 1000, bias=True)
    head.requires_grad_(requires_grad=False)
    targets = torch.randint(0, 1000, (37,))
    slopes = torch.rand(37)
    hidden = torch.randn(37, 16, requires_grad=True)
    wanted = torch.nn.functional.cross_entropy(head(hidden), targets, reduction="none")
    (wanted_gradient,) = torch.autograd.grad((wanted * slopes).sum(), hidden)
    for most in (1 << 25, 5000, 1):
        losses = chunked_cross_entropy(hidden, head, targets, most)
        (gradient,) = torch.autograd.grad((losses * slopes).sum(), hidden)
        torch.testing.assert_close(losses, wanted, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(gradient, wanted_gradient, atol=1e-6, rtol=1e-5)


def test_losses_of_a_real_vocabulary_are_exact_on_average() -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(64, 49152, bias=False).requires_grad_(requires_grad=False)
    hidden, targets = torch.randn(200, 64), torch.randint(0, 49152, (200,))
    logits = head(hidden)
    wanted = torch.nn.functional.cross_entropy(logits.double(), targets)
    for losses in (chunked_cross_entropy(hidden, head, targets), cross_entropy(logits, targets)):
        assert abs(float(losses.double().mean() - wanted)) < 5e-7
