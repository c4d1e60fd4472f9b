"""Trajectories: what there is to learn from, and which tokens of it are trained."""

from sekft_tui.panes.trajectories.pane import TrajectoriesPane

__all__ = ["TrajectoriesPane"]
