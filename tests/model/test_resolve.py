"""From what a person calls a base to a folder, or to a line that says what is wrong."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from sekft_engine.bases import base_digest, cache_root, current_digest, ready_base, resolve_base
from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.data.workspace import Workspace


def test_a_folder_and_a_name_in_the_workspace_are_found(tiny_base: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path).create()
    (workspace.bases / "tiny").symlink_to(tiny_base)
    assert resolve_base(str(tiny_base)) == tiny_base
    assert resolve_base("tiny", workspace) == workspace.bases / "tiny"
    assert resolve_base("", workspace) == workspace.bases / "tiny"
    assert ready_base("tiny", workspace) == workspace.bases / "tiny"


@pytest.mark.parametrize(
    ("spec", "error", "line"),
    [
        ("", BadInput, "no base named"),
        ("no such base", BadInput, "no such base: no such base"),
        ("/no/such/folder", BadInput, "no such base"),
        ("smollm2-135m", Unavailable, "sekft base add smollm2-135m"),
        ("some-org/some-model", Unavailable, "some-org/some-model: neither in the Hub's cache"),
    ],
)
def test_what_is_not_there_is_told_with_the_way_out(
    spec: str, error: type[Exception], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("SEKFT_CACHE", str(tmp_path))
    if spec == "some-org/some-model":
        assert ready_base(spec) is None, "the engine looks whether it can be fetched"
    with pytest.raises(error) as caught:
        resolve_base(spec)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_refused_because_they_can_run_code(tiny_base_copy: Path) -> None:
    (tiny_base_copy / "model.safetensors").rename(tiny_base_copy / "pytorch_model.bin")
    with pytest.raises(BadInput, match=r"pickled weights \(pytorch_model.bin\)"):
        resolve_base(str(tiny_base_copy))


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", r"no \*.safetensors"),
        ("tokenizer.json", "no tokenizer.json"),
    ],
)
def test_an_incomplete_folder_is_told_by_what_it_lacks(
    missing: str, line: str, tiny_base_copy: Path
) -> None:
    (tiny_base_copy / missing).unlink()
    with pytest.raises(BadInput, match=line):
        resolve_base(str(tiny_base_copy))


def test_a_folder_of_a_vendors_tokenizer_alone_is_told_how_it_converts(
    tiny_base_copy: Path,
) -> None:
    (tiny_base_copy / "model.safetensors").unlink()
    (tiny_base_copy / "tokenizer.json").rename(tiny_base_copy / "tokenizer.model")
    with pytest.raises(BadInput, match=r"tokenizer\.model, which converts: sekft base tokenizer"):
        ready_base(str(tiny_base_copy))


def test_a_file_that_is_no_gguf_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEKFT_CACHE", str(tmp_path / "cache"))
    fake = tmp_path / "model.gguf"
    fake.write_bytes(b"not what it says")
    with pytest.raises(BadInput, match="not a GGUF file"):
        resolve_base(str(fake))
    assert list(cache_root().iterdir()) == []
    (tmp_path / "model.txt").write_text("text")
    with pytest.raises(BadInput, match=r"a folder or a \.gguf file"):
        resolve_base(str(tmp_path / "model.txt"))


def test_a_base_one_may_not_read_is_told_with_its_name(tiny_base: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(shutil.copytree(tiny_base, Path(folder) / "tiny"))
        Path(folder).chmod(0o755)
        (base / "model.safetensors").chmod(0)
        me = os.geteuid()
        if me == 0:  # root may read everything, so be someone else for a moment
            os.seteuid(65534)
        try:
            with pytest.raises(Unavailable, match="safetensors: no permission to read"):
                resolve_base(str(base))
        finally:
            os.seteuid(me)


def test_the_digest_is_over_weights_and_architecture_only(tiny_base_copy: Path) -> None:
    before = base_digest(tiny_base_copy)
    config = tiny_base_copy / "config.json"
    config.write_text(config.read_text().replace('"transformers_version"', '"_name_or_path"'))
    assert base_digest(tiny_base_copy) == before
    config.write_text(config.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))
    assert base_digest(tiny_base_copy) != before


def test_a_remembered_digest_does_not_outlive_the_file(
    tiny_base_copy: Path, tmp_path: Path
) -> None:
    memo = tmp_path / "memo"
    before = base_digest(tiny_base_copy, memo)
    assert base_digest(tiny_base_copy, memo) == before == base_digest(tiny_base_copy)
    weights = tiny_base_copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert base_digest(tiny_base_copy, memo) != before


def test_records_of_versions_that_counted_every_weight_file_stay_valid(
    tiny_base_copy: Path,
) -> None:
    plain = base_digest(tiny_base_copy)
    weights = tiny_base_copy / "model.safetensors"
    vendors = tiny_base_copy / "consolidated.safetensors"
    shutil.copy(weights, vendors)
    config = json.loads((tiny_base_copy / "config.json").read_text())
    volatile = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"}
    facts = {key: value for key, value in config.items() if key not in volatile}
    earlier = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for file in (vendors, weights):
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        earlier.update(f"\n{file.name} {sha256}".encode())

    digest = base_digest(tiny_base_copy)
    assert digest == plain
    assert current_digest(earlier.hexdigest(), tiny_base_copy, digest) == digest
    assert current_digest("0" * 64, tiny_base_copy, digest) == "0" * 64
    assert current_digest("", tiny_base_copy, digest) == ""
