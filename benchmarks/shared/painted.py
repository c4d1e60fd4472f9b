"""Apps without a terminal that tell when they have painted, up to the bytes a terminal would get.

To be imported before anything of Textual: it reads these settings when it is imported.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

# Nothing is to wait for: neither a frame's turn nor an animation.
os.environ |= {"TEXTUAL_FPS": "1000", "TEXTUAL_ANIMATIONS": "none"}

if TYPE_CHECKING:
    from textual.app import App


class Painted:
    """Watches what ``app`` paints."""

    def __init__(self, app: App[Any]) -> None:
        self.event = asyncio.Event()
        self.bytes = 0
        show = app._display  # noqa: SLF001 - where Textual hands over what is painted

        def display(screen: Any, renderable: Any) -> None:
            # What a terminal would get is made here too, which headless Textual leaves out.
            if renderable is not None and hasattr(renderable, "render_segments"):
                self.bytes += len(renderable.render_segments(app.console))
                self.event.set()
            show(screen, renderable)

        app._display = display  # type: ignore[method-assign]  # noqa: SLF001
