"""Eval: who acts on which worlds, a grid of verdicts that fills while they do, and the rates."""

from sekft_tui.panes.eval.pane import EvalPane

__all__ = ["EvalPane"]
