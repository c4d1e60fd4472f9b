"""Real tokenizers: SmolLM2, and every Mistral tokenizer that ships in mistral-common."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import mistral_common
import pytest

from sekft_engine.render import ChatTokenizer
from tests.once import made_once
from tests.render.templates import MISTRAL

_DATA = Path(mistral_common.__file__).parent / "data"
#: short name -> the file in mistral-common, and the public template that belongs to it
MISTRAL_FILES = {
    "v1": ("tokenizer.model.v1", "v0.2"),
    "v2": ("mistral_instruct_tokenizer_240216.model.v2", "v0.3"),
    "v3": ("mistral_instruct_tokenizer_240323.model.v3", "v0.3"),
    "v7": ("mistral_instruct_tokenizer_241114.model.v7", "v0.3"),
    "tekken-v3": ("tekken_240718.json", "nemo"),
    "tekken-v7": ("tekken_240911.json", "nemo"),
}


class Base:
    """A saved tokenizer folder and both ways to load it."""

    def __init__(self, folder: Path, vendor: Path | None = None) -> None:
        self.folder = folder
        self.vendor = vendor
        self.ours = ChatTokenizer.load(folder)

    @property
    def theirs(self) -> Any:
        return _transformers(self.folder)

    def with_template(self, template: str) -> ChatTokenizer:
        return self.ours.with_template(template)


@cache
def _transformers(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


MakeBase = Callable[[str], Base]


@pytest.fixture(scope="session")
def smol(smollm2: Path) -> Base:
    return Base(smollm2)


@pytest.fixture(scope="session")
def bases(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeBase:
    """Any base by name: ``smollm2``, or a Mistral one as ``v3``, ``v3/own``, ``v3/legacy``.

    ``own`` has the template that the vendor's package makes for it; ``legacy`` is the form of
    ``tokenizer.json`` that many Hub repositories hold, whose normaliser puts a space before
    every piece between control tokens.
    """

    @cache
    def make(name: str) -> Base:
        if name == "smollm2":
            return Base(smollm2)
        version, _, variant = name.partition("/")
        file, public = MISTRAL_FILES[version]

        def fill(folder: Path) -> None:
            if variant:
                shutil.copytree(make(version).folder, folder)
            else:
                _save(_DATA / file, folder)
            if variant == "legacy":
                _make_legacy(folder / "tokenizer.json")
            template = _vendor_template(_DATA / file) if variant == "own" else MISTRAL[public]
            (folder / "chat_template.jinja").write_text(template, encoding="utf-8")

        folder = made_once(tmp_path_factory, f"mistral/{name.replace('/', '-')}", fill)
        return Base(folder, _DATA / file)

    return make


def _save(file: Path, folder: Path) -> None:
    """Convert as transformers does, and save as a Hub repository looks."""
    from transformers import LlamaTokenizer, TokenizersBackend
    from transformers.integrations.mistral.tokenizer import MistralConverter

    if file.suffix == ".json":
        tokenizer = TokenizersBackend(
            tokenizer_object=MistralConverter(str(file)).converted(),
            bos_token="<s>",
            eos_token="</s>",
            unk_token="<unk>",
        )
    else:
        folder.mkdir()
        (folder / "tokenizer.model").write_bytes(file.read_bytes())
        tokenizer = LlamaTokenizer.from_pretrained(str(folder))
    tokenizer.save_pretrained(folder)
    if file.suffix != ".json":
        _order_merges(folder / "tokenizer.json", file)
    config = folder / "tokenizer_config.json"
    table = json.loads(config.read_text()) | {"tokenizer_class": "TokenizersBackend"}
    config.write_text(json.dumps(table))


def _order_merges(path: Path, model: Path) -> None:
    """Order the merges by score, as the Hub's files have them: transformers 5 orders them by id
    when it converts anew, and then runs of spaces are cut in another way than the vendor does."""
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(str(model))
    score = {pieces.id_to_piece(n): pieces.get_score(n) for n in range(len(pieces))}
    spec = json.loads(path.read_text())
    spec["model"]["merges"].sort(key=lambda merge: -score["".join(merge)])
    path.write_text(json.dumps(spec))


def _make_legacy(path: Path) -> None:
    spec = json.loads(path.read_text())
    spec["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    }
    spec["pre_tokenizer"] = None
    path.write_text(json.dumps(spec))


def _vendor_template(file: Path) -> str:
    from mistral_common.integrations.chat_templates.chat_templates import (
        convert_tokenizer_to_chat_template,
    )

    return str(convert_tokenizer_to_chat_template(file))


@pytest.fixture(scope="session")
def families(bases: MakeBase, tmp_path_factory: pytest.TempPathFactory) -> MakeBase:
    """Any family of :data:`tests.render.families.FAMILIES` by name."""
    from tests.render.families import family_maker

    return family_maker(bases, tmp_path_factory)


ALL_BASES = (
    "smollm2",
    *MISTRAL_FILES,
    *(f"{name}/own" for name in MISTRAL_FILES),
    "v1/legacy",
    "v3/legacy",
)


@pytest.fixture(scope="session", params=ALL_BASES)
def any_base(request: pytest.FixtureRequest, bases: MakeBase) -> Base:
    """Each real base in turn."""
    return bases(request.param)
