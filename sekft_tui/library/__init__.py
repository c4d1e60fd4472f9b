"""The library: a data set, read and rendered on threads. Nothing in here touches a widget."""

from sekft_tui.library.library import Library, Listener
from sekft_tui.library.reader import ListState
from sekft_tui.library.rendering import NotReady, Rendered, Renderer

__all__ = ["Library", "ListState", "Listener", "NotReady", "Rendered", "Renderer"]
