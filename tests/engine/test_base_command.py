"""``sekft base add`` takes what a person has: a folder, a GGUF file, a known name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.cli.main import run


@pytest.fixture
def mine(tiny_base: Path, tmp_path: Path) -> Path:
    """A folder as it comes from the Hub: with a pickle and a hidden folder beside the weights."""
    folder = Path(shutil.copytree(tiny_base, tmp_path / "mine"))
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / ".cache").mkdir()
    (folder / "LICENSE").write_text("free")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


def document(words: list[str], capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    run([*words, "--json"])
    out, _ = capfd.readouterr()
    found: dict[str, Any] = json.loads(out)
    return found


def test_a_folder_is_added_to_the_workspace_and_checked(
    mine: Path, workspace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = ["--workspace", str(workspace)]
    added = document(["base", "add", str(mine), *place], capfd)
    assert added["how"] in ("linked", "copied")
    assert added["base"]["source"] == str(mine)
    folder = workspace / "bases" / "mine"
    assert added["base"]["path"] == str(folder)
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "tokenizer.json", "LICENSE", "sekft-base.json"} <= names
    assert "pytorch_model.bin" not in names
    (listed,) = document(["base", "list", *place], capfd)["bases"]
    assert listed["digest"] == added["base"]["digest"]
    (checked,) = document(["base", "check", "mine", *place], capfd)["bases"]
    assert checked["ok"] is True
    assert document(["base", "add", str(mine), *place], capfd)["how"] == "already there"


def test_a_base_that_cannot_be_read_hides_no_other(
    mine: Path, workspace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = ["--workspace", str(workspace)]
    assert run(["base", "add", str(mine), "-q", *place]) == 0
    broken = workspace / "bases" / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    (broken / "model.safetensors").symlink_to(workspace / "gone")
    capfd.readouterr()
    listed = document(["base", "list", *place], capfd)["bases"]
    assert [base["name"] for base in listed] == ["broken", "mine"]
    assert "no such file" in listed[0]["problem"]
    assert listed[0]["ok"] is False
    assert run(["base", "check", *place]) == 1
    said, _ = capfd.readouterr()
    assert "MEND  broken" in said
    assert "ok    mine" in said


def test_another_base_of_the_same_name_is_not_replaced(
    mine: Path, workspace: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = ["--workspace", str(workspace)]
    assert run(["base", "add", str(mine), "-q", *place]) == 0
    other = Path(shutil.copytree(mine, tmp_path / "elsewhere" / "mine"))
    config = other / "config.json"
    config.write_text(config.read_text().replace("1e-06", "1e-05"))
    capfd.readouterr()
    refused = document(["base", "add", str(other), *place], capfd)
    assert refused["exit"] == 2
    assert refused["error"]["what"] == "another base has this name"


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere", "nowhere"])
def test_what_is_not_there_is_refused_with_what_can_be_named(
    name: str, workspace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = document(["base", "add", name, "--workspace", str(workspace)], capfd)
    assert refused["exit"] == 2
    assert "folder" in refused["error"]["mend"]


def test_a_person_is_told_what_was_added_and_what_is_there(
    mine: Path, workspace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = ["--workspace", str(workspace)]
    assert run(["base", "add", str(mine), *place]) == 0
    folder = workspace / "bases" / "mine"
    first, source, digest = capfd.readouterr().out.splitlines()
    assert first.startswith(f"{folder}: ")
    assert source.endswith(f"MiB, from {mine}")
    broken = workspace / "bases" / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    (broken / "model.safetensors").symlink_to(workspace / "gone")
    assert run(["base", "list", *place]) == 0
    shown = capfd.readouterr().out
    assert "MEND  broken" in shown
    assert f"MiB  {digest.split()[-1][:16]}  {folder}" in shown
