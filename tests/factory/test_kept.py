"""What the factory has recorded is kept while it works, and recorded once."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekft_engine.core.errors import Interrupted
from sekft_engine.factory import make
from sekft_engine.sources import load_scenarios

TRAIN = 6


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.json"))
    }


def test_stopped_it_goes_on_where_it_was_and_makes_the_same_bytes(tmp_path: Path) -> None:
    keep = tmp_path / "kept.jsonl"

    def stop(_label: str, done: int, _total: int) -> None:
        if done == 3:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        make(tmp_path / "one", train=TRAIN, holdout=0, seed=5, workers=1, keep=keep, progress=stop)
    assert not (tmp_path / "one" / "trajectories").exists()
    kept = keep.read_bytes().splitlines()
    assert 3 <= len(kept) < TRAIN
    with keep.open("ab") as file:
        file.write(kept[0][:40])  # what a killed process may leave of its last line
    make(tmp_path / "one", train=TRAIN, holdout=0, seed=5, keep=keep)
    make(tmp_path / "whole", train=TRAIN, holdout=0, seed=5)
    assert files(tmp_path / "one") == files(tmp_path / "whole")
    # Each was recorded once: the kept ones were taken from the file.
    assert len(keep.read_bytes().splitlines()) == TRAIN + 1
    # More of the same records only what is new.
    make(tmp_path / "more", train=TRAIN + 2, holdout=0, seed=5, keep=keep)
    assert len(keep.read_bytes().splitlines()) == TRAIN + 3


def test_training_worlds_of_some_kinds_have_no_other_part(tmp_path: Path) -> None:
    kinds = frozenset(("append", "copy", "count", "delete", "head", "merge", "sort", "tail"))
    make(tmp_path, train=4, holdout=0, seed=0, core=True, kinds=kinds)
    for scenario in load_scenarios(tmp_path / "scenarios" / "train"):
        assert {part for name in scenario.extra["parts"] for part in name.split("+")} <= kinds
