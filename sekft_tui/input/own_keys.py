"""The user's keys for an app: read, put to use, and what is wrong with them told."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from sekft_engine.core.errors import BadInput
from sekft_tui.input.actions import remap, textual_keymap
from sekft_tui.input.keymap import FILE, load_keymap, user_file


class App(Protocol):
    """What is needed of the app."""

    def set_keymap(self, keymap: dict[str, str]) -> None: ...


def use_own_keys(app: App, workspace: Path | None) -> tuple[BadInput, ...]:
    """Use the keys of the user and of the workspace from now on; returns what is wrong in their
    files and has no effect."""
    files = [user_file(), *([workspace / FILE] if workspace is not None else [])]
    found = load_keymap(*files)
    remap(found.keys)
    app.set_keymap(textual_keymap())
    return found.faults
