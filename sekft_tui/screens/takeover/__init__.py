"""Take over: type by hand from a turn of a session on, and keep the new session."""

from sekft_tui.screens.takeover.opening import begin_at, choose_world
from sekft_tui.screens.takeover.screen import TakeOverScreen

__all__ = ["TakeOverScreen", "begin_at", "choose_world"]
