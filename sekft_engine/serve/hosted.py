"""A server on the base of an engine: its answers are made between jobs, and between their steps."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from sekft_engine.core.errors import SekftError
from sekft_engine.operators.decoder import Decoder
from sekft_engine.serve.loading import Held
from sekft_engine.serve.scheduler import Scheduler
from sekft_engine.serve.server import HttpServer
from sekft_engine.work.guest import SERVED
from sekft_engine.work.residence import Residence


class HostedScheduler(Scheduler):
    """Makes answers when it is given the base, on the thread of who gives it.

    Args:
        held: what is served.
        queue: most answers that wait for a row.
        on_work: called on any thread when there is something to do.
    """

    def __init__(self, held: Held, *, queue: int, on_work: Callable[[], None]) -> None:
        super().__init__(lambda: held, queue=queue, on_work=on_work)
        self.held = held
        self._decoder: Decoder[Any] | None = None

    def start(self) -> None:
        """There is nothing to load."""

    def close(self, timeout: float | None = None) -> None:
        """Make no more answers; those that are not complete fail."""
        del timeout
        with self._wake:
            self._closing = True
        self._fail_all(SekftError("the server is shutting down"))

    @property
    def wants(self) -> bool:
        """Whether there is an answer to make, or to give up. Thread-safe."""
        with self._wake:
            return bool(self._live or self._waiting) and not self._closing

    def work(self, seconds: float) -> None:
        """Make answers for at most so many seconds, and one step at least."""
        held = self.held
        if held is None:
            return
        until = time.monotonic() + seconds
        with _at_rest(held.base.model), held.kernels:
            decoder = self._decoder or held.make()
            while self._admit(decoder, held, wait=False):
                decoder = self._guarded_step(decoder, held)
                if time.monotonic() > until:
                    break
            self._decoder = decoder


@contextlib.contextmanager
def _at_rest(model: Any) -> Iterator[None]:
    """A context in which no part of the model is in training mode."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


class Hosted:
    """A server as the guest of an engine.

    Args:
        server: has the scheduler.
        scheduler: makes its answers.
        wake: called, from any thread, when the server has ended.
    """

    def __init__(
        self, server: HttpServer, scheduler: HostedScheduler, wake: Callable[[], None]
    ) -> None:
        self._server, self._scheduler = server, scheduler
        self._wake = wake
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sekft-http", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def _run(self) -> None:
        try:
            with contextlib.suppress(SekftError):  # it is told when the engine sees it off
                self._server.run()
        finally:
            self._ended.set()
            self._wake()

    # --- as a guest ---------------------------------------------------------------------------

    @property
    def busy_with(self) -> str:
        """The job that the engine does."""
        return self._scheduler.busy_with

    @busy_with.setter
    def busy_with(self, job: str) -> None:
        self._scheduler.busy_with = job

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"{self._server.url}/v1"

    @property
    def why(self) -> str:
        """Why it had to end."""
        error = self._scheduler.error
        return "" if error is None else error.what

    @property
    def wants(self) -> bool:
        """Whether there is an answer to make. Thread-safe."""
        return self._scheduler.wants

    @property
    def over(self) -> bool:
        """Whether the server has ended. Thread-safe."""
        return self._ended.is_set()

    def work(self, residence: Residence, seconds: float) -> None:
        """Make answers for at most so many seconds."""
        if why := self._gone(residence):
            self._scheduler.error = SekftError(why)
            self._scheduler.close()
            self.stop(why)
            return
        self._scheduler.work(seconds)

    def stop(self, why: str) -> None:
        """Accept nothing more, and end when the running answers are complete."""
        del why
        self._server.stop()

    def leave(self, residence: Residence) -> None:
        """Take the adapters from the base."""
        held, base = self._scheduler.held, residence.base
        if held is None or base is not held.base:
            return
        for name in [name for name in base.adapters if name.startswith(SERVED)]:
            base.drop(name)

    def _gone(self, residence: Residence) -> str:
        """Why what was served is not there any more; empty = it is. The base must never answer for
        an adapter that was taken from it."""
        held = self._scheduler.held
        if held is None or residence.base is not held.base:
            return "another base was loaded"
        for model in held.models.values():
            if (
                not model.is_base
                and residence.base.adapters.get(SERVED + model.name) != model.digest
            ):
                return f"the adapter {model.name} was taken from the base"
        return ""
