"""Whatever PEFT's LoraConfig says: refused by its name, or PEFT's own output; the base stays."""

from __future__ import annotations

import dataclasses
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st
from peft import LoraConfig

from sekft_engine.core.errors import BadInput
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.attaching.fields import TABLE
from sekft_engine.model.resident import ResidentBase
from tests.fuzzing import fuzz
from tests.model.adapters import (
    IDS,
    LINEAR,
    bits,
    edit_config,
    logits,
    peft_logits,
    refused,
    resident,
    save_peft,
    shape_of,
)
from tests.models import FAMILIES

#: Fields of LoraConfig as the installed PEFT has them.
FIELDS = [field.name for field in dataclasses.fields(LoraConfig) if field.init]

_NAMES = st.sampled_from(["lm_head", "embed_tokens", "norm", "q_proj", "wte", "model.layers.0.mlp"])
_NUMBERS = st.one_of(
    st.integers(-2, 40), st.floats(allow_nan=True), st.sampled_from([0.5, 1, 1e300, 10**30])
)
_PATTERNS = st.sampled_from(
    [
        "q_proj", "c_attn", r".*\.(q|v)_proj", r".*mlp.*", "^model.layers.0.self_attn.q_proj",
        r"model\.layers\.[01]\.mlp\.up_proj", r"(?:.*?self_attn.*?(?:q_proj|o_proj))", "(", "",
        r"layers.1.self_attn.k_proj", r".*attn\.c_proj", "all-linear", "ALL-LINEAR",
    ]
)  # fmt: skip
_ANYTHING = st.one_of(
    st.booleans(), _NUMBERS, st.text(max_size=8), st.none(), st.lists(_NAMES, max_size=3),
    st.dictionaries(_NAMES, st.integers(1, 6), max_size=2),
)  # fmt: skip
#: Values worth trying, by field; the others, and those of a newer PEFT, get anything at all.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "r": st.one_of(st.integers(1, 6), _NUMBERS),
    "lora_alpha": st.one_of(st.integers(1, 40), _NUMBERS),
    "lora_dropout": st.one_of(st.floats(0, 0.9), _NUMBERS),
    "target_modules": st.one_of(_PATTERNS, st.lists(_NAMES, max_size=3), st.none()),
    "exclude_modules": st.one_of(_PATTERNS, st.lists(_NAMES, max_size=3)),
    "bias": st.sampled_from(["none", "all", "lora_only", "some", None]),
    "use_rslora": st.booleans(),
    "use_dora": st.booleans(),
    "lora_bias": st.booleans(),
    "fan_in_fan_out": st.booleans(),
    "ensure_weight_tying": st.booleans(),
    "init_lora_weights": st.sampled_from(
        [
            True,
            False,
            None,
            "gaussian",
            "eva",
            "olora",
            "pissa",
            "pissa_niter_2",
            "corda",
            "loftq",
            "orthogonal",
            "mica",
            "lora_ga",
            "PiSSA",
            "OLoRA",
            "of tomorrow",
            3,
        ]
    ),
    "layers_to_transform": st.one_of(st.integers(0, 2), st.lists(st.integers(0, 2), max_size=3)),
    "layers_pattern": st.sampled_from(["layers", "h", ["layers"], [], "", "lay.*"]),
    "rank_pattern": st.dictionaries(_PATTERNS, st.integers(1, 8), max_size=3),
    "alpha_pattern": st.dictionaries(_PATTERNS, st.integers(1, 30), max_size=3),
    "modules_to_save": st.lists(_NAMES, max_size=2),
    "trainable_token_indices": st.one_of(
        st.lists(st.integers(0, 9), max_size=3), st.just({"embed_tokens": [1, 2]})
    ),
    "layer_replication": st.sampled_from([[[0, 1], [0, 2]], [[0, 2]], []]),
    "target_parameters": st.lists(st.just("mlp.up_proj.weight"), max_size=1),
    "alora_invocation_tokens": st.lists(st.integers(0, 9), max_size=3),
    "task_type": st.sampled_from(["CAUSAL_LM", "SEQ_CLS", "FEATURE_EXTRACTION", None]),
    "peft_type": st.sampled_from(["LORA", "IA3", "ADALORA", "VERA", None, 7]),
    "megatron_config": st.sampled_from([None, {}, {"a": 1}]),
    "kasa_config": st.sampled_from([None, {}, {"beta": 0.1}]),
    "loftq_config": st.sampled_from([{}, {"loftq_bits": 4, "loftq_iter": 1}]),
    "use_bdlora": st.sampled_from([None, False, {"nblocks": 2}]),
    "velora_config": st.sampled_from([None, {}, {"num_groups": 4}]),
    "monteclora_config": st.sampled_from([None, {}, {"num_samples": 2}]),
    "arrow_config": st.sampled_from([None, {}, {"top_k": 2}]),
    "runtime_config": st.sampled_from([None, {}, {"ephemeral_gpu_offload": True}]),
    "use_qalora": st.booleans(),
}


