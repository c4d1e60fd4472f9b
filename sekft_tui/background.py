"""Work beside the screen: a daemon thread that does one short step after another.

Textual's own thread workers share a pool that Python waits for when it exits; a daemon thread never
keeps anyone from leaving.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

#: A step of about this many seconds gives way often enough.
STEP_S = 0.03
#: How long after a key the work waits, so that the answer to the key has the interpreter alone.
QUIET_S = 0.12
#: Who holds a key down does not hold the work up for longer than this, unless it can wait longer.
PATIENCE_S = 0.15


class Courtesy:
    """Knows when a key was last pressed; work that can wait does."""

    def __init__(self) -> None:
        self._busy_until = 0.0

    def key(self) -> None:
        """A key arrived."""
        self._busy_until = time.monotonic() + QUIET_S

    def wait(self) -> float:
        """Seconds to hold still; 0 = go on."""
        return max(0.0, self._busy_until - time.monotonic())


class Pace:
    """How much to do in one step, learnt from how long the last ones took."""

    def __init__(self, most: int = 64) -> None:
        self.batch = 1
        self._most = most
        self._began = 0.0

    def __enter__(self) -> Pace:
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        took = max(1e-6, time.monotonic() - self._began)
        wanted = int(self.batch * STEP_S / took)
        self.batch = max(1, min(self._most, wanted, 2 * self.batch))


class Teller:
    """Passes news on, but no more often than the screen can use it."""

    def __init__(self, tell: Callable[[], None], every: float = 0.2) -> None:
        self._tell = tell
        self._every = every
        self._last = 0.0
        self._untold = False

    def news(self) -> None:
        """Something changed, and more will."""
        self._untold = True
        if time.monotonic() - self._last >= self._every:
            self.last()

    def last(self) -> None:
        """Nothing more will change for now: whatever was not told is."""
        if self._untold:
            self._untold, self._last = False, time.monotonic()
            self._tell()


async def beside_the_screen(do: Callable[[], Result]) -> Result:
    """What ``do`` returns, done on a thread of its own that keeps nobody from leaving."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def tell(set_it: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the screen is gone
            loop.call_soon_threadsafe(lambda: None if future.done() else set_it())

    def main() -> None:
        try:
            result = do()
        except BaseException as error:  # noqa: BLE001 - told to who waits
            caught = error
            tell(lambda: future.set_exception(caught))
        else:
            tell(lambda: future.set_result(result))

    threading.Thread(target=main, name="beside-the-screen", daemon=True).start()
    return await future


class Background:
    """Calls ``step`` on a thread of its own until told to stop.

    Args:
        name: the thread's.
        step: does a little and returns the seconds to wait before the next (0 = at once, None =
            until :meth:`wake`).
        failed: told of an exception; the thread lives on and waits to be woken.
        courtesy: whom to give way to, if anyone.
        patience: for how many seconds at most.
        nice: how far the thread steps back behind others of this machine.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float | None],
        *,
        failed: Callable[[Exception], None],
        courtesy: Courtesy | None = None,
        patience: float = PATIENCE_S,
        nice: int = 0,
    ) -> None:
        self._step = step
        self._failed = failed
        self._courtesy = courtesy
        self._patience = patience
        self._nice = nice
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    def start(self) -> Background:
        self._thread.start()
        return self

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def stop(self) -> None:
        """End after the present step; does not wait for it."""
        self._stopped = True
        self._wake.set()

    @property
    def stopped(self) -> bool:
        return self._stopped

    def _main(self) -> None:
        if self._nice:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)
        worked = time.monotonic()
        while not self._stopped:
            rest = self._courtesy.wait() if self._courtesy is not None else 0.0
            if rest and time.monotonic() - worked < self._patience:
                time.sleep(rest)
                continue
            worked = time.monotonic()
            self._wake.clear()
            try:
                pause = self._step()
            except Exception as error:  # noqa: BLE001 - told to the user; the thread lives on
                self._failed(error)
                pause = None
            if pause == 0:
                time.sleep(0)
            else:
                self._wake.wait(pause)
