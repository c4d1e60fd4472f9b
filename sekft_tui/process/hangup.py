"""When the terminal goes away (a dropped SSH connection): save, then leave.

Textual has no handler for SIGHUP, so the process would die in the middle of a step. Here the engine
is asked to end its step and save; then the process ends by ``os._exit``, because there is no screen
left to restore. The run can be resumed.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.app import App

    from sekft_tui.process.bridge import EngineLike

#: How long a step and its saving may take before the process ends anyway.
PATIENCE_S = 600.0
EXIT_STATUS = 128 + signal.SIGHUP


def over_bare_ssh(environ: Mapping[str, str]) -> bool:
    """Whether the terminal may vanish with a connection."""
    return bool(environ.get("SSH_CONNECTION")) and not (environ.get("TMUX") or environ.get("STY"))


@contextmanager
def on_hangup(
    engine: Callable[[], EngineLike], app: App[int], patience: float = PATIENCE_S
) -> Iterator[None]:
    """While the workbench runs, let SIGHUP, SIGTERM and a lost terminal save and leave. The engine
    of another process is only left."""

    def save_and_leave() -> None:
        with suppress(Exception):
            if app._driver is not None:  # noqa: SLF001 - its input thread spins on a dead terminal
                app._driver.disable_input()  # noqa: SLF001
        with suppress(Exception):
            engine().close(timeout=patience)
        os._exit(EXIT_STATUS)

    def handler(signum: int, frame: object) -> None:
        # On a thread of its own: the main one may be stuck writing to the dead terminal.
        del signum, frame
        threading.Thread(target=save_and_leave, name="sekft-hangup", daemon=True).start()

    left = threading.Event()

    def watch() -> None:
        gone = select.poll()
        gone.register(0, 0)  # a hangup is reported whatever events are asked for
        gone.poll()
        if not left.is_set():
            save_and_leave()

    if os.isatty(0):
        threading.Thread(target=watch, name="sekft-terminal", daemon=True).start()
    before = {number: signal.signal(number, handler) for number in (signal.SIGHUP, signal.SIGTERM)}
    try:
        yield
    finally:
        left.set()
        for number, old in before.items():
            signal.signal(number, old)
