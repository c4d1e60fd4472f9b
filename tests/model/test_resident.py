"""The resident base: adapters come and go, the base stays as it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import torch

from sekft_engine.core.errors import BadInput, DigestMismatch
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records.adapters import AdapterMeta, adapter_digest, read_meta
from sekft_engine.render import ChatTokenizer
from tests.models import weights_digest

RECIPE = Recipe(rank=4, alpha=8)
IDS = torch.tensor([[1, 520, 9531, 198, 2, 17]])


@pytest.fixture(scope="module")
def loaded(tiny_base: Path) -> ResidentBase:
    return ResidentBase.load(tiny_base)


@pytest.fixture
def base(loaded: ResidentBase) -> Iterator[ResidentBase]:
    yield loaded
    for name in loaded.adapters:
        loaded.drop(name)


def logits(base: ResidentBase) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = base.model(input_ids=IDS).logits
    return out


def perturb(base: ResidentBase, name: str, seed: int = 0) -> None:
    """Give an adapter weights that matter, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in base.trainable(name):
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    base.touched(name)
    base.activate(name)


def meta_for(base: ResidentBase) -> AdapterMeta:
    return AdapterMeta(name="a", base=base.name, base_digest=base.digest, render=base.render)


def saved(base: ResidentBase, folder: Path, seed: int = 0) -> Path:
    base.new_adapter("to-save", RECIPE)
    perturb(base, "to-save", seed)
    base.save_adapter("to-save", folder, meta_for(base))
    base.drop("to-save")
    return folder


def test_the_base_is_untouched_by_any_number_of_adapters(
    base: ResidentBase, tmp_path: Path
) -> None:
    before, bare = weights_digest(base), logits(base)
    one, two = saved(base, tmp_path / "one", 1), saved(base, tmp_path / "two", 2)
    for _ in range(3):
        base.attach("one", one)
        first = logits(base)
        base.attach("two", two)
        assert not torch.equal(first, logits(base))
        base.activate(None)
        assert torch.equal(bare, logits(base))
        base.activate("one")
        assert torch.equal(first, logits(base))
        base.drop("one")
        assert base.active is None
        base.drop("two")
        assert torch.equal(bare, logits(base)), "also after the last adapter is gone"
    assert weights_digest(base) == before
    assert not any(weight.requires_grad for weight in base.model.parameters())


def test_dropping_one_adapter_leaves_the_active_one_active(
    base: ResidentBase, tmp_path: Path
) -> None:
    base.attach("one", saved(base, tmp_path / "one", 1))
    base.attach("two", saved(base, tmp_path / "two", 2))
    second = logits(base)
    base.drop("one")
    assert base.active == "two"
    assert torch.equal(second, logits(base))
    assert list(base.adapters) == ["two"]


def test_a_fresh_adapter_changes_nothing_and_a_seed_decides_it(base: ResidentBase) -> None:
    bare = logits(base)
    for name, seed in (("a", 1), ("same", 1), ("other", 2)):
        base.new_adapter(name, msgspec.structs.replace(RECIPE, seed=seed))
        assert torch.equal(bare, logits(base))
    weights = {
        name: torch.cat([weight.flatten() for weight in base.trainable(name)])
        for name in base.adapters
    }
    assert torch.equal(weights["a"], weights["same"])
    assert not torch.equal(weights["a"], weights["other"])


def test_only_the_adapter_in_training_is_trainable(base: ResidentBase, tmp_path: Path) -> None:
    base.attach("old", saved(base, tmp_path / "old"))
    base.new_adapter("new", RECIPE)
    weights = base.trainable("new")
    trainable = [weight for weight in base.model.parameters() if weight.requires_grad]
    assert len(trainable) == len(weights) == 2 * 7 * 2  # layers x linears x (A, B)
    base.activate("old")
    assert not any(weight.requires_grad for weight in base.model.parameters())
    assert not base.model.training


