"""What a person would see: the text of the screen, and waiting for it without guessing times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from textual.app import App
from textual.pilot import Pilot

DEADLINE_S = 60.0


def screen_text(app: App[int]) -> str:
    """The lines on the screen, as the compositor would write them."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    return "\n".join(strip.text[:width].rstrip() for strip in lines[:height])


async def until(pilot: Pilot[int], true: Callable[[], object], what: str = "") -> None:
    """Let the app run until ``true`` holds."""
    end = time.monotonic() + DEADLINE_S
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"never came true: {what}\n{screen_text(pilot.app)}")
        await asyncio.sleep(0.02)
        await pilot.pause()


async def until_shown(pilot: Pilot[int], *texts: str) -> str:
    """Wait until all ``texts`` are on the screen, and return it."""
    await until(
        pilot, lambda: all(text in screen_text(pilot.app) for text in texts), " and ".join(texts)
    )
    return screen_text(pilot.app)


async def until_gone(pilot: Pilot[int], text: str) -> None:
    await until(pilot, lambda: text not in screen_text(pilot.app), f"{text} gone")
