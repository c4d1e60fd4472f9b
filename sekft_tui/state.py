"""What the workbench remembers between sessions: theme and pane, in the XDG state folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from sekft_engine.documents import NOT_JSON


class State(msgspec.Struct, frozen=True):
    """Remembered settings; unknown fields of a newer version are ignored, not refused."""

    theme: str = "sekft-dark"
    pane: str = "trajectories"
    tmux_hint_shown: bool = False
    #: Runs laid over every other in the chart, by workspace.
    pinned: dict[str, tuple[str, ...]] = {}


def state_path() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or ""
    root = Path(home) if home.startswith("/") else Path("~/.local/state").expanduser()
    return root / "sekft" / "tui.json"


def load_state(path: Path | None = None) -> State:
    """The remembered state; a missing or broken file gives the defaults, for it is only comfort."""
    try:
        return msgspec.json.decode((path or state_path()).read_bytes(), type=State)
    except (OSError, *NOT_JSON):
        return State()


def save_state(state: State, path: Path | None = None) -> None:
    """Write beside and rename; where that is not allowed, the next session starts afresh."""
    path = path or state_path()
    staged = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(msgspec.json.encode(state))
        staged.replace(path)
    except OSError:
        with suppress(OSError):
            staged.unlink(missing_ok=True)
