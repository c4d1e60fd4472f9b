"""Start the workbench: the environment first, then Textual, then the engine's thread."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.core.terminal import TOLD, colours, places_text
from sekft_engine.data.published import refuse_two_sources
from sekft_engine.data.workspace import Workspace

if TYPE_CHECKING:
    from sekft_tui.app import Workbench
    from sekft_tui.process.attachment import Chosen
    from sekft_tui.process.hangup import LastWords

#: Over SSH each frame is traffic: fewer frames, no animation. Read by Textual at its import.
SSH_DEFAULTS = {
    "TEXTUAL_FPS": "20",
    "TEXTUAL_ANIMATIONS": "none",
    "TEXTUAL_SMOOTH_SCROLL": "0",
}
#: How long a job's Python code may keep the interpreter from a key, in seconds; Python's own value
#: is 5 ms. A key takes it several times; beside counting this halves the slow answers.
SWITCH_S = 0.0005
#: Progress bars of libraries would only fill the log.
QUIET = {
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def launch(
    workspace: str,
    *,
    base: str = "",
    demo: bool = False,
    data: str = "",
    hub: str = "",
    attach: str | None = None,
    resident: bool = True,
    mouse: bool | None = None,
) -> int:
    """Open the workbench on ``workspace`` and return the exit status.

    Args:
        workspace: the folder with bases, data, scenarios and runs.
        base: the base to train and evaluate; "" = the workspace's.
        demo: make the demo workspace if it is not there.
        data: a folder or file of trajectories instead of the workspace's; "" = the workspace's.
        hub: a data set of the Hub instead of either; "" = none.
        attach: only a living engine will do: the workspace's where it is "", or the one behind this
            socket.
        resident: use the living engine of the workspace, if there is one.
        mouse: whether the mouse is used; None = as the settings say.

    Raises:
        BadInput: the workspace or the data cannot be read, or there is no such base.
        Unavailable: there is no terminal, or one that only prints; or no engine to attach to.
        Exception: the workbench failed in a way that nobody foresaw.
    """
    refuse_two_sources(data, hub)
    sys.setswitchinterval(SWITCH_S)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Unavailable(
            "the workbench needs a terminal",
            mend="run it in one, or use sekft train, eval, mask or demo --run",
        )
    prepare_terminal(
        "use the commands that need no screen: sekft train, eval, mask, runs, takeover, demo --run"
    )
    place = Workspace(workspace)
    if demo:
        place.create()
    elif not place.root.is_dir():
        raise BadInput(
            "no such folder", where=str(place.root), mend="sekft tui --demo makes one to try"
        )
    _ = place.base  # a broken sekft.toml is reported here, before the screen is taken over
    if data:
        from sekft_engine.sources import open_index

        data = str(Path(data).expanduser().absolute())
        open_index(data)  # so is data that cannot be read
    named = bool(data or hub)
    if base and not attach:  # a socket may lead to a machine that has other bases
        from sekft_engine.bases import is_here

        named |= not is_here(base, place)  # so is a base that there is not

    def choose() -> Chosen:
        from sekft_tui.process.attachment import choose_engine

        return choose_engine(place, base=base, attach=attach, resident=resident)

    if attach is not None:
        chosen = choose()  # so is an engine that is not there
        status, then = _run(place, lambda: chosen, base, demo, data, hub, mouse, named=named)
    else:
        status, then = _run(place, choose, base, demo, data, hub, mouse, named=named)
    return launch(then, resident=resident, mouse=mouse) if then else status


def prepare_terminal(without: str) -> None:
    """Set what Textual and libraries read from the environment, before Textual is imported.

    Args:
        without: what to do on a terminal that only prints.

    Raises:
        Unavailable: this terminal only prints.
    """
    if not places_text(os.environ):
        raise Unavailable(
            f"this terminal cannot place text (TERM={os.environ.get('TERM') or 'unset'})",
            mend=f"{without}; or export TERM=xterm-256color if it can",
        )
    os.environ.setdefault(TOLD, colours(os.environ).system.replace("none", "auto"))
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if os.environ.get("SSH_CONNECTION"):
        for name, value in SSH_DEFAULTS.items():
            os.environ.setdefault(name, value)


def _last_words(app: Workbench) -> LastWords:
    from sekft_tui.leaving import last_words

    return last_words(app)


def _run(
    place: Workspace,
    choose: Callable[[], Chosen],
    base: str,
    demo: bool,
    data: str,
    hub: str,
    mouse: bool | None,
    *,
    named: bool,
) -> tuple[int, str]:
    """Run the workbench; the exit status, and the workspace to open next."""
    gc.disable()  # what is imported stays: the app sets it aside, and turns the collector on again
    from sekft_tui.app import Workbench
    from sekft_tui.process.fdguard import guarded
    from sekft_tui.process.hangup import on_hangup
    from sekft_tui.process.settings import state_path

    log = state_path().with_name("tui.log")
    with guarded(log):
        app = Workbench(choose, place, base=base, demo=demo, data=data, hub=hub, named=named)
        with on_hangup(lambda: app.engine, app, partial(_last_words, app)):
            app.run(mouse=app.preferences.mouse if mouse is None else mouse)
    status = app.return_code or 0
    # If the user chose not to wait, a running step ends with the process. The journal on disk is
    # whole up to its last event.
    app.engine.close(timeout=2.0)
    remote = app.bridge.remote
    if remote is not None and remote.state != "ended":
        from sekft_tui.leaving import keeps_running

        print(keeps_running(remote))
    elif app.farewell:
        print(app.farewell)
    if app.crash is not None:
        raise app.crash
    return status, app.next_workspace
