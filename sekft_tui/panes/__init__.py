"""Panes: one per tab; each draws the shared state of the bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sekft_tui.input.places import Place
    from sekft_tui.panes.pane import Pane


def pane_type(name: Place) -> type[Pane]:
    """The class of a pane, which is read at the pane's first visit: what no one looks at costs
    nothing at the start."""
    match name:
        case "trajectories":
            from sekft_tui.panes.trajectories import TrajectoriesPane

            return TrajectoriesPane
        case "train":
            from sekft_tui.panes.train import TrainPane

            return TrainPane
        case "eval":
            from sekft_tui.panes.eval import EvalPane

            return EvalPane
        case "replay":
            from sekft_tui.panes.replay import ReplayPane

            return ReplayPane
        case "runs":
            from sekft_tui.panes.runs import RunsPane

            return RunsPane
        case "log":
            from sekft_tui.panes.log import LogPane

            return LogPane
    raise ValueError(f"there is no pane {name!r}")
