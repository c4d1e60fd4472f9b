"""What the tests of families share: a small tokenizer, sessions to train on, a world to act in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sekft_engine.training.run import memory_plan
from tests.families.models import small_tokenizer
from tests.training.sessions import write_sessions


@pytest.fixture(autouse=True)
def _short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the memory of a step on few tokens: recurrent layers take them one by one."""
    monkeypatch.setattr(memory_plan, "LENGTHS", (8, 16, 24))


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Path:
    return small_tokenizer(smollm2, tmp_path_factory.mktemp("tokenizers") / "small")


@pytest.fixture(scope="session")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sessions(tmp_path_factory.mktemp("data") / "trajectories", 4)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worlds") / "holdout"
    folder.mkdir()
    bundle = {
        "schema": 1, "id": "s", "archetype": "copy", "difficulty": 1, "doc_depth": "help",
        "provider": {"name": "quil", "path": "/usr/local/bin/quil", "script": "#!/bin/sh\n"},
        "announcement": {"channel": "motd", "text": "Orders: quil"}, "fixtures": {},
        "checker": "true", "reference_solution": ["exit"], "terminal": "exit",
    }  # fmt: skip
    (folder / "s.json").write_text(json.dumps(bundle))
    return folder
