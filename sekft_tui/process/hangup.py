"""When the terminal goes away (a dropped SSH connection): save, then leave.

Textual has no handler for SIGHUP, so the process would die in the middle of a step. Here the engine
is asked to end its step and save; then the process ends by ``os._exit``, because a terminal that is
gone may hold up whatever writes to it. The run can be resumed.

Where the signal came from ``kill``, the terminal is still there: it is left as on every other way
out, before the step has ended, and says at the end what was saved and how to go on.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from textual.app import SuspendNotSupported

if TYPE_CHECKING:
    from textual.app import App

    from sekft_tui.process.bridge import EngineLike

#: How long a step and its saving may take before the process ends anyway.
PATIENCE_S = 600.0
#: How long a living terminal may take to be left once all is saved; it may have stopped reading.
SCREEN_S = 2.0


class LastWords(NamedTuple):
    """What the terminal shows after a signal.

    Attributes:
        waits: what is waited for before all is saved; "" = nothing.
        text: called when all is saved: a last line, or "".
    """

    waits: str
    text: Callable[[], str]


#: The exit status after a signal is this and its number, as shells count.
BY_SIGNAL = 128


def over_bare_ssh(environ: Mapping[str, str]) -> bool:
    """Whether the terminal may vanish with a connection."""
    return bool(environ.get("SSH_CONNECTION")) and not (environ.get("TMUX") or environ.get("STY"))


def _terminal_lives() -> bool:
    """Whether the other end of the terminal is there."""
    look = select.poll()
    look.register(0, 0)  # a hangup is reported whatever events are asked for
    return os.isatty(0) and not look.poll(0)


def _within(seconds: float, do: Callable[[], None]) -> None:
    """Do it on a thread that is waited for only so long: a terminal may have stopped reading."""
    writer = threading.Thread(target=do, name="sekft-last-line", daemon=True)
    writer.start()
    writer.join(seconds)


def _write_line(text: Callable[[], str]) -> None:
    with suppress(Exception):
        if line := text():
            print(line, file=sys.__stderr__, flush=True)


@contextmanager
def on_hangup(
    engine: Callable[[], EngineLike],
    app: App[int],
    last_words: Callable[[], LastWords],
    patience: float = PATIENCE_S,
) -> Iterator[None]:
    """While the workbench runs, let SIGHUP, SIGTERM and a lost terminal save and leave. The engine
    of another process is only left.

    Args:
        engine: the one that is closed.
        app: the workbench.
        last_words: called before the engine is closed.
        patience: seconds that a step and its saving may take.
    """

    screen_left = threading.Event()
    screen_waits = ""

    def leave_screen() -> None:
        """Give the terminal back as it was. The app's thread stays here, so that nothing is drawn
        any more; it ends with the process."""
        with suppress(SuspendNotSupported), app.suspend():
            if screen_waits:
                _within(SCREEN_S, partial(_write_line, lambda: f"leaving: {screen_waits} …"))
            screen_left.set()
            threading.Event().wait()

    def save_and_leave(number: int = signal.SIGHUP) -> None:
        nonlocal screen_waits
        asked = False
        words = LastWords("", str)
        with suppress(Exception):
            words = last_words()
            screen_waits = words.waits
        with suppress(Exception):
            if _terminal_lives():
                asked = app._driver is not None and app.call_later(leave_screen)  # noqa: SLF001
            elif app._driver is not None:  # noqa: SLF001 - its input thread spins on a dead terminal
                app._driver.disable_input()  # noqa: SLF001
        with suppress(Exception):
            engine().close(timeout=patience)
        if asked and screen_left.wait(SCREEN_S):
            _within(SCREEN_S, partial(_write_line, words.text))
        os._exit(BY_SIGNAL + number)

    def handler(signum: int, frame: object) -> None:
        # On a thread of its own: the main one may be stuck writing to the dead terminal.
        del frame
        thread = threading.Thread(
            target=save_and_leave, args=(signum,), name="sekft-hangup", daemon=True
        )
        thread.start()

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
