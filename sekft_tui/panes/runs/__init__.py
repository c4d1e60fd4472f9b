"""Runs: every training run, eval, sweep and experiment of the workspace, with its result."""

from sekft_tui.panes.runs.pane import RunsPane

__all__ = ["RunsPane"]
