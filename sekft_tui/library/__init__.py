"""The library: a data set beside the screen. Nothing in here touches a widget."""

from sekft_tui.library.library import Library, Listener
from sekft_tui.library.reader import Listed
from sekft_tui.library.rendering import NotReady, Rendered, Renderer

__all__ = ["Library", "Listed", "Listener", "NotReady", "Rendered", "Renderer"]
