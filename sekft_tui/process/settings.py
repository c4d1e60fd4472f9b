"""Settings that the workbench remembers between sessions, in the XDG state folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from sekft_engine.core.documents import NOT_JSON
from sekft_engine.core.files import write_whole
from sekft_engine.core.locks import take_lock
from sekft_engine.core.paths import state_folder


class State(msgspec.Struct, frozen=True):
    """Remembered settings; unknown fields of a newer version are ignored, not refused."""

    theme: str = "sekft-dark"
    tmux_hint_shown: bool = False
    tour_offered: bool = False
    #: Ids of the runs drawn beside every other in the chart, by workspace.
    pinned: dict[str, tuple[str, ...]] = {}
    #: Values of forms that are not their defaults: by workspace, form and field.
    forms: dict[str, dict[str, dict[str, str]]] = {}


def state_path() -> Path:
    return state_folder() / "tui.json"


def load_state(path: Path | None = None) -> State:
    """The remembered state; a missing or broken file gives the defaults."""
    try:
        return msgspec.json.decode((path or state_path()).read_bytes(), type=State)
    except (OSError, *NOT_JSON):
        return State()


def save_state(state: State, path: Path | None = None) -> None:
    """Save the settings; where that is not allowed, the next session starts with the defaults."""
    path = path or state_path()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, msgspec.json.encode(state))


def update_state(changed: Callable[[State], State]) -> None:
    """Read the settings and save what ``changed`` makes of them. Another process that does the same
    waits meanwhile, so that neither loses what the other wrote; a process that has stopped in the
    middle of it is waited for only a moment, since keys wait, too."""
    path = state_path()
    lock = None
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        take_lock(lock)
    try:
        save_state(changed(load_state(path)), path)
    finally:
        if lock is not None:
            os.close(lock)
