"""Replay: recorded and running episodes in a player, or two of them side by side."""

from sekft_tui.panes.replay.pane import ReplayPane

__all__ = ["ReplayPane"]
