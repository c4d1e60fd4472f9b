"""Packed rows are separate rows: the same losses and the same gradients, with fewer tokens."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sekft_engine.base import ResidentBase
from sekft_engine.sft import attention
from sekft_engine.sft.attention import PACKED
from sekft_engine.sft.cross_entropy import head_losses, logit_losses
from sekft_engine.sft.data import Data, TrainRow
from sekft_engine.sft.loss import Selected, selected_logits
from sekft_engine.sft.packing import Batch, pack, pad
from sekft_engine.sft.recompute import blocks_of
from tests.sft.conftest import RECIPE


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
    base: ResidentBase, selected: Selected, batches: list[Batch]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The losses of all batches, and the gradient of their sum to the adapter."""
    weights = base.trainable("a")
    base.model.eval()  # no dropout
    losses = torch.cat([selected.losses(batch) for batch in batches])
    with selected:
        gradients = torch.autograd.grad(losses.sum(), weights)
    return losses.detach(), torch.cat([gradient.flatten() for gradient in gradients])


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
    selected = selected_logits(base.model)
    assert selected.packs
    assert selected.shortens
    separate = results(base, selected, [pad([one]) for one in ROWS])
    together = results(base, selected, [pad(ROWS)])
    packed = results(base, selected, [pack(ROWS, least_shared=least)])
    for losses, gradients in (together, packed):
        order = np.argsort(pad(ROWS).owners, kind="stable")
        torch.testing.assert_close(losses[order], separate[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(gradients, separate[1], atol=1e-5, rtol=1e-4)


def test_real_rows_on_the_real_base_too(smollm2: Path, data: Data) -> None:
    base = ResidentBase.load(smollm2)
    stirred(base)
    selected = selected_logits(base.model)
    assert selected.packs
    assert selected.shortens
    rows = sorted(data.train, key=len)[:3]
    batch = pack(rows)
    assert batch.ids.size < sum(map(len, rows)) - len(rows), "they begin alike"
    packed = results(base, selected, [batch])
    separate = results(base, selected, [pad([one]) for one in rows])
    torch.testing.assert_close(packed[0], separate[0], atol=1e-4, rtol=1e-5)
    apart = float((packed[1] - separate[1]).norm() / separate[1].norm())
    assert apart < 1e-5


def test_no_token_is_there_twice() -> None:
    batch = pack(ROWS, least_shared=2)
    assert batch.paths is not None
    assert batch.paths.own == (7, 2, 1, 3, 0, 0, 0)
    assert batch.ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 9, 8, 11, 12, 13, 14]]
    assert batch.positions is not None
    assert batch.positions.tolist() == [[0, 1, 2, 3, 4, 5, 6, 0, 1, 4, 5, 6, 7]]
    assert [batch.paths.length(number) for number in range(7)] == [7, 2, 5, 8, 3, 7, 5]


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
    selected = selected_logits(model)
    assert selected.packs
    with torch.no_grad():
        packed = selected.losses(pack(ROWS, least_shared=2))
        separate = torch.cat([selected.losses(pad([one])) for one in ROWS])
    torch.testing.assert_close(packed, separate, atol=1e-5, rtol=1e-5)


def test_a_last_block_of_another_kind_is_computed_whole() -> None:
    """Granite's adds a part of what a block gives; Gemma's has more norms."""
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
        selected = selected_logits(model)
        assert not selected.shortens
        with torch.no_grad():
            losses = selected.losses(pack(ROWS) if selected.packs else pad(ROWS))
            separate = torch.cat([selected.losses(pad([one])) for one in ROWS])
        torch.testing.assert_close(losses, separate, atol=1e-5, rtol=1e-5)
        assert not any("forward" in module.__dict__ for module in model.modules())


def test_only_keys_and_values_of_the_last_block_are_made_everywhere(base: ResidentBase) -> None:
    stirred(base)
    selected = selected_logits(base.model)
    batch = pack([row(*range(1, 30)), row(*range(40, 60))])
    only = msgspec.structs.replace(
        batch,
        **{name: getattr(batch, name)[:3] for name in ("rows", "columns", "targets", "owners")},
    )
    blocks = blocks_of(base.model)
    seen: dict[str, int] = {}
    for name, block in (("first", blocks[0]), ("last", blocks[-1])):
        block.mlp.register_forward_pre_hook(
            lambda _module, given, name=name: seen.update({name: given[0].shape[1]})
        )
    try:
        selected.losses(only)
    finally:
        for block in (blocks[0], blocks[-1]):
            block.mlp._forward_pre_hooks.clear()
    assert seen == {"first": batch.ids.size, "last": 3}


def test_a_model_whose_rows_would_not_be_alone_is_not_packed(tiny_base: Path) -> None:
    """GPT-2's attention is asked for a mask of its own, and bloom's knows no such function."""
    for kind in ("bloom", "gpt2"):
        torch.manual_seed(0)
        small = AutoConfig.for_model(
            kind, vocab_size=64, n_layer=1, n_head=2, hidden_size=32, n_embd=32
        )
        model = AutoModelForCausalLM.from_config(small).eval()
        before = model.config._attn_implementation
        selected = selected_logits(model)
        with torch.no_grad():
            losses = selected.losses(pack(ROWS) if selected.packs else pad(ROWS))
            separate = torch.cat([selected.losses(pad([one])) for one in ROWS])
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
    selected = selected_logits(base.model)
    wanted = results(base, selected, [pack(ROWS, least_shared=2)])
    calls: list[int] = []

    def counted(*tensors: torch.Tensor, **options: object) -> torch.Tensor:
        calls.append(1)
        return plain(*tensors, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", counted)
    monkeypatch.setattr(attention, "_has_kernel", lambda _query: True)
    found = results(base, selected, [pack(ROWS, least_shared=2)])
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
        losses = head_losses(hidden, head, targets, most)
        (gradient,) = torch.autograd.grad((losses * slopes).sum(), hidden)
        torch.testing.assert_close(losses, wanted, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(gradient, wanted_gradient, atol=1e-6, rtol=1e-5)


def test_losses_of_a_real_vocabulary_are_exact_on_average() -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(64, 49152, bias=False).requires_grad_(requires_grad=False)
    hidden, targets = torch.randn(200, 64), torch.randint(0, 49152, (200,))
    logits = head(hidden)
    wanted = torch.nn.functional.cross_entropy(logits.double(), targets)
    for losses in (head_losses(hidden, head, targets), logit_losses(logits, targets)):
        assert abs(float(losses.double().mean() - wanted)) < 5e-7
