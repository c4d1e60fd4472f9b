"""Trajectories: the sessions of the data set, and which of their tokens are trained."""

from sekft_tui.panes.trajectories.pane import TrajectoriesPane

__all__ = ["TrajectoriesPane"]
