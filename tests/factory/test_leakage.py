"""The leakage report finds what is in both sets, and nothing in the factory's own splits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sekft_engine.cli.main import run
from sekft_engine.data.scenario import Scenario
from sekft_engine.factory.compose import compose
from sekft_engine.factory.leakage import leakage, normalised
from sekft_engine.factory.splits import SPLITS, Split, specs


@pytest.fixture(scope="module")
def training() -> list[Scenario]:
    return [compose(spec) for spec in specs("train", 400, 0)]


def write(folder: Path, bundles: list[Scenario]) -> Path:
    folder.mkdir()
    for bundle in bundles:
        (folder / f"{bundle.id}.json").write_text(json.dumps(bundle.to_json()))
    return folder


@pytest.mark.parametrize("split", [split for split in SPLITS if split not in ("train", "seen")])
def test_held_out_worlds_share_no_directive_with_training(
    training: list[Scenario], split: Split
) -> None:
    report = leakage(training, [compose(spec) for spec in specs(split, 120, 0)])
    found, control = report.held_out, report.control
    assert report.sound
    assert found.directives.exact == 0
    assert found.directives.shared < 0.01 * found.directives.ngrams
    assert found.commands.exact < 0.05 * found.commands.texts
    assert control.directives.exact == report.contaminated == 12
    assert control.directives.shared > 20 * max(1, found.directives.shared)
    assert control.commands.exact > 2 * found.commands.exact


def test_case_numbers_and_spacing_hide_nothing() -> None:
    assert normalised("Sort  A-12.txt\ninto b") == normalised("sort a-7.txt into B")
    assert normalised("sort a.txt") != normalised("sort b.txt")


def test_leakage_command(
    training: list[Scenario], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = write(tmp_path / "train", training[:20])
    ours = write(tmp_path / "held", [compose(spec) for spec in specs("primitives", 10, 0)])
    assert run(["factory", "leakage", str(theirs), str(ours), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["held_out"]["directives"]["exact"] == 0
    assert document["control"]["directives"]["exact"] == document["contaminated"] == 1
    assert run(["factory", "leakage", str(theirs), str(theirs)]) == 1
    shown = capsys.readouterr().out
    assert "20 of 20 are in the training data" in shown
    assert "in both: " in shown
