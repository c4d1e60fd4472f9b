"""The kernel for rows of unequal lengths: its declaration traced, its numbers by a reference."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from sekft_engine.model.device import fits_varlen
from sekft_engine.model.kernels import attention
from sekft_engine.model.kernels.attention import Layout, Segment
from sekft_engine.model.resident import ResidentBase
from sekft_engine.training.trainer.data import Data
from tests.accelerator.conftest import SIM
from tests.accelerator.simulated import SimTensor, SimulatedDevice, record
from tests.accelerator.test_training import train, trainer_on

#: Three rows: the second begins with the first 3 tokens of the first.
LAYOUT = Layout((7, 4, 5), ((), (Segment(0, 0, 3),), ()))
HEADS, KV_HEADS, WIDTH = 4, 2, 16


def qkv(**options: Any) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tokens = sum(LAYOUT.own)
    return [
        torch.randn(1, tokens, heads, WIDTH, generator=generator).to(**options).requires_grad_()
        for heads in (HEADS, KV_HEADS, KV_HEADS)
    ]


def reference(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """What the documentation of ``varlen_attn`` says, written with plain operations: a query of a
    row attends to the keys of its row in the window, the scores are scaled, softmax, values.

    query [T, heads, width], key and value [T, kv_heads, width], offsets int32 [rows + 1].
    """
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert cu_seq_q.device == query.device
    ends = cu_seq_q.tolist()
    assert max_q == max_k == max(b - a for a, b in pairwise(ends))
    assert query.shape[0] == ends[-1]
    left, right = window_size
    assert right == 0, "causal"
    if enable_gqa:
        key, value = (t.repeat_interleave(query.shape[1] // t.shape[1], 1) for t in (key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    rows = []
    for a, b in pairwise(ends):
        place = torch.arange(b - a, device=query.device)
        distance = place[:, None] - place[None]
        sees = distance >= 0 if left < 0 else (distance >= 0) & (distance <= left)
        scores = torch.einsum("qhd,khd->hqk", query[a:b].float(), key[a:b].float()) * scale
        shares = scores.masked_fill(~sees, -torch.inf).softmax(-1)
        rows.append(torch.einsum("hqk,khd->qhd", shares, value[a:b].float()))
    return torch.cat(rows).to(query.dtype)


@pytest.mark.parametrize("window", [None, 3])
def test_its_numbers_and_gradients_are_those_of_the_masked_path(
    window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", reference)
    results = []
    for attend in (attention._attend_varlen, None):
        tensors = qkv()
        if attend is not None:
            out = attend(tensors, LAYOUT, 0.25, window)
        else:
            out = attention._attend_each(tensors, LAYOUT, 0.25, 0.0, window)
        torch.autograd.backward(out.square().sum())
        results.append([out, *(tensor.grad for tensor in tensors)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("window", [None, 3])
def test_torch_declares_its_kernel_for_what_is_passed_forward_and_backward(
    window: int | None,
) -> None:
    """Torch's fake kernel runs on meta tensors, in the type and with the options of CUDA."""
    tensors = qkv(device="meta", dtype=torch.bfloat16)
    out = attention._attend_varlen(tensors, LAYOUT, 0.25, window)
    assert (out.shape, out.dtype) == (tensors[0].shape, torch.bfloat16)
    torch.autograd.backward(out.sum())
    for tensor in tensors:
        assert tensor.grad is not None
        assert (tensor.grad.shape, tensor.grad.dtype) == (tensor.shape, torch.bfloat16)


@pytest.mark.parametrize(
    ("width", "dtype", "fits"),
    [
        (64, torch.bfloat16, True),
        (256, torch.float16, True),
        (64, torch.float32, False),
        (512, torch.bfloat16, False),  # wider than FlashAttention goes, as in Gemma 4
        (20, torch.bfloat16, False),  # no multiple of 8
    ],
)
def test_heads_that_the_kernel_does_not_compute_take_the_other_path(
    width: int, dtype: torch.dtype, fits: bool
) -> None:
    assert fits_varlen(torch.empty(1, 3, 2, width, dtype=dtype)) is fits


def test_training_through_it_gives_the_same_losses_and_waits_no_more_often(
    on_device: ResidentBase, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole path as on CUDA, with the written reference as the kernel."""
    expected = train(on_device, data, "each", micro_batch=4)
    calls: list[torch.Tensor] = []

    def kernel(*tensors: Any, **options: Any) -> torch.Tensor:
        calls.append(tensors[3])
        before = record.waits.copy()
        out = reference(*tensors, **options)
        record.waits = before  # the reference reads the offsets; the kernel does not
        return out

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    monkeypatch.setattr(SimulatedDevice, "has_varlen", lambda _device, _query: True)
    found = train(on_device, data, "varlen", micro_batch=4)
    assert found == pytest.approx(expected, rel=1e-4)
    trainer = trainer_on(on_device, data, "waits", micro_batch=4)
    steps = trainer.steps()
    next(steps)
    record.clear()
    calls.clear()
    next(steps)
    assert sum(record.waits.values()) == 2
    assert all(isinstance(offsets, SimTensor) for offsets in calls)
    assert calls[0].device.type == SIM
    assert len({id(offsets) for offsets in calls}) < len(calls), "layers share the offsets"
