"""Adapters that are broken, or made to do harm: refused, in one line, and nothing has happened."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from sekft_engine.core.errors import BadInput, DigestMismatch, SekftError
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.attaching import patterns
from sekft_engine.model.resident import ResidentBase
from tests.fuzzing import fuzz
from tests.model.adapters import (
    CONFIG,
    LINEAR,
    WEIGHTS,
    bits,
    edit_config,
    logits,
    refused,
    resident,
    save_peft,
    shape_of,
)

FIELDS: dict[str, Any] = {
    "r": 4, "lora_alpha": 8, "target_modules": LINEAR["llama"], "task_type": "CAUSAL_LM",
}  # fmt: skip


@pytest.fixture(scope="module")
def loaded(smollm2: Path) -> ResidentBase:
    return resident("llama", smollm2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_peft("llama", tmp_path_factory.mktemp("adapters") / "good", FIELDS)


@pytest.fixture
def good(made: Path, tmp_path: Path) -> Path:
    """An adapter of one's own, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "adapter"))


@pytest.fixture
def base(loaded: ResidentBase, made: Path) -> Iterator[ResidentBase]:
    """A base that carries an adapter, and must be the same afterwards, to the last bit."""
    loaded.attach("there", made)
    there = logits(loaded.model)
    yield loaded
    assert list(loaded.adapters) == ["there"]
    assert loaded.active == "there"
    assert torch.equal(logits(loaded.model), there)
    loaded.prove()
    loaded.drop("there")


def write(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    save_file(tensors, folder / WEIGHTS)
    return folder


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(folder / WEIGHTS)
    return found


def renamed(folder: Path, old: str, new: str) -> Path:
    return write(folder, {k.replace(old, new): one for k, one in tensors_of(folder).items()})


# --- what a file may hold ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.model.embed_tokens.weight",
        "base_model.model.lm_head.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight",
        "base_model.model.model.norm.weight",
    ],
)
def test_a_tensor_of_the_base_is_refused_by_its_name(
    base: ResidentBase, good: Path, name: str
) -> None:
    write(good, tensors_of(good) | {name: torch.zeros(2, 2)})
    with pytest.raises(BadInput, match=f"it carries {name}, which is a tensor of the base") as told:
        base.attach("a", good)
    assert "save_embedding_layers=False" in str(told.value)


def test_a_name_that_would_act_on_a_terminal_is_shown_and_stays_in_its_line(
    base: ResidentBase, good: Path
) -> None:
    write(good, tensors_of(good) | {"a\nb\x1b[2J\u202e" + "x" * 10_000: torch.zeros(1)})
    with pytest.raises(BadInput, match="which is no adapter's") as told:
        base.attach("a", good)
    text = str(told.value)
    assert not set(text) & {"\n", "\x1b", "\u202e"}
    assert len(text) < 600


@pytest.mark.parametrize(
    ("theirs", "shown"),
    [
        ("base_model.model.language_model.model.", "base_model.model.language_model."),
        ("base_model.model.model.language_model.", "base_model.model.model.language_model."),
        ("base_model.model.", "base_model.model."),
    ],
)
def test_names_of_a_text_model_inside_a_wrapper_are_told_with_both_names(
    base: ResidentBase, good: Path, theirs: str, shown: str
) -> None:
    renamed(good, "base_model.model.model.", theirs)
    with pytest.raises(DigestMismatch, match="other names") as told:
        base.attach("a", good)
    layer = "layers.0.mlp.down_proj.lora_A.weight"
    assert f"{theirs}{layer}" in str(told.value)
    assert f"base_model.model.model.{layer}" in str(told.value)
    assert shown in str(told.value)


def test_numbers_that_are_not_finite_are_refused_by_the_name_of_their_tensor(
    base: ResidentBase, good: Path
) -> None:
    tensors = tensors_of(good)
    name = sorted(tensors)[3]
    for value in (float("nan"), float("inf")):
        tensors[name][0, 1] = value
        with pytest.raises(BadInput, match=f"{name} holds numbers that are not finite"):
            base.attach("a", write(good, tensors))


def test_types_that_no_adapter_has_are_refused(base: ResidentBase, good: Path) -> None:
    for kind in (torch.float64, torch.int32, torch.float8_e4m3fn):
        tensors = {name: one.to(kind) for name, one in tensors_of(good).items()}
        with pytest.raises(BadInput, match="numbers of type"):
            base.attach("a", write(good, tensors))


def test_half_precision_is_taken_as_peft_takes_it(base: ResidentBase, good: Path) -> None:
    from tests.model.adapters import peft_logits

    for kind in (torch.bfloat16, torch.float16):
        write(good, {name: one.to(kind) for name, one in tensors_of(good).items()})
        base.attach("a", good)
        torch.testing.assert_close(
            logits(base.model), peft_logits("llama", good), atol=1e-5, rtol=1e-5
        )
        base.drop("a")
        base.activate("there")


def header(folder: Path) -> dict[str, Any]:
    content = (folder / WEIGHTS).read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    told: dict[str, Any] = json.loads(content[8 : 8 + size])
    return told


