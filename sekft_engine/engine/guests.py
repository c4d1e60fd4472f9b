"""Who uses the resident base between jobs and between their steps: at most one guest, a server."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from sekft_engine.core.errors import known_error
from sekft_engine.records.events import Event, ServerChanged
from sekft_engine.work.guest import Guest
from sekft_engine.work.residence import Residence

#: How long answers under way may take when the engine ends, in seconds.
_GOODBYE_S = 10.0

log = logging.getLogger(__name__)


class Guests:
    """Holds the guest. All but :attr:`guest`, :attr:`wants` and :meth:`stop` is for the engine's
    thread.

    Args:
        residence: what is loaded.
        publish: takes events.
    """

    def __init__(self, residence: Residence, publish: Callable[[Event], None]) -> None:
        self._residence, self._publish = residence, publish
        self.guest: Guest | None = None

    @property
    def wants(self) -> bool:
        """Whether the guest has something to do, or is to be let go. Thread-safe."""
        return self.wants_base or self.leaving

    @property
    def leaving(self) -> bool:
        """Whether the guest is to be let go. Thread-safe."""
        guest = self.guest
        return guest is not None and guest.over

    @property
    def wants_base(self) -> bool:
        """Whether the guest has something to do. Thread-safe."""
        guest = self.guest
        return guest is not None and guest.wants

    def host(self, guest: Guest, job: str) -> None:
        """Take a guest in."""
        guest.busy_with = job
        self.guest = guest
        self._residence.server = guest.address
        self._residence.refresh()

    def job_is(self, job: str) -> None:
        """Note which job is done from now on; empty = none."""
        if self.guest is not None:
            self.guest.busy_with = job

    def work(self, seconds: float) -> None:
        """Let the guest use the base for at most so many seconds."""
        guest = self.guest
        if guest is None or not guest.wants:
            return
        try:
            guest.work(self._residence, seconds)
        except Exception as error:  # a guest's mistake must not end the engine
            log.exception("the guest of the base failed")
            guest.stop(str(known_error(error)))

    def see_off(self) -> None:
        """Let a guest go whose time is over. Not while a job runs: it may use the model."""
        guest = self.guest
        if guest is None or not guest.over:
            return
        self.guest = None
        self._residence.server = ""
        why = guest.why
        try:
            guest.leave(self._residence)
        except Exception as error:
            log.exception("the guest of the base could not leave it")
            why = str(known_error(error))
        self._residence.refresh()
        with contextlib.suppress(OSError):  # of a full disk, the next job tells
            self._publish(ServerChanged(job="", t=time.time(), url="", why=why))

    def stop(self, why: str) -> bool:
        """Ask the guest to end; False where there is none. Thread-safe."""
        guest = self.guest
        if guest is None or guest.over:
            return False
        guest.stop(why)
        return True

    def end(self) -> None:
        """Ask the guest to end, and wait for that as long as its answers may take."""
        self.see_off()
        if not self.stop("the engine ends"):
            return
        until = time.monotonic() + _GOODBYE_S
        while self.guest is not None and time.monotonic() < until:
            self.work(0.2)
            self.see_off()
            time.sleep(0.01)
