"""The proof of the base: nothing that changes in it, or in what is around it, goes unseen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sekft_engine.core.errors import BaseChanged
from sekft_engine.model.attaching import sums
from sekft_engine.model.attaching.proof import BaseProof
from sekft_engine.model.attaching.sums import sums_of
from sekft_engine.model.resident import ResidentBase
from tests.fuzzing import fuzz
from tests.model.adapters import LINEAR, fresh, logits, resident, save_peft
from tests.models import FAMILIES

TYPES = (torch.float32, torch.bfloat16, torch.float16, torch.uint8, torch.int64, torch.bool)


@pytest.fixture(scope="module")
def proofs() -> dict[str, tuple[Any, BaseProof]]:
    models = {family: fresh(family) for family in FAMILIES}
    return {family: (model, BaseProof(model)) for family, model in models.items()}


@given(family=st.sampled_from(FAMILIES), data=st.data())
@fuzz(80)
def test_one_bit_of_any_tensor_is_seen_however_it_was_written(
    proofs: dict[str, tuple[Any, BaseProof]], family: str, data: st.DataObject
) -> None:
    model, known = proofs[family]
    assert known.compare(adapters=False) == ""
    name = data.draw(st.sampled_from(sorted(known.tensors)))
    octets = known.tensors[name].detach().reshape(-1).view(torch.uint8).numpy()
    place = data.draw(st.integers(0, octets.size - 1))
    octets[place] ^= 1 << data.draw(st.integers(0, 7))  # past all that torch counts
    told = known.compare(adapters=False)
    octets[:] = np.frombuffer(_original(family, name), dtype=np.uint8)
    assert name in told, "by its name"
    assert known.compare(adapters=False) == ""
    assert model is known.modules[""]


def _original(family: str, name: str) -> bytes:
    tensor = BaseProof(fresh(family)).tensors[name]
    return tensor.detach().reshape(-1).view(torch.uint8).numpy().tobytes()


@given(
    kind=st.sampled_from(TYPES),
    size=st.one_of(st.integers(0, 40), st.sampled_from([7, 32767, 32768, 32769, 100_001])),
    offset=st.integers(0, 3),
    seed=st.integers(0, 99),
)
@fuzz(60)
def test_a_processor_and_a_device_find_the_same_sums(
    kind: torch.dtype, size: int, offset: int, seed: int
) -> None:
    drawn = np.random.default_rng(seed).integers(0, 255, size * kind.itemsize + 8, dtype=np.uint8)
    if kind is torch.bool:
        drawn &= 1
    tensor = torch.from_numpy(drawn)[: (size + offset) * kind.itemsize].view(kind)[offset:]
    words = sums.words_of(tensor)
    factors = sums.factors_on(words.device)
    whole = sums.sums_on_device(words, factors)
    parts = [sums.sums_on_cpu(run, factors) for run in sums.runs(words)]
    assert b"".join(parts) == whole
    assert sums_of([tensor]) == sums_of([tensor.clone()]) or offset, "wherever it lies"


def test_what_moves_from_one_place_to_another_is_seen() -> None:
    tensor = torch.arange(200_000, dtype=torch.float32)
    swapped = tensor.clone()
    swapped[[5, 150_000]] = tensor[[150_000, 5]]
    blocks = torch.cat([tensor[32768:65536], tensor[:32768], tensor[65536:]])
    assert len({sums_of([one])[0] for one in (tensor, swapped, blocks, tensor[:-1])}) == 4


def _hook(*_: Any) -> None: ...


CHANGES: dict[str, Callable[[Any], Any]] = {
    "a weight in place": lambda m: m.lm_head.weight.data.add_(1),
    "a weight's storage": lambda m: setattr(m.lm_head.weight, "data", m.lm_head.weight + 0),
    "a weight as an object": lambda m: setattr(
        m.lm_head, "weight", torch.nn.Parameter(m.lm_head.weight.detach(), requires_grad=False)
    ),
    "an equal value, written": lambda m: m.lm_head.weight.mul_(1),
    "a layer": lambda m: m.model.layers.__setitem__(0, fresh("llama").model.layers[0]),
    "one layer more": lambda m: m.model.layers.append(m.model.layers[0]),
    "one layer less": lambda m: m.model.layers.__delitem__(1),
    "a module more": lambda m: m.model.add_module("more", torch.nn.Identity()),
    "a parameter more": lambda m: m.lm_head.register_parameter(
        "bias", torch.nn.Parameter(torch.zeros(m.lm_head.out_features))
    ),
    "a frequency": lambda m: m.model.rotary_emb.inv_freq.data.mul_(2),
    "a hook": lambda m: m.lm_head.register_forward_hook(_hook),
    "a hook before": lambda m: m.model.layers[1].register_forward_pre_hook(_hook),
    "another forward": lambda m: vars(m.lm_head).update(forward=lambda states: states),
    "another class": lambda m: setattr(m.model.norm, "__class__", torch.nn.Identity),
    "tied weights": lambda m: setattr(m.lm_head, "weight", m.model.embed_tokens.weight),
    "the configuration": lambda m: setattr(m.config, "rms_norm_eps", 0.5),
}


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_every_kind_of_change_is_seen_and_nothing_acts_on_the_base_any_more(
    change: str, smollm2: Path, tmp_path: Path
) -> None:
    base = resident("llama", smollm2)
    fields = {"r": 2, "target_modules": LINEAR["llama"], "task_type": "CAUSAL_LM"}
    folder = save_peft("llama", tmp_path, fields)
    base.attach("a", folder)
    base.activate(None)
    with torch.no_grad():
        CHANGES[change](base.model)
    with pytest.raises(BaseChanged):
        base.prove()
    assert base.changed
    for act in (
        lambda: base.activate("a"),
        lambda: base.activate(None),
        lambda: base.drop("a"),
        lambda: base.attach("b", folder),
        base.prove,
    ):
        with pytest.raises(BaseChanged, match="load it again"):
            act()


def test_adapters_and_their_training_are_no_change(smollm2: Path, tmp_path: Path) -> None:
    from sekft_engine.data.recipe import Recipe

    base = resident("tied", smollm2)
    bare = logits(base.model)
    base.new_adapter("new", Recipe(rank=2, alpha=4))
    weights = base.trainable("new")
    optimiser = torch.optim.SGD(weights, lr=1.0)
    ids = torch.tensor([[1, 2, 3]])
    for _ in range(3):
        base.model(input_ids=ids, labels=ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    base.prove()
    base.activate(None)
    with torch.inference_mode():
        base.model(input_ids=ids)
    base.prove()
    base.drop("new")
    assert torch.equal(logits(base.model), bare)


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "dynamic", "factor": 2.0},
        {
            "rope_type": "longrope", "factor": 4.0, "original_max_position_embeddings": 8,
            "short_factor": [1.0] * 8, "long_factor": [2.0] * 8,
        },
    ],
)  # fmt: skip
def test_rotary_embeddings_that_follow_the_length_are_no_change(
    smollm2: Path, rope: dict[str, Any]
) -> None:
    from transformers import LlamaForCausalLM

    from sekft_engine.render import ChatTokenizer
    from tests.models import tiny_llama

    config = tiny_llama(
        vocab_size=96,
        max_position_embeddings=8,
        rope_parameters={"rope_theta": 10000.0} | rope,
    )
    model = LlamaForCausalLM(config).eval()
    tokenizer = ChatTokenizer.load(smollm2)
    base = ResidentBase(model, tokenizer, path=Path("/bases/long"), digest="0" * 64)
    base.activate(None)
    before = model.model.rotary_emb.inv_freq.clone()
    with torch.no_grad():
        base.model(input_ids=torch.arange(40)[None])
    assert not torch.equal(model.model.rotary_emb.inv_freq, before)
    base.prove()


def test_the_four_bit_weights_and_their_scales_are_held(tiny_base: Path) -> None:
    model: Any = ResidentBase.load(tiny_base, load_4bit=True).model
    known = BaseProof(model)
    weight = model.model.layers[0].mlp.up_proj.weight
    state = weight.quant_state
    for tensor in (state.absmax, state.state2.absmax, state.offset):
        kept = tensor.clone()
        tensor.data.add_(1)
        assert "up_proj.weight" in known.compare(adapters=False)
        tensor.data.copy_(kept)
        assert known.compare(adapters=False) == ""