@pytest.fixture(scope="module")
def bases(smollm2: Path) -> Callable[[str], ResidentBase]:
    """The resident base of a family, one for all examples: each meets what others left."""
    known: dict[str, ResidentBase] = {}

    def of(family: str) -> ResidentBase:
        if family not in known:
            known[family] = resident(family, smollm2)
        return known[family]

    return of


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    chosen = draw(st.lists(st.sampled_from(FIELDS), max_size=4, unique=True))
    return {name: draw(VALUES.get(name, _ANYTHING)) for name in chosen}


def plain_fields(family: str, targets: list[str]) -> dict[str, Any]:
    return {"r": 4, "lora_alpha": 6, "target_modules": targets, "task_type": "CAUSAL_LM"}


def hold(base: ResidentBase, family: str, folder: Path) -> str:
    """Attach, act and drop; returns 'refused' or 'taken'. The base must be the same throughout, and
    what is taken must be PEFT's own."""
    for name in base.adapters:  # where an example before failed
        base.drop(name)
    before, shape, bare = bits(base.model), shape_of(base.model), logits(base.model)
    state = torch.get_rng_state()
    refusal = refused(base, folder)
    if refusal:
        assert "\n" not in refusal
        assert base.adapters == {}
    else:
        assert torch.equal(torch.get_rng_state(), state), "nothing is drawn from anyone's generator"
        found = logits(base.model)
        theirs = peft_logits(family, folder)
        torch.testing.assert_close(found, theirs, atol=1e-5, rtol=1e-5, equal_nan=True)
        base.activate(None)
        assert torch.equal(logits(base.model), bare)
        base.activate("a")
        again = logits(base.model)
        torch.testing.assert_close(again, found, atol=0, rtol=0, equal_nan=True)
        base.drop("a")
    base.prove()
    assert bits(base.model) == before
    assert shape_of(base.model) == shape
    assert torch.equal(logits(base.model), bare)
    return "refused" if refusal else "taken"


