"""The decoder's thread: it loads the base, and makes all answers together, step by step."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from sekft_engine.core.errors import SekftError, known_error
from sekft_engine.operators.caching import CachingDecoder
from sekft_engine.operators.decoder import Decoder, SampledTurn
from sekft_engine.serve.errors import ApiError
from sekft_engine.serve.figures import Figures
from sekft_engine.serve.generation import Generation
from sekft_engine.serve.loading import Held

State = Literal["loading", "ready", "draining", "failed"]


class Scheduler:
    """Makes answers on a thread of its own, which alone uses the base.

    Args:
        load: loads what is served; called on the thread.
        queue: most answers that wait for a row.
        on_state: called on the thread when the base is loaded, or cannot be.
        on_work: called on any thread when there is something to do.
    """

    def __init__(
        self,
        load: Callable[[], Held],
        *,
        queue: int,
        on_state: Callable[[], None] = lambda: None,
        on_work: Callable[[], None] = lambda: None,
    ) -> None:
        self._load = load
        self._most = queue
        self._on_state = on_state
        self._on_work = on_work
        self.figures = Figures()
        self.held: Held | None = None
        self.error: SekftError | None = None
        #: The job that the base is lent to; empty = none.
        self.busy_with = ""
        self._waiting: deque[Generation] = deque()
        self._live: dict[str, Generation] = {}
        self._keys = itertools.count()
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def close(self, timeout: float | None = None) -> None:
        """Stop after the running step; answers that are not complete fail."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout)

    @property
    def state(self) -> State:
        """What it is doing. Thread-safe."""
        if self.error is not None:
            return "failed"
        if self._closing:
            return "draining"
        return "loading" if self.held is None else "ready"

    @property
    def load(self) -> tuple[int, int]:
        """The numbers of answers that are made, and that wait. Thread-safe."""
        with self._wake:
            return len(self._live), len(self._waiting)

    def ready(self) -> Held:
        """What is served.

        Raises:
            ApiError: it is not loaded.
        """
        if self.held is None or self._closing:
            state = self.state
            raise ApiError(
                503,
                "the base is being loaded" if state == "loading" else f"the server is {state}",
                code=state,
                headers={"Retry-After": "2"},
            )
        return self.held

    def submit(self, *generations: Generation) -> None:
        """Put answers into the queue: all of them, or none.

        Raises:
            ApiError: it is full, or nothing is loaded.
        """
        held = self.ready()
        with self._wake:
            free = max(0, held.rows - len(self._live))
            if len(self._waiting) + len(generations) > self._most + free:
                ahead = len(self._waiting)
                self.figures.count("refused")
                seconds = self.figures.retry_after(ahead, held.rows)
                raise ApiError(
                    429,
                    f"{ahead} requests are waiting, and the queue takes {self._most}",
                    code="queue_full",
                    headers={"Retry-After": str(seconds)},
                )
            self._waiting.extend(generations)
            self._wake.notify()
        self._on_work()

    def leave(self, generation: Generation) -> None:
        """Give up an answer that nobody waits for; its row is free after the running step."""
        generation.leave()
        with self._wake:
            self._wake.notify()
        self._on_work()

    # --- on the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            held = self._load()
        except Exception as error:  # noqa: BLE001 - told to who started the server
            self.error = known_error(error)
            self._on_state()
            return
        decoder = held.make()
        with held.kernels:
            self.held = held
            self._on_state()
            while self._admit(decoder, held):
                decoder = self._guarded_step(decoder, held)
        self._fail_all(SekftError("the server is shutting down"))

    def _guarded_step(self, decoder: Decoder[Any], held: Held) -> Decoder[Any]:
        """A step; one that fails costs its answers, and the decoder, but not the server."""
        try:
            self._step(decoder)
        except Exception as error:  # noqa: BLE001
            self._fail_all(known_error(error))
            return held.make()
        return decoder

    def _admit(self, decoder: Decoder[Any], held: Held, *, wait: bool = True) -> bool:
        """Give free rows to those who wait, and take them from those who left; wait for work.

        Args:
            wait: wait where there is none.

        Returns:
            Whether to go on.
        """
        while True:
            with self._wake:
                gone = [each for each in (*self._live.values(), *self._waiting) if each.is_left]
                for generation in gone:
                    if generation.key:
                        del self._live[generation.key]
                    else:
                        self._waiting.remove(generation)
                new = []
                while self._waiting and len(self._live) < held.rows:
                    generation = self._waiting.popleft()
                    generation.key = str(next(self._keys))
                    self._live[generation.key] = generation
                    new.append(generation)
                if self._closing:
                    return False
                if not self._live and not gone:
                    if not wait:
                        return False
                    self._wake.wait()
                    continue
            for generation in gone:
                self.figures.count("left")
                if generation.key:
                    _retire(decoder, generation.key)
            for generation in new:
                self._open(decoder, generation)
            if self._live:
                return True

    def _open(self, decoder: Decoder[Any], generation: Generation) -> None:
        asked, key = generation.asked, generation.key
        decoder.add(key, asked.seed, acting=asked.acting, sampling=asked.sampling)
        if asked.score is not None and isinstance(decoder, CachingDecoder):
            decoder.score(key, asked.ids, asked.room, asked.score)
        else:
            decoder.feed(key, asked.ids, asked.room)

    def _step(self, decoder: Decoder[Any]) -> None:
        done = decoder.step()
        for key, generation in list(self._live.items()):
            if key in done:
                self._finish(decoder, generation, done[key])
                continue
            new = decoder.sampled(key, generation.count)
            if new.ids:
                shared = decoder.shared(key) if isinstance(decoder, CachingDecoder) else 0
                generation.push(new.ids, new.logprobs, new.top, shared=shared)
                if generation.over:  # a stop string
                    self._free(decoder, generation)
                    self.figures.finished(generation, shared)

    def _finish(self, decoder: Decoder[Any], generation: Generation, turn: SampledTurn) -> None:
        caching = decoder if isinstance(decoder, CachingDecoder) else None
        scores = caching.scored(generation.key) if caching is not None else None
        shared = caching.shared(generation.key) if caching is not None else 0
        self._free(decoder, generation)
        since = generation.count
        if turn.fault:
            generation.fail(ApiError(500, f"{generation.asked.model}: {turn.fault}"))
        else:
            generation.push(
                turn.ids[since:],
                turn.logprobs[since:],
                turn.top[since:],
                stop=turn.stop,
                finish="length" if turn.stop is None else "stop",
                scores=scores,
                shared=shared,
            )
        self.figures.finished(generation, shared)

    def _free(self, decoder: Decoder[Any], generation: Generation) -> None:
        """Take the row from an answer that is complete."""
        _retire(decoder, generation.key)
        with self._wake:
            self._live.pop(generation.key, None)

    def _fail_all(self, error: SekftError) -> None:
        with self._wake:
            failed = [*self._live.values()]
            self._live.clear()
            if self._closing:
                failed += self._waiting
                self._waiting.clear()
        for generation in failed:
            self.figures.count("failed")
            status = 503 if self._closing else 500
            generation.fail(ApiError(status, str(error)))


def _retire(decoder: Decoder[Any], key: str) -> None:
    if isinstance(decoder, CachingDecoder):
        decoder.retire(key)
    else:
        decoder.drop([key])
