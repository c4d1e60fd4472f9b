"""The runner of the GPU checks goes all its ways on a CPU, so that no card tests it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.gpu.__main__ import NO_CARD, main
from tests.gpu.checks import CHECKS
from tests.gpu.finding import Finding, Report, table

#: Checks that take long even on toys, and whose work other tests do: all of them run on a CPU with
#: ``python -m tests.gpu --device cpu --tiny``.
_BY_HAND = {"compiled", "train_benchmark", "eval_benchmark"}


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in _BY_HAND])
def test_every_check_runs_on_toys_and_gives_figures(
    name: str, smollm2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--device", "cpu", "--tiny", "--base", str(smollm2), "--only", name]
    status = main([*words, "--out", str(tmp_path)])
    document = json.loads((tmp_path / "gpu.json").read_text())
    (finding,) = document["findings"]
    assert status == 0, (finding["why"], capsys.readouterr().err)
    assert document["tiny"] is True
    assert document["machine"]["torch"] == torch.__version__
    if name == "large_benchmark":
        assert finding["state"] == "skipped"
        return
    assert finding["state"] == "passed"
    assert finding["figures"]
    written = (tmp_path / "gpu.md").read_text()
    assert f"| {finding['title']} | passed |" in written
    assert "the figures say nothing" in written


def test_a_check_that_fails_is_reported_and_the_others_go_on(smollm2: Path, tmp_path: Path) -> None:
    words = ["--device", "cpu", "--tiny", "--base", str(tmp_path / "nowhere")]
    assert main([*words, "--only", "parity", "decoding", "--out", str(tmp_path)]) == 1
    findings = json.loads((tmp_path / "gpu.json").read_text())["findings"]
    assert [finding["state"] for finding in findings] == ["failed", "failed"]
    assert all("no such base" in finding["why"] for finding in findings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_it_says_so_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == NO_CARD
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("no GPU check can run: torch ")
    assert "sekft doctor" in line


def test_the_table_is_markdown_whatever_a_check_says() -> None:
    findings = [
        Finding(name="a", title="one | two", figures={"swap_ms": 1.23456, "peak": {"sekft": 3}}),
        Finding(name="b", state="failed", why="line\nbreak | bar"),
    ]
    written = table(Report(machine={"card": "X", "ROCm": ""}, tiny=False, findings=findings))
    assert "| one / two | passed | swap ms 1.235; peak sekft 3 |" in written
    assert "| b | failed | - (line break / bar) |" in written
    assert "ROCm" not in written
