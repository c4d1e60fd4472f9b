"""What a step was measured to need is known to the next process, as long as nothing changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekft_engine.training.planning.step import StepMemory
from sekft_engine.training.run.measured_memory import known_memory, remember_memory

MEASURED = StepMemory(
    fixed=1.5e9, per_token=3e6, per_squared_length=0.0, per_trained=4e5,
    logits_at_once=64, packs=True, parts=2,
)  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEKFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_was_measured_is_found_again_for_the_same_base_and_adapter_only() -> None:
    assert known_memory(("base", 16, "all-linear")) is None
    remember_memory(("base", 16, "all-linear"), MEASURED)
    assert known_memory(("base", 16, "all-linear")) == MEASURED
    assert known_memory(("base", 32, "all-linear")) is None
    assert known_memory(("other", 16, "all-linear")) is None


@pytest.mark.parametrize("content", [b"", b"{}", b'{"fixed": "much"}', b"\xff\x00", b"[" * 5000])
def test_a_damaged_file_is_measured_again(cache: Path, content: bytes) -> None:
    remember_memory(("base", 16), MEASURED)
    [file] = cache.rglob("*.json")
    file.write_bytes(content)
    assert known_memory(("base", 16)) is None


def test_a_cache_that_cannot_be_written_is_done_without(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    remember_memory(("base", 16), MEASURED)
    assert known_memory(("base", 16)) is None
