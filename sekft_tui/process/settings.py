"""Settings that the workbench remembers between sessions, in the XDG state folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

from sekft_engine.core.documents import NOT_JSON
from sekft_engine.core.files import write_whole
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
