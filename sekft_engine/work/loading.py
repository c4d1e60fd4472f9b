"""Tells how much of a base is loaded, and how long the rest takes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sekft_engine.records.events import Event, Progress

LABEL = "loading the base"
#: Seconds between two words about it; a base that is loaded sooner has only the first.
EVERY_S = 1.0
_MB, _GB = 1_000_000, 1_000_000_000


class Loading:
    """What is known of a loading that is under way. ``read`` may be called by any thread.

    Args:
        name: of the base.
        total: bytes of its files.
        now: seconds of a clock that only goes forward.
    """

    def __init__(self, name: str, total: int, now: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._total = total
        self._now = now
        self._began = now()
        self._done = 0

    def read(self, so_far: int) -> None:
        """So many bytes have been read."""
        self._done = min(so_far, self._total)

    def event(self) -> Progress:
        """How far it is, in megabytes, and in words how long the rest takes."""
        done, total, spent = self._done, self._total, self._now() - self._began
        detail, left = self._name, 0.0
        if done:
            unit, name = (_GB, "GB") if total >= _GB else (_MB, "MB")
            left = spent * (total - done) / done
            words = f"{round(left) // 60}:{round(left) % 60:02} left"
            detail = f"{done / unit:.1f} of {total / unit:.1f} {name}, {words}, {self._name}"
        return Progress(
            job="",
            label=LABEL,
            done=done // _MB,
            total=-(-total // _MB),
            detail=detail,
            left=round(left, 1),
        )


@contextmanager
def told(loading: Loading, emit: Callable[[Event], None]) -> Iterator[None]:
    """Emit how far it is, at the beginning and every second, until the end of the block."""
    emit(loading.event())
    over = threading.Event()

    def tell() -> None:
        while not over.wait(EVERY_S):
            with contextlib.suppress(OSError):  # a full disk: the job that needs it reports that
                emit(loading.event())

    teller = threading.Thread(target=tell, name="sekft-loading", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
