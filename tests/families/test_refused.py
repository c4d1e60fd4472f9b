"""A base that cannot be trained is refused by name before anything is loaded or written, with the
way out; and one whose files hold more than the base is read as transformers reads it."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from sekft_engine.bases import base_digest
from sekft_engine.bases.weights import weight_files
from sekft_engine.core.errors import BadInput
from sekft_engine.data.recipe import Recipe
from sekft_engine.engine.engine import Engine
from sekft_engine.model.device import CudaDevice, Device
from sekft_engine.model.family import family_of
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import jobs
from sekft_engine.records.events import BaseLoaded, Event
from tests.documents import run_document
from tests.families.models import save_base
from tests.families.refused import REFUSED, edit_config
from tests.training.sessions import write_sessions


@pytest.mark.parametrize("fault", REFUSED)
def test_a_base_that_cannot_be_trained_is_refused_by_name(
    fault: str, tiny_base_copy: Path, tmp_path: Path
) -> None:
    refusal = REFUSED[fault]
    refusal.damage(tiny_base_copy)
    data = write_sessions(tmp_path / "data", 2)
    out = tmp_path / "run"
    engine = Engine().start()
    seen: list[Event] = []
    engine.subscribe(seen.append)
    try:
        for load_4bit in (False, True):
            train = jobs.Train(
                base=str(tiny_base_copy), data=str(data), out=str(out), load_4bit=load_4bit
            )
            with pytest.raises(BadInput) as caught:
                run_document(train, engine=engine)
            line = str(caught.value)
            assert line.startswith(f"{tiny_base_copy}: ")
            assert refusal.what in line
            assert f"({refusal.way_out}" in line
    finally:
        engine.close()
    assert not [event for event in seen if isinstance(event, BaseLoaded)]
    assert not out.exists()


def test_targets_that_are_fused_experts_are_refused_before_the_base_is_loaded(
    tmp_path: Path, tokenizer: Path
) -> None:
    base = save_base("qwen3_moe", tmp_path / "moe", tokenizer)
    data = write_sessions(tmp_path / "data", 2)
    train = jobs.Train(
        base=str(base), data=str(data), out=str(tmp_path / "run"),
        recipe=Recipe(targets="q_proj,gate_proj"),
    )  # fmt: skip
    with pytest.raises(BadInput, match=r"called gate_proj; its experts \(.*\) are fused"):
        run_document(train)
    assert not (tmp_path / "run").exists()


def test_weights_in_a_vendors_format_beside_the_base_are_not_part_of_it(
    tiny_base: Path, tiny_base_copy: Path
) -> None:
    before = base_digest(tiny_base)
    other = {
        "tok_embeddings.weight": load_file(tiny_base / "model.safetensors")["model.norm.weight"]
    }
    save_file(other, tiny_base_copy / "consolidated.safetensors")
    (tiny_base_copy / "original").mkdir()
    save_file(other, tiny_base_copy / "original" / "model.safetensors")
    assert base_digest(tiny_base_copy) == before
    assert [path.name for path in weight_files(tiny_base_copy)] == ["model.safetensors"]


def test_a_base_in_several_files_is_those_that_its_index_lists(
    tiny_base: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    folder = Path(shutil.copytree(tiny_base, tmp_path / "sharded"))
    (folder / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(tiny_base).save_pretrained(folder, max_shard_size="5MB")
    save_file({"x": load_file(tiny_base / "model.safetensors")["model.norm.weight"]},
              folder / "consolidated.safetensors")  # fmt: skip
    names = [path.name for path in weight_files(folder)]
    assert len(names) > 1
    assert all(name.startswith("model-0000") for name in names)
    ResidentBase.load(folder)
    (folder / names[0]).unlink()
    with pytest.raises(BadInput, match=f"lists {names[0]}, which is not here"):
        ResidentBase.load(folder)


def test_weights_in_a_vendors_format_alone_are_refused_by_name(tiny_base_copy: Path) -> None:
    (tiny_base_copy / "model.safetensors").rename(tiny_base_copy / "consolidated.safetensors")
    with pytest.raises(BadInput, match=r"neither model.safetensors nor .* but consolidated"):
        ResidentBase.load(tiny_base_copy)


def test_the_class_is_the_one_that_the_configuration_names_as_servers_choose_it(
    tiny_base_copy: Path,
) -> None:
    edit_config(tiny_base_copy, architectures=["OwnNameForCausalLM"])
    assert family_of(tiny_base_copy).model_class.__name__ == "LlamaForCausalLM"
    edit_config(tiny_base_copy, architectures=None)
    assert family_of(tiny_base_copy).model_class.__name__ == "LlamaForCausalLM"


def test_a_card_without_bfloat16_computes_in_float32_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is no such card here; torch is asked as it would be."""
    import torch

    card = CudaDevice(torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "device", lambda _place: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _place: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_options: False)
    assert card.dtype == torch.float32
    assert card.warning == (
        "Tesla T4 has no bfloat16: the base computes in float32, in twice the memory"
    )
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_options: True)
    assert card.dtype == torch.bfloat16
    assert card.warning == ""
    assert Device(torch.device("cpu")).dtype == torch.float32
