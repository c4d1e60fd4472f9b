"""Take over: type by hand where a session had come to, and keep what comes of it."""

from sekft_tui.screens.takeover.opening import begin_at, choose_world
from sekft_tui.screens.takeover.screen import TakeOverScreen

__all__ = ["TakeOverScreen", "begin_at", "choose_world"]
