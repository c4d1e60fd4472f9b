"""What the endpoints share: the models, the render, and the way to an answer."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from sekft_engine.core.errors import SekftError
from sekft_engine.data.clock import Clock
from sekft_engine.operators.decoder import Sampling
from sekft_engine.render import ChatTokenizer
from sekft_engine.serve.errors import ApiError, not_supported, too_long
from sekft_engine.serve.fields import ChatRequest, Common
from sekft_engine.serve.generation import Asked, Generation, Piece
from sekft_engine.serve.loading import Held, ServedModel
from sekft_engine.serve.prompts import Render, certified, turn_of
from sekft_engine.serve.scheduler import Scheduler


class Pieces:
    """The pieces of one answer, as they come through ``queue``."""

    def __init__(self, queue: asyncio.Queue[Piece]) -> None:
        self._queue = queue

    async def next(self) -> Piece:
        """The next piece; the last one has a ``finish``.

        Raises:
            ApiError: there is no answer.
        """
        piece = await self._queue.get()
        if piece.error is not None:
            raise piece.error
        return piece


class Service:
    """What the endpoints share.

    Args:
        scheduler: makes the answers.
        render: makes prompts.
    """

    def __init__(self, scheduler: Scheduler, render: Render = certified) -> None:
        self.scheduler = scheduler
        self._render = render
        self._lock = threading.Lock()  # a tokenizer caches facts of its template

    @property
    def held(self) -> Held:
        """What is served; raises :class:`ApiError` where it is not loaded."""
        return self.scheduler.ready()

    def model(self, name: str) -> ServedModel:
        """The model called ``name``.

        Raises:
            ApiError: there is none.
        """
        models = self.held.models
        if name not in models:
            has = ", ".join([*models][:8])
            raise ApiError(
                404,
                f"The model {name[:100]!r} does not exist; this server has {has}",
                param="model",
                code="model_not_found",
            )
        return models[name]

    async def prompt(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """The ids that the model is fed for ``messages``.

        Raises:
            ApiError: they are no session that the template takes.
        """
        turns = [turn_of(message, number) for number, message in enumerate(messages)]
        return await self.encoded(lambda tokenizer: self._render(tokenizer, turns))

    async def encoded(self, encode: Callable[[ChatTokenizer], list[int]]) -> list[int]:
        """What ``encode`` makes with the tokenizer, on another thread.

        Raises:
            ApiError: it refuses.
        """
        held = self.held

        def work() -> list[int]:
            with self._lock:
                return encode(held.tokenizer.with_clock(Clock.now()))

        try:
            return await asyncio.to_thread(work)
        except SekftError as error:
            raise ApiError(400, error.what, param="messages", code="invalid_session") from error

    def asked(
        self,
        request: Common,
        ids: Sequence[int],
        *,
        room: int | None,
        top: int = 0,
        score: int | None = None,
    ) -> Asked:
        """What a request asks of its model.

        Args:
            ids: the prompt.
            room: most ids of the answer; None = as many as fit.
            top: number of likeliest ids that are wanted at each place.
            score: as of :class:`Asked`.

        Raises:
            ApiError: the prompt is empty, or does not fit.
        """
        held = self.held
        model = self.model(request.model)
        if not ids:
            raise ApiError(400, "the prompt is empty", param="prompt", code="invalid_value")
        if len(ids) + (room if room is not None else 1) > held.limit:
            param = "messages" if isinstance(request, ChatRequest) else "prompt"
            raise too_long(len(ids), room or 0, held.limit, param)
        if request.stream_options is not None and not request.stream:
            raise ApiError(
                400, "stream_options needs stream", param="stream_options", code="invalid_value"
            )
        if score is not None and held.why_single:
            raise not_supported("echo", True)
        seed = secrets.randbits(63) if request.seed is None else request.seed & (2**63 - 1)
        return Asked(
            model=model.name,
            acting=model.acting,
            ids=tuple(ids),
            room=held.limit - len(ids) if room is None else room,
            sampling=Sampling(request.temperature, request.top_p, top),
            seed=seed,
            stops=request.stops,
            score=score,
            stream=request.stream,
        )

    @contextlib.asynccontextmanager
    async def answers(self, *asked: Asked) -> AsyncIterator[list[Pieces]]:
        """A context with the pieces of each answer. Leaving it gives up what is not complete.

        Raises:
            ApiError: the queue is full.
        """
        loop = asyncio.get_running_loop()
        decode = self.held.tokenizer.decode
        queues: list[asyncio.Queue[Piece]] = [asyncio.Queue() for _ in asked]

        def giver(queue: asyncio.Queue[Piece]) -> Callable[[Piece], None]:
            def give(piece: Piece) -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(queue.put_nowait, piece)

            return give

        generations = [
            Generation(each, decode, giver(queue))
            for each, queue in zip(asked, queues, strict=True)
        ]
        self.scheduler.submit(*generations)
        try:
            yield [Pieces(queue) for queue in queues]
        finally:
            for generation in generations:
                if not generation.over:
                    self.scheduler.leave(generation)