def test_switching_back_and_forth_is_what_peft_alone_does(
    base: ResidentBase, tmp_path: Path
) -> None:
    bare = logits(base)
    for seed, name in enumerate("abc"):
        base.attach(name, saved(base, tmp_path / name, seed))
    seen: dict[str | None, torch.Tensor] = {None: bare}
    for name in "abc":
        base.activate(name)
        base.peft.base_model.enable_adapter_layers()
        base.peft.set_adapter(base.slot(name), inference_mode=True)
        seen[name] = logits(base)
    assert len({tensor.sum().item() for tensor in seen.values()}) == 4
    for then in (None, "a", "b", None, "c", "a", None, "b"):
        base.activate(then)
        assert torch.equal(logits(base), seen[then])
        assert base.active == then
    # Also after one of them was trained, and left as it was in the middle of it.
    base.trainable("b")
    base.model.eval()
    for then in ("a", None, "c"):
        base.activate(then)
        assert torch.equal(logits(base), seen[then])
        assert not any(weight.requires_grad for weight in base.model.parameters())
    base.prove()


def test_what_is_saved_is_what_is_loaded(base: ResidentBase, tmp_path: Path) -> None:
    base.new_adapter("a", RECIPE)
    perturb(base, "a")
    wanted = logits(base)
    assert base.adapters["a"].startswith("unsaved:")
    digest = base.save_adapter("a", tmp_path / "adapter", meta_for(base))
    assert base.adapters["a"] == digest == adapter_digest(tmp_path / "adapter")
    assert base.attach("b", tmp_path / "adapter") == digest
    assert torch.equal(wanted, logits(base))
    perturb(base, "a", seed=1)
    assert base.adapters["a"] not in (digest, ""), "a cache must not take it for what was saved"


def test_it_is_plain_peft(base: ResidentBase, tiny_base: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = saved(base, tmp_path / "adapter")
    base.attach("a", folder)
    wanted = logits(base)
    plain = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    with torch.no_grad():
        got = PeftModel.from_pretrained(plain, folder).eval()(input_ids=IDS).logits
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_base)


