"""The computed memory of a step is what a step takes, within a tenth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from sekft_engine.bases.shape import FAMILIES, read_shape, shape_of
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.resident import ResidentBase
from sekft_engine.model.text_layers import TextLayers
from sekft_engine.training.planning.computed import (
    Computing,
    adapter_bytes,
    base_bytes,
    computed_step,
    eval_bytes,
)
from sekft_engine.training.run.memory_plan import measure_step
from sekft_engine.training.trainer.data import TrainRow
from tests.gpu.planned import compare, peak_of_pass

TENTH = 0.1
RECIPE = Recipe(rank=8, dropout=0.05)
#: Wide enough that no part is lost in another; a small vocabulary, so that activations count.
SIZES = {
    "vocab_size": 128, "hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16,
    "max_position_embeddings": 4096, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip


def row(tokens: int, trained: int, start: int = 1) -> TrainRow:
    ids = ((np.arange(tokens) * 7 + start) % 120).astype(np.int32)
    return TrainRow(id="", ids=ids, at=np.arange(tokens - 1 - trained, tokens - 1, dtype=np.int32))


def model_of(family: str, dtype: torch.dtype, **changes: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **SIZES | changes)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    model.requires_grad_(requires_grad=False)
    return model


def adapt(model: Any, recipe: Recipe) -> None:
    from peft import LoraConfig, TaskType, get_peft_model

    layers = TextLayers(model)
    config = LoraConfig(
        r=recipe.rank,
        lora_dropout=recipe.dropout,
        target_modules=layers.target_modules(layers.choose(recipe.targets)),
        task_type=TaskType.CAUSAL_LM,
    )
    get_peft_model(model, config)
    model.train()


def assert_near(computed: float, measured: float) -> None:
    assert abs(computed / measured - 1) < TENTH, f"{computed:.0f} for {measured:.0f} bytes"


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_known_family_takes_what_is_computed(
    family: str, dtype: torch.dtype, recompute: bool
) -> None:
    model = model_of(family, dtype)
    shape = shape_of(model.config.to_dict(), family)
    width = dtype.itemsize
    assert shape.weights == sum(tensor.numel() for tensor in model.parameters())
    adapt(model, RECIPE)
    computing = Computing(device="cpu", width=width)
    held = sum(t.nbytes for name, t in model.named_parameters() if ".lora_" in name)
    assert adapter_bytes(shape, RECIPE) == held
    memory = computed_step(shape, RECIPE, computing, recompute=recompute)
    rows = [row(700, 200)]
    measured = peak_of_pass(model, rows, recompute=recompute)
    assert_near(memory.bytes_of(memory.size_of(rows)) - memory.fixed, measured)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("changes", "targets"),
    [
        ({"dropout": 0.0}, "all-linear"),
        ({"rank": 64}, "all-linear"),
        ({}, "q_proj,k_proj,v_proj,o_proj"),
        ({}, "gate_proj,up_proj"),
        ({"dropout": 0.0}, "down_proj"),
    ],
)
def test_every_recipe_takes_what_is_computed(
    dtype: torch.dtype, changes: dict[str, Any], targets: str
) -> None:
    recipe = msgspec.structs.replace(RECIPE, targets=targets, **changes)
    model = model_of("llama", dtype)
    shape = shape_of(model.config.to_dict(), "llama")
    adapt(model, recipe)
    memory = computed_step(shape, recipe, Computing(device="cpu", width=dtype.itemsize))
    rows = [row(700, 200), row(400, 150, start=3)]  # two rows of a packed pass
    measured = peak_of_pass(model, rows, recompute=False)
    assert_near(memory.bytes_of(memory.size_of(rows)) - memory.fixed, measured)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("load_4bit", [False, True])
def test_a_resident_base_takes_what_is_computed(
    tiny_base: Path, load_4bit: bool, recompute: bool
) -> None:
    base = ResidentBase.load(tiny_base, load_4bit=load_4bit)
    shape = read_shape(tiny_base)
    if not load_4bit:
        held = sum(tensor.nbytes for tensor in base.model.parameters())
        assert base_bytes(shape, Computing(device="cpu", width=4)) == held
    for trained in (60, 600):  # the head has the peak with many tokens, the decoder with few
        found = compare(base, shape, RECIPE, [row(1200, trained)], recompute=recompute)
        assert_near(found.computed, found.measured)


def test_four_bits_take_what_bitsandbytes_makes_of_them(tiny_base: Path) -> None:
    base = ResidentBase.load(tiny_base, load_4bit=True)
    tensors = {id(tensor): tensor for tensor in base.model.parameters()}
    states = [t.quant_state for t in tensors.values() if hasattr(t, "quant_state")]
    nested = [state.state2 for state in states]
    held = sum(tensor.nbytes for tensor in tensors.values())
    held += sum(s.absmax.nbytes + s.code.nbytes + s.offset.nbytes for s in states)
    held += sum(s.absmax.nbytes + s.code.nbytes for s in nested)
    assert_near(
        base_bytes(read_shape(tiny_base), Computing(device="cpu", width=4), load_4bit=True), held
    )


@pytest.mark.parametrize("recompute", [False, True])
def test_measured_and_computed_coefficients_agree(base: ResidentBase, recompute: bool) -> None:
    measured = measure_step(base, RECIPE, recompute=recompute)
    computing = Computing(device="cpu", width=4, parts=measured.parts)
    computed = computed_step(read_shape(base.path), RECIPE, computing, recompute=recompute)
    # Of few trained tokens: what is measured adds decoder and head up, which is an upper bound.
    rows = [row(900, 2), row(500, 2, start=3)]
    one, other = (memory.bytes_of(memory.size_of(rows)) for memory in (computed, measured))
    assert_near(one, other)
    many = measured.size_of([row(900, 400), row(500, 300, start=3)])
    assert computed.bytes_of(many) <= (1 + TENTH) * measured.bytes_of(many)
    assert (computed.logits_at_once, computed.packs) == (measured.logits_at_once, measured.packs)


def test_the_keys_and_values_of_an_eval_take_what_is_computed(tiny_base: Path) -> None:
    from sekft_engine.operators.decode import BatchedDecoder

    base = ResidentBase.load(tiny_base)
    decoder = BatchedDecoder(base.model, stop_ids=sorted(base.tokenizer.end_of_turn_ids))
    rows, tokens = 3, 300
    for number in range(rows):
        decoder.add(str(number))
        decoder.feed(str(number), row(tokens, 1, start=number).ids.tolist(), 1)
    decoder.step()
    cache = decoder._cache
    held = sum(tensor.nbytes for tensor in (*cache.keys, *cache.values))
    shape, computing = read_shape(tiny_base), Computing(device="cpu", width=4)
    assert eval_bytes(shape, computing, rows, tokens)[0] == held


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "recompute"), [({}, False), ({"rank": 64, "dropout": 0.0}, True)]
)
def test_a_real_base_takes_what_is_computed(
    smollm2: Path, changes: dict[str, Any], recompute: bool
) -> None:
    base = ResidentBase.load(smollm2)
    recipe = msgspec.structs.replace(RECIPE, **changes)
    rows = [row(200, 50), row(150, 35, start=3)]
    found = compare(base, read_shape(smollm2), recipe, rows, recompute=recompute)
    assert_near(found.computed, found.measured)
