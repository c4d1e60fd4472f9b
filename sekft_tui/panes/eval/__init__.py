"""Eval: its set-up, the grid of verdicts as they come, and the rates."""

from sekft_tui.panes.eval.pane import EvalPane

__all__ = ["EvalPane"]