def with_header(folder: Path, told: bytes, body: int | None = None) -> Path:
    """The file with another header, and a body of so many bytes that take no room on the disk."""
    path = folder / WEIGHTS
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    path.write_bytes(struct.pack("<Q", len(told)) + told + content[8 + size :])
    if body is not None:
        os.truncate(path, 8 + len(told) + body)
    return folder


def test_sizes_that_no_machine_has_are_refused_before_anything_is_read(
    base: ResidentBase, good: Path
) -> None:
    """A rank of a million, and a header and a file (without any disk behind it) that agree."""
    rank = 1_000_000
    edit_config(good, r=rank)
    told: dict[str, Any] = {}
    at = 0
    for name, entry in header(good).items():
        if name == "__metadata__":
            continue
        shape = [rank if size == 4 else size for size in entry["shape"]]
        size = 4 * shape[0] * shape[1]
        told[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    with_header(good, json.dumps(told).encode(), at)
    with pytest.raises(BadInput, match="rank 1000000 is more than twice the width"):
        base.attach("a", good)
    edit_config(good, r=4)
    with pytest.raises(DigestMismatch, match="do not fit"):
        base.attach("a", good)


@pytest.mark.parametrize(
    "change",
    [
        lambda told: {"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 16]},
        lambda told: told | {"shape": [-4, 32]},
        lambda told: told | {"shape": "4, 32"},
        lambda told: told | {"data_offsets": [0, 1 << 60]},
        lambda told: told | {"data_offsets": [8, 4]},
        lambda told: told | {"dtype": "BF16"},
        lambda told: [told],
        lambda told: None,
    ],
)
def test_headers_that_lie_are_refused(
    base: ResidentBase, good: Path, change: Callable[[Any], Any]
) -> None:
    told = header(good)
    name = next(name for name in told if name != "__metadata__")
    told[name] = change(told[name])
    with pytest.raises(BadInput, match="broken"):
        base.attach("a", with_header(good, json.dumps(told).encode()))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 8,
        b"\xff" * 8,
        struct.pack("<Q", 1 << 62) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
        struct.pack("<Q", 2) + b"{}" + b"x" * 99,
    ],
)  # fmt: skip
def test_files_that_are_none_are_refused(base: ResidentBase, good: Path, content: bytes) -> None:
    (good / WEIGHTS).write_bytes(content)
    with pytest.raises(SekftError, match=r"broken|do not fit"):
        base.attach("a", good)


