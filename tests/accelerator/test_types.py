"""A base in bfloat16, as on CUDA, and in 4 bits, whose kernels here are those of the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sekft_engine.core.errors import BadInput
from sekft_engine.export.merge import TOLERANCE, merge
from sekft_engine.export.source import ExportedAdapter
from sekft_engine.model import loading
from sekft_engine.model.resident import ResidentBase
from sekft_engine.operators.decode import BatchedDecoder
from sekft_engine.operators.parity import choose_decoding
from sekft_engine.records.adapters import AdapterMeta
from sekft_engine.training.trainer.data import Data
from tests.accelerator.conftest import SIM
from tests.accelerator.packed import four_bits_on_device, four_bits_traced
from tests.accelerator.simulated import SimTensor, SimulatedDevice, record
from tests.accelerator.test_training import train, trainer_on

#: bfloat16 has 8 bits for a number; over two layers and a mean of many tokens this remains.
BF16 = 2e-2


@pytest.fixture(scope="module")
def in_bf16(tiny_base: Path) -> ResidentBase:
    SimulatedDevice.base_dtype = torch.bfloat16
    return ResidentBase.load(tiny_base, place=torch.device(SIM, 0))


def bare(base: ResidentBase) -> None:
    for name in base.adapters:
        base.drop(name)


@pytest.mark.parametrize("recompute", ["never", "always"])
def test_losses_in_bfloat16_are_those_of_float32_within_its_rounding(
    in_bf16: ResidentBase, on_cpu: ResidentBase, data: Data, recompute: str
) -> None:
    bare(in_bf16)
    found = train(in_bf16, data, recompute=recompute)
    expected = train(on_cpu, data)
    assert found[::2] == pytest.approx(expected[::2], rel=BF16)


def test_the_base_is_in_bfloat16_and_adapter_optimiser_and_losses_in_float32(
    in_bf16: ResidentBase, data: Data
) -> None:
    bare(in_bf16)
    trainer = trainer_on(in_bf16, data, dropout=0.1)
    list(trainer.steps())
    own = {id(weight) for weight in trainer.weights}
    assert {weight.dtype for weight in trainer.weights} == {torch.float32}
    assert {weight.dtype for weight in in_bf16.model.parameters() if id(weight) not in own} == {
        torch.bfloat16
    }
    for state in trainer.optimizer.state.values():
        assert {value.dtype for value in state.values()} == {torch.float32}
    products = {dtype for name, dtype in record.dtypes if name == "aten.mm.default"}
    assert products == {"torch.bfloat16", "torch.float32"}  # the base's, and the adapter's
    sums = {dtype for name, dtype in record.dtypes if name == "aten.logsumexp.default"}
    assert sums == {"torch.float32"}


def test_a_base_in_bfloat16_is_decoded_in_batches(in_bf16: ResidentBase) -> None:
    bare(in_bf16)
    chosen = choose_decoding(in_bf16.model, [2], context=512)
    assert (chosen.make, chosen.why) == (BatchedDecoder, "")


def test_an_adapter_trained_on_bfloat16_merges_within_the_proof(
    in_bf16: ResidentBase, tiny_base: Path, data: Data, tmp_path: Path
) -> None:
    """The merge loads the base anew in float32 on the CPU, so its tolerance needs no room for
    bfloat16; what is then written in bfloat16 differs by its rounding."""
    bare(in_bf16)
    trainer = trainer_on(in_bf16, data, lr=0.03)
    list(trainer.steps())
    meta = AdapterMeta(name="a")
    digest = in_bf16.save_adapter("a", tmp_path / "adapter", meta)
    source = ExportedAdapter(adapter=tmp_path / "adapter", digest=digest, meta=meta, base=tiny_base)
    (tmp_path / "merged").mkdir()
    proof = merge(source, tmp_path / "merged", dtype="bfloat16")
    assert proof.difference <= TOLERANCE / 10
    assert proof.difference < proof.written_difference < proof.adapter_effect


# --- 4 bits ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def in_4_bits(tiny_base: Path) -> ResidentBase:
    return four_bits_on_device(tiny_base)


def test_4_bit_weights_and_their_scales_lie_on_the_card(in_4_bits: ResidentBase) -> None:
    packed = [w for w in in_4_bits.model.parameters() if hasattr(w, "quant_state")]
    assert len(packed) == 14
    for weight in packed:
        assert weight.device.type == SIM
        state = weight.quant_state
        for tensor in (state.absmax, state.code, state.offset, state.state2.absmax):
            assert isinstance(tensor, SimTensor)


def test_losses_on_4_bits_are_those_of_the_cpu(
    in_4_bits: ResidentBase, tiny_base: Path, data: Data
) -> None:
    bare(in_4_bits)
    there = train(in_4_bits, data)
    here = ResidentBase.load(tiny_base, place=torch.device("cpu"), load_4bit=True)
    assert there == pytest.approx(train(here, data), rel=1e-3)
    in_4_bits.prove()


def test_a_device_without_4_bits_refuses_them_with_the_way_out(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimulatedDevice, "has_nf4", False)
    with pytest.raises(BadInput, match="no 4 bits for sim") as caught:
        loading.load_model(tiny_base, place=torch.device(SIM, 0), load_4bit=True)
    assert "--device cpu" in str(caught.value.mend)


def test_the_loader_is_traced_as_on_a_card_and_packs_what_it_packs_on_the_cpu(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of :func:`load_model` with bfloat16 as on CUDA, then a pass forward and backward through
    the model: each operation of bitsandbytes is checked by its declaration."""
    traced = four_bits_traced(tiny_base, monkeypatch)
    monkeypatch.undo()
    real = dict(
        ResidentBase.load(
            tiny_base, place=torch.device("cpu"), load_4bit=True
        ).model.named_parameters()
    )
    names = [name for name, weight in real.items() if hasattr(weight, "quant_state")]
    assert len(names) == 14
    for name, weight in traced.named_parameters():
        assert weight.device.type == "meta", name
        if name not in names:
            assert (weight.shape, weight.dtype) == (real[name].shape, torch.bfloat16)
            continue
        there, here = weight.quant_state, real[name].quant_state
        assert (weight.shape, weight.dtype) == (real[name].shape, torch.uint8)
        assert (there.shape, there.dtype) == (here.shape, torch.bfloat16)
        for field in ("quant_type", "blocksize", "nested"):
            assert getattr(there, field) == getattr(here, field), (name, field)
        for one, other in (
            (there.absmax, here.absmax),
            (there.code, here.code),
            (there.state2.absmax, here.state2.absmax),
        ):
            assert (one.shape, one.dtype) == (other.shape, other.dtype), name
    for layer in traced.modules():
        if hasattr(layer, "compute_dtype"):
            assert layer.compute_dtype == torch.bfloat16
    embedded = torch.empty(2, 5, traced.config.hidden_size, dtype=torch.bfloat16, device="meta")
    embedded.requires_grad_()
    # With a mask of its own transformers looks at no values.
    mask = torch.empty(2, 1, 5, 5, dtype=torch.bfloat16, device="meta")
    logits = traced(inputs_embeds=embedded, attention_mask=mask, use_cache=False).logits
    assert (logits.dtype, logits.shape[:2]) == (torch.bfloat16, (2, 5))
    torch.autograd.backward(logits.float().sum())
    assert embedded.grad is not None
    assert (embedded.grad.shape, embedded.grad.dtype) == (embedded.shape, torch.bfloat16)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_4_bit_products_are_traced_as_a_card_calls_them_forward_and_backward(
    tiny_base: Path, dtype: torch.dtype
) -> None:
    """bitsandbytes' declarations of its operations check types, shapes and block sizes of what it
    calls on a card: the product with packed weights and their nested scales, and the unpacking for
    the gradient. Its own Python runs, on tensors without values."""
    import bitsandbytes as bnb

    here = ResidentBase.load(tiny_base, place=torch.device("cpu"), load_4bit=True)
    for weight in (w for w in here.model.parameters() if hasattr(w, "quant_state")):
        state = weight.quant_state
        assert (state.quant_type, state.nested, state.state2.blocksize) == ("nf4", True, 256)
        state.to("meta")
        packed = weight.detach().as_subclass(torch.Tensor).to("meta")
        out, inputs = state.shape
        x = torch.empty(2, 3, inputs, dtype=dtype, device="meta", requires_grad=True)
        product = bnb.matmul_4bit(x, packed, quant_state=state)
        assert (product.shape, product.dtype) == ((2, 3, out), dtype)
        torch.autograd.backward(product.sum())
        assert x.grad is not None
        assert (x.grad.shape, x.grad.dtype) == (x.shape, dtype)
        with torch.no_grad():
            assert bnb.matmul_4bit(x, packed, quant_state=state).shape == (2, 3, out)