@given(family=st.sampled_from(FAMILIES), seed=st.integers(0, 9), changed=changes(), data=st.data())
@fuzz(60)
def test_what_peft_saves_of_any_configuration_is_refused_or_computes_what_peft_computes(
    bases: Callable[[str], ResidentBase],
    family: str,
    seed: int,
    changed: dict[str, Any],
    data: st.DataObject,
) -> None:
    targets = data.draw(
        st.lists(st.sampled_from(LINEAR[family]), min_size=1, max_size=7, unique=True)
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        try:
            save_peft(family, folder, plain_fields(family, targets) | changed, seed)
            peft_logits(family, folder)
        except Exception:  # noqa: BLE001 - PEFT does not make such a one, or does not load it
            event("PEFT has none")
            return
        event(hold(bases(family), family, folder))


@given(family=st.sampled_from(FAMILIES), changed=changes(), data=st.data())
@fuzz(60)
def test_a_configuration_that_was_written_by_hand_is_refused_or_computes_what_peft_computes(
    bases: Callable[[str], ResidentBase], family: str, changed: dict[str, Any], data: st.DataObject
) -> None:
    unknown = data.draw(st.dictionaries(st.sampled_from(["use_of_tomorrow", "x"]), _ANYTHING))
    base = bases(family)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        save_peft(family, folder, plain_fields(family, LINEAR[family][:2]))
        edit_config(folder, **changed, **unknown)
        try:
            peft_logits(family, folder)
        except Exception:  # noqa: BLE001 - whatever PEFT says of it
            before = bits(base.model)
            if not refused(base, folder):  # PEFT looks at how the weights began
                base.drop("a")
            assert bits(base.model) == before
            event("PEFT does not load it")
            return
        event(hold(base, family, folder))


def test_every_field_of_the_installed_peft_is_known_and_told() -> None:
    assert set(FIELDS) <= set(TABLE)
    page = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text()
    assert [name for name in TABLE if f"`{name}`" not in page] == []


def test_several_adapters_of_all_kinds_come_and_go_in_any_order(
    bases: Callable[[str], ResidentBase], tmp_path: Path
) -> None:
    family = "qwen2"
    base = bases(family)
    before, shape, bare = bits(base.model), shape_of(base.model), logits(base.model)
    kinds: dict[str, dict[str, Any]] = {
        "plain": {},
        "rs": {"use_rslora": True},
        "dora": {"use_dora": True},
        "bias": {"lora_bias": True},
        "patterns": {"rank_pattern": {"k_proj": 2}, "alpha_pattern": {"layers.0.mlp.up_proj": 9}},
        "one layer": {"layers_to_transform": [1], "target_modules": ["q_proj", "down_proj"]},
        "embeddings": {"target_modules": ["embed_tokens", "q_proj"]},
    }
    folders, wanted = {}, {}
    for number, (name, fields) in enumerate(kinds.items()):
        folder = tmp_path / name
        save_peft(family, folder, plain_fields(family, LINEAR[family]) | fields, number)
        if name == "embeddings":
            spare_embeddings(folder)
        folders[name] = folder
        wanted[name] = peft_logits(family, folder)
    order = random.Random(0)
    for _ in range(40):
        name = order.choice(list(kinds))
        if name in base.adapters:
            base.drop(name)
        else:
            base.attach(name, folders[name])
        for there in base.adapters:
            base.activate(there)
            torch.testing.assert_close(logits(base.model), wanted[there], atol=1e-5, rtol=1e-5)
        base.activate(None)
        assert torch.equal(logits(base.model), bare)
    for name in base.adapters:
        base.drop(name)
    assert bits(base.model) == before
    assert shape_of(base.model) == shape


def spare_embeddings(folder: Path) -> None:
    """Leave out the base's own embeddings, which PEFT saves with an adapter of them."""
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    tensors = {name: one for name, one in load_file(path).items() if "lora_" in name}
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights"),
        ({"init_lora_weights": "olora"}, "init_lora_weights"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"trainable_token_indices": [1, 2]}, "trainable_token_indices"),
        ({"layer_replication": [(0, 2), (1, 2)]}, "layer_replication"),
        ({"bias": "all"}, "bias"),
        ({"bias": "lora_only"}, "bias"),
        ({"kasa_config": {}}, "kasa_config"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
        ({"target_modules": ["embed_tokens"]}, "embed_tokens"),
    ],
)
def test_what_would_change_the_base_is_refused_by_its_name_with_the_way_out(
    bases: Callable[[str], ResidentBase], tmp_path: Path, fields: dict[str, Any], named: str
) -> None:
    from peft import KasaConfig

    if "kasa_config" in fields:
        fields = {"kasa_config": KasaConfig()}
    family = "qwen2"
    save_peft(family, tmp_path, plain_fields(family, LINEAR[family]) | fields)
    base = bases(family)
    before = bits(base.model)
    with pytest.raises(BadInput, match=named) as caught:
        base.attach("a", tmp_path)
    assert caught.value.mend
    assert bits(base.model) == before


