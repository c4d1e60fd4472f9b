"""Background work: a daemon thread that does one short step after another.

Textual's own thread workers share a pool that Python waits for when it exits. A daemon thread never
delays the exit.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any, TypeVar

from sekft_engine.core.process import step_back

Result = TypeVar("Result")

#: The length of a step, in seconds; after each the thread can give way.
STEP_S = 0.03
#: How long work pauses after a key, so that the answer to the key has the interpreter alone.
QUIET_S = 0.12
#: A key that is held down delays work for at most this long, unless the work can wait longer.
PATIENCE_S = 0.15


class KeyPriority:
    """Knows when a key was last pressed and what is waited for, so that work can pause for it."""

    def __init__(self) -> None:
        self._busy_until = 0.0
        self._waited_for = False

    def key_pressed(self) -> None:
        """A key was pressed."""
        self._busy_until = time.monotonic() + QUIET_S

    @contextlib.contextmanager
    def waited_for(self) -> Iterator[None]:
        """The block makes what the user waits for. One thread does so at a time."""
        self._waited_for = True
        try:
            yield
        finally:
            self._waited_for = False

    def delay(self) -> float:
        """Seconds for which work should pause; 0 = none."""
        rest = self._busy_until - time.monotonic()
        return max(0.0, rest, STEP_S if self._waited_for else 0.0)


class Pace:
    """How many items to do in one step, adapted to the time that the last steps took."""

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


class Throttle:
    """Calls ``notify`` after changes, but no more often than every ``every`` seconds."""

    def __init__(self, notify: Callable[[], None], every: float = 0.2) -> None:
        self._notify = notify
        self._every = every
        self._last = 0.0
        self._pending = False

    def changed(self) -> None:
        """Something changed, and more changes will follow."""
        self._pending = True
        if time.monotonic() - self._last >= self._every:
            self.flush()

    def flush(self) -> None:
        """Nothing more will change for now: notify of what is pending."""
        if self._pending:
            self._pending, self._last = False, time.monotonic()
            self._notify()


class Later(Awaitable[None]):
    """``work`` as a worker of Textual takes it. Its coroutine is made when the worker begins: of
    one that is cancelled before, as on leaving, Python would complain that nobody awaited it."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, Any, None]:
        return self._work().__await__()


async def run_on_thread(do: Callable[[], Result]) -> Result:
    """Run ``do`` on a daemon thread and return its result."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def post(set_it: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the screen is gone
            loop.call_soon_threadsafe(lambda: None if future.done() else set_it())

    def main() -> None:
        try:
            result = do()
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            caught = error
            post(lambda: future.set_exception(caught))
        else:
            post(lambda: future.set_result(result))

    threading.Thread(target=main, name="sekft-thread", daemon=True).start()
    return await future


class Background:
    """Calls ``step`` on a thread of its own until told to stop.

    Args:
        name: the thread's.
        step: does a little and returns the seconds to wait before the next step (0 = none, None =
            until :meth:`wake`).
        failed: called with an exception; the thread stays alive and waits to be woken.
        key_priority: when to pause for keys; None = never.
        patience: for how many seconds keys may delay the work.
        nice: added to the thread's niceness.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float | None],
        *,
        failed: Callable[[Exception], None],
        key_priority: KeyPriority | None = None,
        patience: float = PATIENCE_S,
        nice: int = 0,
    ) -> None:
        self._step = step
        self._failed = failed
        self._key_priority = key_priority
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
            step_back(self._nice)
        worked = time.monotonic()
        while not self._stopped:
            rest = self._key_priority.delay() if self._key_priority is not None else 0.0
            if rest and time.monotonic() - worked < self._patience:
                time.sleep(rest)
                continue
            worked = time.monotonic()
            self._wake.clear()
            try:
                pause = self._step()
            except Exception as error:  # noqa: BLE001 - shown to the user; the thread lives on
                self._failed(error)
                pause = None
            if pause == 0:
                time.sleep(0)
            else:
                self._wake.wait(pause)
