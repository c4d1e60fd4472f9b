"""What is trained and evaluated on: sessions and worlds of the factory."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sekft_engine.data.recipe import Recipe
from sekft_engine.data.scenario import Scenario
from sekft_engine.factory import make
from sekft_engine.model.resident import ResidentBase
from sekft_engine.sources import load_scenarios
from sekft_engine.training.trainer.data import TrainRow, load_data


def rows_of(base: ResidentBase, count: int, recipe: Recipe) -> list[TrainRow]:
    """Rows of recorded sessions, in the order of ``recipe``'s seed."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made"
        make(made, train=count, holdout=0, seed=0)
        return list(load_data(str(made / "trajectories"), "", base.tokenizer, recipe).train[:count])


def held_out(count: int) -> tuple[Scenario, ...]:
    """Scenarios that nothing is trained on."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "made", train=0, holdout=count, seed=0)
        return load_scenarios(Path(folder) / "made" / "scenarios" / "holdout")
