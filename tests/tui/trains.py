"""A training in a workbench in a real terminal."""

from __future__ import annotations

import re

from tests.tui.terminal import Terminal


def train_for_ever(screen: Terminal) -> None:
    screen.until_shown("12 trajectories")
    screen.press("2")
    screen.until_shown("epochs")
    screen.press(*"j" * 9, "enter", "ctrl+u", *"9000", "enter", "s")
    # A machine on which this may take very long is asked about first.
    begun = screen.until(lambda text: step(text) or _QUESTION in text, "a step or a question")
    if _QUESTION in begun:
        screen.press("y")
    trained(screen, 3)


_QUESTION = "start this training run?"


def step(text: str) -> int:
    """The step on a screen; 0 = none is done."""
    found = re.search(r"step ([\d,]+)/[\d,]+ ", text)
    return int(found[1].replace(",", "")) if found else 0


def trained(screen: Terminal, more_than: int) -> int:
    """Wait for a step after this one; returns the step on the screen."""
    return step(screen.until(lambda text: step(text) > more_than, f"after step {more_than}"))
