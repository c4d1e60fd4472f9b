"""Panes: one per tab; each draws the shared state of the bridge."""

from __future__ import annotations

from collections.abc import Mapping

from sekft_tui.input.actions import Place
from sekft_tui.panes.eval import EvalPane
from sekft_tui.panes.log import LogPane
from sekft_tui.panes.pane import Pane
from sekft_tui.panes.replay import ReplayPane
from sekft_tui.panes.runs import RunsPane
from sekft_tui.panes.train import TrainPane
from sekft_tui.panes.trajectories import TrajectoriesPane

#: The class of each pane; one is made at its first visit.
PANE_TYPES: Mapping[Place, type[Pane]] = {
    "trajectories": TrajectoriesPane,
    "train": TrainPane,
    "eval": EvalPane,
    "replay": ReplayPane,
    "runs": RunsPane,
    "log": LogPane,
}
