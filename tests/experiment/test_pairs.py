"""Preference pairs: what a verified session typed where a failed one typed something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.experiment.conftest import Sekft


def test_pairs_stand_at_the_first_command_that_differs_in_the_format_of_trl(
    controls: Path, sekft: Sekft, tmp_path: Path
) -> None:
    target = tmp_path / "pairs.jsonl"
    status, out, _ = sekft("pairs", str(controls), str(target), "--json")
    assert status == 0
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    # exit and panic fail in the six doable worlds, exit alone fails in the two blocked ones,
    # where two right sessions differ from it.
    assert json.loads(out)["pairs"] == len(lines) == 6 * 2 + 2 * 2
    first = next(line for line in lines if line["scenario"] == "w0")
    assert [turn["role"] for turn in first["prompt"]] == ["user"]
    assert first["chosen"] == [{"role": "assistant", "content": "quil"}]
    assert first["rejected"][0]["content"] in ("exit", "panic x")
    assert "the checker failed" in first["why"] or "panic" in first["why"]


def test_trl_reads_them(controls: Path, sekft: Sekft, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    data_utils = pytest.importorskip("trl.data_utils")
    target = tmp_path / "pairs.jsonl"
    sekft("pairs", str(controls), str(target))
    rows = datasets.load_dataset("json", data_files=str(target), cache_dir=str(tmp_path / "cache"))
    example = rows["train"][0]
    assert data_utils.is_conversational(example)
    assert {"prompt", "chosen", "rejected"} <= example.keys()


def test_a_run_in_which_nothing_differs_is_told(
    controls: Path, sekft: Sekft, tmp_path: Path
) -> None:
    empty = tmp_path / "run"
    empty.mkdir()
    (empty / "run.json").write_text((controls / "run.json").read_text())
    status, _, err = sekft("pairs", str(empty), str(tmp_path / "pairs.jsonl"))
    assert status == 2
    assert "no episodes in this run" in err
    assert not (tmp_path / "pairs.jsonl").exists()