@given(data=st.data())
@fuzz(60)
def test_a_file_that_was_damaged_anywhere_is_refused_or_is_an_adapter_all_the_same(
    loaded: ResidentBase, made: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made, folder)
    before, shape = bits(loaded.model), shape_of(loaded.model)
    path = folder / data.draw(st.sampled_from([CONFIG, WEIGHTS, WEIGHTS]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(
            st.one_of(st.integers(0, min(2000, len(content) - 1)), st.integers(0, len(content) - 1))
        )
        piece = data.draw(st.binary(min_size=0, max_size=6))
        content[at : at + data.draw(st.integers(0, 6))] = piece
    path.write_bytes(content)
    refusal = refused(loaded, folder)
    assert "\n" not in refusal
    if not refusal:
        loaded.drop("a")
    assert bits(loaded.model) == before
    assert shape_of(loaded.model) == shape


# --- what a configuration may say ----------------------------------------------------------------


def test_a_field_of_a_newer_peft_is_refused_by_its_name_unless_it_is_not_in_use(
    base: ResidentBase, good: Path
) -> None:
    edit_config(good, use_future_variant=True)
    with pytest.raises(BadInput, match="use_future_variant true is a field that is not known") as e:
        base.attach("a", good)
    assert "remove it from the file if it does nothing" in str(e.value)
    in_use: list[Any] = [0, 1, "x", [0], {"a": None}, {}, 0.0]
    for value in in_use:
        with pytest.raises(BadInput, match="use_future_variant"):
            base.attach("a", edit_config(good, use_future_variant=value))
    unset: list[Any] = [False, None, "", []]
    for value in unset:
        base.attach("a", edit_config(good, use_future_variant=value))
        base.drop("a")
        base.activate("there")


def test_a_field_that_the_table_does_not_know_is_taken_at_the_default_of_the_installed_peft(
    base: ResidentBase, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sekft_engine.model.attaching import fields

    shorter = {name: take for name, take in fields.TABLE.items() if name != "qalora_group_size"}
    monkeypatch.setattr(fields, "TABLE", shorter)
    base.attach("a", edit_config(good, qalora_group_size=16))
    base.drop("a")
    base.activate("there")
    with pytest.raises(BadInput, match="qalora_group_size 32"):
        base.attach("a", edit_config(good, qalora_group_size=32))


@pytest.mark.parametrize("kind", ["IA3", "ADALORA", "PREFIX_TUNING", "VERA", None, 3])
def test_other_kinds_of_adapters_are_refused(base: ResidentBase, good: Path, kind: Any) -> None:
    with pytest.raises(BadInput, match="not a LoRA adapter"):
        base.attach("a", edit_config(good, peft_type=kind))


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"peft_type": "LORA", "r": ' + b"9" * 5000 + b"}", b"\xff\xfe\x00"],
)
def test_configurations_that_cannot_be_read_are_refused(
    base: ResidentBase, good: Path, content: bytes
) -> None:
    (good / CONFIG).write_bytes(content)
    with pytest.raises(BadInput, match="not JSON"):
        base.attach("a", good)


def test_a_file_of_terabytes_without_a_disk_behind_them_is_not_even_read(good: Path) -> None:
    from sekft_engine.records.adapters import adapter_digest

    os.truncate(good / WEIGHTS, 1 << 42)
    with pytest.raises(BadInput, match="larger than 32 GiB"):
        adapter_digest(good)


def test_files_that_have_no_end_are_refused(base: ResidentBase, good: Path) -> None:
    (good / "sekft.json").symlink_to("/dev/zero")
    with pytest.raises(BadInput, match="not a file"):
        base.attach("a", good)
    (good / "sekft.json").unlink()
    os.truncate(good / CONFIG, 1 << 40)
    with pytest.raises(BadInput, match="longer than"):
        base.attach("a", good)
    (good / WEIGHTS).unlink()
    os.mkfifo(good / WEIGHTS)
    with pytest.raises(SekftError):
        base.attach("a", good)


@pytest.mark.parametrize(
    "field", ["target_modules", "exclude_modules", "rank_pattern", "alpha_pattern"]
)
def test_a_pattern_that_would_never_end_is_refused_in_the_end(
    base: ResidentBase, good: Path, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 1)
    forever = r"(\w+\.?)+-"
    value: Any = {forever: 2} if field.endswith("pattern") else forever
    with pytest.raises(BadInput, match="takes too long to match"):
        base.attach("a", edit_config(good, **{field: value}))


@pytest.mark.parametrize("pattern", ["(", "a{4294967297}", "[z-a]", "(?P<x", "*"])
def test_a_pattern_that_is_none_is_refused(base: ResidentBase, good: Path, pattern: str) -> None:
    with pytest.raises(BadInput, match="is not valid"):
        base.attach("a", edit_config(good, target_modules=pattern))


def test_a_fresh_adapter_of_a_rank_that_no_layer_has_is_refused(base: ResidentBase) -> None:
    with pytest.raises(BadInput, match="rank 100000 is more than twice the width"):
        base.new_adapter("a", Recipe(rank=100_000, alpha=1))


def test_an_adapter_larger_than_its_base_is_refused(
    base: ResidentBase, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sekft_engine.model.attaching import plan

    monkeypatch.setattr(plan, "SMALL", 0)
    with pytest.raises(BadInput, match="more than its base"):
        base.attach("a", edit_config(good, r=40))


# --- what fails half-way -------------------------------------------------------------------------


@given(
    call=st.integers(0, 6000),
    error=st.sampled_from([RuntimeError, KeyboardInterrupt, MemoryError]),
    carries=st.booleans(),
)
@fuzz(40)
def test_whatever_call_within_peft_fails_all_is_as_it_was(
    loaded: ResidentBase, made: Path, call: int, error: type[BaseException], carries: bool
) -> None:
    """The error is raised at the so-manyeth call of a function of PEFT or of torch's modules."""
    before, shape, bare = bits(loaded.model), shape_of(loaded.model), logits(loaded.model)
    if carries:
        loaded.attach("there", made)
    there, active, acts = loaded.adapters, loaded.active, logits(loaded.model)
    if _attach_failing(loaded, made, call, error):
        assert (loaded.adapters, loaded.active) == (there, active)
        assert torch.equal(logits(loaded.model), acts)
        assert not any(one.requires_grad for one in loaded.model.parameters())
        loaded.prove()
    loaded.attach("after", made)
    for name in loaded.adapters:
        loaded.drop(name)
    assert bits(loaded.model) == before
    assert shape_of(loaded.model) == shape
    assert torch.equal(logits(loaded.model), bare)


def _attach_failing(
    base: ResidentBase, folder: Path, call: int, error: type[BaseException]
) -> bool:
    """Attach, with an error at the given call; whether there were so many calls."""
    left = call
    places = (f"{os.sep}peft{os.sep}", f"torch{os.sep}nn{os.sep}modules{os.sep}module.py")

    def watch(frame: Any, event: str, _: Any) -> None:
        nonlocal left
        code = frame.f_code
        if event != "call" or not any(place in code.co_filename for place in places):
            return
        if code.co_flags & inspect.CO_GENERATOR:  # nobody hears of what is raised as one is closed
            return
        left -= 1
        if left < 0:
            sys.setprofile(None)
            raise error("in the midst of it")

    sys.setprofile(watch)
    try:
        base.attach("a", folder)
    except (SekftError, error):
        return True
    finally:
        sys.setprofile(None)
    assert left >= 0, "an error that nobody heard of"
    base.drop("a")
    return False
