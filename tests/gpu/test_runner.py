"""The runner of the GPU checks goes all its ways on a CPU, so that no card tests it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.gpu.__main__ import NO_CARD, main
from tests.gpu.checks import CHECKS, ROOT
from tests.gpu.finding import Finding, Report, table

#: Checks that take long even on toys, and whose work other tests do: all of them run on a CPU with
#: ``python -m tests.gpu --device cpu --tiny``.
_BY_HAND = {"compiled", "train_benchmark", "eval_benchmark"}


#: Does checks one after the other in one process, which imports torch once; a line for each.
_ALL = """
import json, sys, traceback
from pathlib import Path
from tests.gpu.bases import Setting
from tests.gpu.checks import CHECKS
from tests.gpu.finding import Skip
base, place, *names = sys.argv[1:]
setting = Setting(device="cpu", tiny=True, base=base, place=Path(place))
for name in names:
    try:
        found = CHECKS[name](setting)
    except Skip as skip:
        found = {"skipped": str(skip)}
    except Exception:
        found = {"failed": traceback.format_exc()}
    print("figures", json.dumps([name, found]))
"""


def test_every_check_gives_figures_on_toys(smollm2: Path, tmp_path: Path) -> None:
    names = [name for name in CHECKS if name not in _BY_HAND]
    hidden = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", _ALL, str(smollm2), str(tmp_path), *names],
        cwd=ROOT, env=os.environ | hidden, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("figures ")]
    figures = dict(json.loads(line.removeprefix("figures ")) for line in said)
    assert list(figures) == names
    for name, found in figures.items():
        assert found, name
        assert "failed" not in found, found["failed"]
        assert ("skipped" in found) == (name == "large_benchmark"), name


def test_the_runner_does_each_check_in_a_process_and_writes_what_it_found(
    smollm2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--device", "cpu", "--tiny", "--base", str(smollm2), "--out", str(tmp_path)]
    status = main([*words, "--only", "packed_rows", "large_benchmark"])
    document = json.loads((tmp_path / "gpu.json").read_text())
    passed, skipped = document["findings"]
    assert status == 0, (passed["why"], capsys.readouterr().err)
    assert document["tiny"] is True
    assert document["machine"]["torch"] == torch.__version__
    assert (passed["state"], skipped["state"]) == ("passed", "skipped")
    assert passed["figures"]
    written = (tmp_path / "gpu.md").read_text()
    assert f"| {passed['title']} | passed |" in written
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
