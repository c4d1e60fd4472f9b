"""A merged model generates as its base does, and stops where the adapter learnt to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.core.errors import JobFailed
from sekft_engine.data.recipe import Recipe
from sekft_engine.export.gguf_ready import make_ready
from sekft_engine.records import jobs
from tests.documents import run_document
from tests.families.models import save_base, small_tokenizer
from tests.training.sessions import write_sessions

RECIPE = Recipe(rank=2, max_steps=1, batch=2, heldout=0, token_losses=0, recompute="never")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Path:
    place = tmp_path_factory.mktemp("generation")
    return save_base("llama", place / "base", small_tokenizer(smollm2, place / "words"))


def merged(base: Path, place: Path, kind: str = "merged") -> Path:
    data = write_sessions(place / "data", 2)
    train = jobs.Train(base=str(base), data=str(data), out=str(place / "run"), recipe=RECIPE)
    run_document(train)
    target = place / "merged"
    run_document(jobs.Export(source=str(place / "run"), target=str(target), kind=kind))  # type: ignore[arg-type]
    return target


def settings(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "generation_config.json").read_text())
    return found


def test_settings_that_transformers_reads_but_does_not_write_are_copied_as_they_are(
    base: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(base, tmp_path / "own"))
    text = '{"temperature": 0.9,\n "top_p": 0.6, "eos_token_id": 2}\n'
    (own / "generation_config.json").write_text(text)
    target = merged(own, tmp_path)
    assert (target / "generation_config.json").read_text() == text


def test_the_token_that_ends_a_trained_turn_ends_what_the_merged_model_writes(
    base: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(base, tmp_path / "own"))
    (own / "generation_config.json").write_text('{"top_k": 20, "eos_token_id": 0}')
    assert settings(merged(own, tmp_path)) == {"top_k": 20, "eos_token_id": [0, 2]}


def test_a_base_without_settings_gets_those_of_its_configuration(
    base: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(base, tmp_path / "own"))
    (own / "generation_config.json").unlink()
    assert settings(merged(own, tmp_path))["eos_token_id"] == 2


def test_a_gguf_folder_that_would_never_stop_is_refused(base: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "own"))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        path = folder / name
        path.write_text(path.read_text().replace("<|im_end|>", "<|over|>"))
    words = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(words | {"eos_token": "<|im_start|>"}))
    with pytest.raises(JobFailed, match=r"would not stop at <\|over\|>"):
        make_ready(folder)