@pytest.mark.parametrize(
    "field", ["kasa_config", "velora_config", "monteclora_config", "arrow_config"]
)
def test_empty_options_are_options_in_use(
    bases: Callable[[str], ResidentBase], tmp_path: Path, field: str
) -> None:
    save_peft("llama", tmp_path, plain_fields("llama", LINEAR["llama"]))
    with pytest.raises(BadInput, match=f"{field} {{}}"):
        bases("llama").attach("a", edit_config(tmp_path, **{field: {}}))


def test_a_pissa_adapter_that_peft_converted_is_taken(
    bases: Callable[[str], ResidentBase], tmp_path: Path
) -> None:
    from peft import get_peft_model

    from tests.model.adapters import fresh

    fields = plain_fields("llama", LINEAR["llama"]) | {"init_lora_weights": "pissa"}
    model = get_peft_model(fresh("llama"), LoraConfig(**fields))
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(tmp_path / "start")
    model.peft_config["default"].init_lora_weights = "pissa"
    with torch.no_grad():  # a step of training, on the residual base
        for name, tensor in model.named_parameters():
            if ".lora_" in name:
                tensor.add_(0.05)
    wanted = logits(model.eval())
    model.save_pretrained(
        tmp_path / "converted", path_initial_model_for_weight_conversion=str(tmp_path / "start")
    )
    base = bases("llama")
    base.attach("a", tmp_path / "converted")
    torch.testing.assert_close(logits(base.model), wanted, atol=1e-4, rtol=1e-4)
    base.drop("a")


def test_trained_biases_are_nothing_to_refuse_where_the_base_has_none(
    bases: Callable[[str], ResidentBase], tmp_path: Path
) -> None:
    save_peft("llama", tmp_path, plain_fields("llama", LINEAR["llama"]) | {"bias": "all"})
    assert hold(bases("llama"), "llama", tmp_path) == "taken"


def test_four_bits_on_the_cpu_compute_what_peft_computes(tiny_base: Path, tmp_path: Path) -> None:
    from peft import PeftModel, get_peft_model

    from sekft_engine.model.loading import load_model
    from tests.model.adapters import randomise

    base = ResidentBase.load(tiny_base, load_4bit=True)
    before, bare = bits(base.model), logits(base.model)
    for name, fields in (
        ("plain", {}),
        ("dora", {"use_dora": True}),
        ("rs", {"use_rslora": True, "rank_pattern": {"k_proj": 2}}),
        ("pissa", {"init_lora_weights": "olora"}),
    ):
        made = get_peft_model(
            load_model(tiny_base, load_4bit=True),
            LoraConfig(**plain_fields("llama", LINEAR["llama"]) | fields),
        )
        randomise(made)
        made.save_pretrained(tmp_path / name)
        if name == "pissa":
            with pytest.raises(BadInput, match="init_lora_weights"):
                base.attach(name, tmp_path / name)
            continue
        loaded = PeftModel.from_pretrained(
            load_model(tiny_base, load_4bit=True), str(tmp_path / name)
        )
        base.attach(name, tmp_path / name)
        torch.testing.assert_close(logits(base.model), logits(loaded.eval()), atol=1e-5, rtol=1e-5)
        with torch.inference_mode():  # as in an eval: what is made in it must not stay
            base.model(input_ids=IDS)
        base.activate(None)
        assert torch.equal(logits(base.model), bare)
        base.new_adapter("trained", Recipe(rank=2, alpha=4))
        weights = base.trainable("trained")
        base.model(input_ids=IDS, labels=IDS).loss.backward()
        assert all(weight.grad is not None for weight in weights)
        base.drop("trained")
        base.drop(name)
    assert bits(base.model) == before
