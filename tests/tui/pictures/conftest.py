"""Pictures of the workbench: taken by the snapshot plugin, the same on every machine and day.

``pytest tests/tui/pictures --snapshot-update`` stores the pictures as they are now; look at the
difference before you commit it. Where one differs, ``snapshot_report.html`` shows both.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from textual.pilot import Pilot

from sekft_engine.data.workspace import Workspace
from sekft_engine.training.planning.cards import GIB
from sekft_engine.training.planning.computed import Computing
from sekft_engine.training.planning.place import Place
from sekft_tui.app import Workbench
from sekft_tui.process.settings import State, save_state
from tests.tui.screen import screen_text, until

Size = tuple[int, int]
Steps = Callable[[Pilot[int]], Awaitable[object]]
Make = Callable[[], Workbench]

SMALL, MIDDLE, LARGE = (80, 24), (120, 40), (200, 60)


def at(*sizes: Size) -> pytest.MarkDecorator:
    """Take the picture at each of these terminal sizes."""
    names = [f"{width}x{height}" for width, height in sizes]
    return pytest.mark.parametrize("size", sizes, ids=names)


#: A pane is laid out anew at each size; a box over the panes is the same on a large terminal.
PANE_SIZES = at(SMALL, MIDDLE, LARGE)
BOX_SIZES = at(SMALL, MIDDLE)

#: What a terminal says of itself, and what else could show in a picture.
_ENVIRONMENT = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", "TZ": "UTC"}
_UNSET = ("NO_COLOR", "FORCE_COLOR", "SSH_CONNECTION", "SSH_TTY", "TMUX", "STY", "LC_ALL")

_PLACE = Place(name="a machine", free=16 * GIB, computing=Computing(device="cpu", width=4))


class Picture(Protocol):
    """Do ``steps`` in ``app``, and compare what is then on the screen with the stored picture."""

    def __call__(self, app: Workbench, size: Size, steps: Steps) -> None: ...


def begin(pane: str, theme: str = "sekft-dark") -> None:
    """Let the next workbench begin in ``pane``, as it does where one left it there."""
    roots = (Path.cwd() / name for name in ("workspace", "empty"))
    save_state(State(theme=theme, forms={str(root): {"pane": {"name": pane}} for root in roots}))


@pytest.fixture(autouse=True)
def _same_everywhere(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Paths are shown relative to the folder one is in: the test's own."""
    # What a run takes and what is free depends on the machine.
    monkeypatch.setattr("sekft_engine.training.planning.place.place_here", lambda **_: _PLACE)
    for name in _UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in _ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


async def _settled(app: Workbench, pilot: Pilot[int]) -> None:
    """Let the app draw all that it has heard of, which may cause something more to be drawn."""
    before = ""
    while (now := screen_text(app)) != before:
        before = now
        for _ in range(3):
            app.pull()
            await pilot.pause()


@pytest.fixture
def picture(snap_compare: Callable[..., bool]) -> Picture:
    def take(app: Workbench, size: Size, steps: Steps) -> None:
        app.animation_level = "none"

        async def before(pilot: Pilot[Any]) -> None:
            await until(pilot, lambda: app.current_pane is not None, "the first pane")
            await steps(pilot)
            await app.workers.wait_for_complete()
            await _settled(app, pilot)

        assert snap_compare(app, terminal_size=size, run_before=before)

    return take
