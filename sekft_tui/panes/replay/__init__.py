"""Replay: what operators did, as if one watched over their shoulder; two of them side by side."""

from sekft_tui.panes.replay.pane import ReplayPane

__all__ = ["ReplayPane"]