def test_an_adapter_that_plain_peft_saved_is_taken(base: ResidentBase, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32)
    model = get_peft_model(
        plain, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    )
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        wanted = model.eval()(input_ids=IDS).logits
    base.attach("theirs", tmp_path)
    assert base.meta("theirs") is None
    torch.testing.assert_close(logits(base), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("part", ["base_digest", "tokenizer", "template", "normaliser"])
def test_an_adapter_of_another_base_or_render_is_refused(
    base: ResidentBase, tmp_path: Path, part: str
) -> None:
    folder = saved(base, tmp_path / "adapter")
    meta = read_meta(folder)
    assert meta is not None
    if part == "base_digest":
        meta = msgspec.structs.replace(meta, base_digest="0" * 64)
    else:
        meta = msgspec.structs.replace(meta, render=meta.render | {part: "0" * 16})
    (folder / "sekft.json").write_bytes(msgspec.json.encode(meta))
    bare = logits(base)
    with pytest.raises(DigestMismatch, match="another"):
        base.attach("stranger", folder)
    assert base.adapters == {}
    assert torch.equal(bare, logits(base))


def test_weights_that_do_not_fit_are_refused_and_leave_no_trace(
    base: ResidentBase, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    good = saved(base, tmp_path / "good")
    bare = logits(base)
    for name, change in (
        ("shape", lambda w: {key: tensor[:1] for key, tensor in w.items()}),
        ("missing", lambda w: dict(list(w.items())[1:])),
        ("more", lambda w: w | {"base_model.model.lm_head.lora_A.weight": torch.zeros(4, 64)}),
    ):
        folder = Path(shutil.copytree(good, tmp_path / name))
        (folder / "sekft.json").unlink()
        weights = load_file(folder / "adapter_model.safetensors")
        save_file(change(weights), folder / "adapter_model.safetensors")
        with pytest.raises(DigestMismatch, match="do not fit"):
            base.attach(name, folder)
        assert base.adapters == {}
        assert torch.equal(bare, logits(base))
    base.attach("good", good)


def test_pickles_and_broken_files_are_refused(base: ResidentBase, tmp_path: Path) -> None:
    good = saved(base, tmp_path / "good")
    pickled = Path(shutil.copytree(good, tmp_path / "pickled"))
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    with pytest.raises(BadInput, match="only pickled weights"):
        base.attach("a", pickled)
    torn = Path(shutil.copytree(good, tmp_path / "torn"))
    whole = (good / "adapter_model.safetensors").read_bytes()
    (torn / "adapter_model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(BadInput, match="broken"):
        base.attach("a", torn)
    (torn / "adapter_config.json").write_text("{")
    with pytest.raises(BadInput, match="not JSON"):
        base.attach("a", torn)
    assert base.adapters == {}


@pytest.mark.parametrize("name", ["a", "lora", "model", "001-train.v2", "layers.0", "Größe"])
def test_an_adapter_may_be_called_anything(base: ResidentBase, tmp_path: Path, name: str) -> None:
    base.attach("other", saved(base, tmp_path / "other", 3))
    base.attach(name, saved(base, tmp_path / "adapter", 1))
    wanted = logits(base)
    digest = base.adapters[name]
    assert base.save_adapter(name, tmp_path / "again", meta_for(base)) == digest
    base.drop(name)
    base.attach(name, tmp_path / "again")
    assert torch.equal(wanted, logits(base))


def test_names_are_unique_and_known(base: ResidentBase, tmp_path: Path) -> None:
    folder = saved(base, tmp_path / "one", 1)
    base.attach("a", folder)
    base.attach("a", folder)  # the same once more is no mistake
    with pytest.raises(BadInput, match="an adapter of this name"):
        base.attach("a", saved(base, tmp_path / "two", 2))
    for call in (base.activate, base.drop, base.meta):
        with pytest.raises(BadInput, match="there: a"):
            call("b")
    with pytest.raises(BadInput, match="no linear layer called nope"):
        base.new_adapter("b", Recipe(targets="q_proj,nope"))


def test_chosen_layers_only(base: ResidentBase) -> None:
    base.new_adapter("a", Recipe(rank=2, targets="q_proj, v_proj"))
    assert len(base.trainable("a")) == 2 * 2 * 2


def test_four_bits_on_the_cpu_train_and_leave_the_base_alone(tiny_base: Path) -> None:
    base = ResidentBase.load(tiny_base, load_4bit=True)
    kinds = {type(module).__name__ for module in base.model.modules()}
    assert "Linear4bit" in kinds
    full = ResidentBase.load(tiny_base)
    assert base.parameters == full.parameters
    assert base.memory() < full.memory()
    before = weights_digest(base)
    base.new_adapter("a", RECIPE)
    weights = base.trainable("a")
    losses = []
    optimiser = torch.optim.Adam(weights, lr=0.01)
    for _ in range(8):
        loss = base.model(input_ids=IDS, labels=IDS).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    base.drop("a")
    assert weights_digest(base) == before


def test_experts_that_no_adapter_reaches_are_named_with_their_share(smollm2: Path) -> None:
    from transformers import AutoModelForCausalLM, Qwen3MoeConfig

    config = Qwen3MoeConfig(
        vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_experts=4,
        num_experts_per_tok=2, moe_intermediate_size=16,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).eval()
    tokenizer = ChatTokenizer.load(smollm2)
    base = ResidentBase(model, tokenizer, path=Path("/bases/moe"), digest="0" * 64)
    base.new_adapter("a", RECIPE)
    told = str(base.reach("a"))
    assert "layers.0.mlp.experts" in told
    experts = sum(one.numel() for name, one in model.named_parameters() if ".experts." in name)
    adapted = 2 * (32 * 32 * 2 + 32 * 16 * 2)
    assert f"{experts / base.parameters:.0%}" in told
    assert f"{adapted / base.parameters:.0%}" in told


def test_a_base_without_experts_has_nothing_left_out(base: ResidentBase) -> None:
    base.new_adapter("a", RECIPE)
    assert base.reach("a").experts == 0
    assert str(base.reach("a")).endswith("of the base's weights")
