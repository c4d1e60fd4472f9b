"""``POST /v1/completions``: raw text or token ids, also to score them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

from sekft_engine.operators.decoder import Top
from sekft_engine.render import ChatTokenizer
from sekft_engine.serve.endpoints.chat import usage
from sekft_engine.serve.endpoints.logprobs import Offsets, completion_logprobs
from sekft_engine.serve.errors import ApiError, not_supported
from sekft_engine.serve.exchange import Exchange
from sekft_engine.serve.fields import CompletionRequest, read
from sekft_engine.serve.generation import Asked, Piece
from sekft_engine.serve.service import Pieces, Service

#: What OpenAI gives where no number of tokens is asked for.
_ROOM = 16
#: Most prompts of one request.
_MOST = 64


async def complete(service: Service, exchange: Exchange) -> None:
    """Complete one prompt or several, whole or as a stream."""
    request = read(await exchange.body(), CompletionRequest)
    service.model(request.model)
    room = _ROOM if request.max_tokens is None else request.max_tokens
    if not room and not request.echo:
        raise ApiError(400, "max_tokens 0 needs echo", param="max_tokens", code="invalid_value")
    score = request.logprobs if request.echo else None
    if request.echo and request.stream:
        raise not_supported("echo", True)
    with exchange.watched():
        prompts = await exchange.unless_left(_prompts(service, request))
        if request.stream and len(prompts) > 1:
            raise not_supported("stream with several prompts", len(prompts))
        if not room and score is None:
            score = 0  # an echo without an answer goes the way of a scored prompt
        asked = [
            service.asked(request, ids, room=room, top=request.logprobs or 0, score=score)
            for ids in prompts
        ]
        answer = _Completion(service, request, asked)
        async with service.answers(*asked) as answers:
            if request.stream:
                await answer.stream(exchange, answers[0])
                return
            pieces = [await exchange.unless_left(each.next()) for each in answers]
    await exchange.send_json(answer.whole(pieces))


async def _prompts(service: Service, request: CompletionRequest) -> list[list[int]]:
    """The ids of each prompt."""
    several = request.prompts
    if len(several) > _MOST:
        raise ApiError(
            400,
            f"{len(several)} prompts, and this server takes {_MOST} in one request",
            param="prompt",
            code="invalid_value",
        )
    found = []
    for each in several:
        if isinstance(each, str):
            found.append(await encoded_text(service, each, special=request.add_special_tokens))
        else:
            refuse_unknown_ids(service, each, "prompt")
            found.append(list(each))
    return found


async def encoded_text(service: Service, text: str, *, special: bool) -> list[int]:
    """The ids of raw text."""

    def encode(tokenizer: ChatTokenizer) -> list[int]:
        return tokenizer.encode_text(text, add_special_tokens=special)

    return await service.encoded(encode)


def refuse_unknown_ids(service: Service, ids: Sequence[int], param: str) -> None:
    """Raise :class:`ApiError` where the base has no such token."""
    top = service.held.tokenizer.top_id
    for token in ids:
        if token > top:
            raise ApiError(
                400,
                f"there is no token {token}: the last one is {top}",
                param=param,
                code="invalid_value",
            )


class _Completion:
    """The shapes of the answer to one request."""

    def __init__(
        self, service: Service, request: CompletionRequest, asked: Sequence[Asked]
    ) -> None:
        self._held = service.held
        self._request, self._asked = request, asked
        self._head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": asked[0].model,
            "system_fingerprint": service.model(asked[0].model).digest,
        }

    def whole(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """The answer in one."""
        choices = [
            self._choice(index, asked, piece)
            for index, (asked, piece) in enumerate(zip(self._asked, pieces, strict=True))
        ]
        counted = usage(
            sum(len(asked.ids) for asked in self._asked),
            sum(len(piece.ids) for piece in pieces),
            sum(piece.shared for piece in pieces),
        )
        return {**self._head, "choices": choices, "usage": counted}

    async def stream(self, exchange: Exchange, pieces: Pieces) -> None:
        """The answer as a stream."""
        count = 0
        offsets = Offsets(self._held.tokenizer)
        (asked,) = self._asked
        while True:
            piece = await exchange.unless_left(pieces.next())
            choice = self._choice(0, asked, piece, offsets, first=not count)
            count += len(piece.ids)
            more = {"usage": None} if self._request.include_usage else {}
            await exchange.send_event({**self._head, "choices": [choice], **more})
            if piece.finish is not None:
                break
        if self._request.include_usage:
            counted = usage(len(asked.ids), count, piece.shared)
            await exchange.send_event({**self._head, "choices": [], "usage": counted})
        await exchange.end_stream()

    def _choice(
        self,
        index: int,
        asked: Asked,
        piece: Piece,
        offsets: Offsets | None = None,
        *,
        first: bool = True,
    ) -> dict[str, Any]:
        echo = self._held.tokenizer.decode(asked.ids) if self._request.echo else ""
        choice: dict[str, Any] = {
            "index": index,
            "text": echo + piece.text,
            "logprobs": None,
            "finish_reason": piece.finish,
        }
        if piece.finish is not None:
            choice["stop_reason"] = piece.stopped
        if self._request.logprobs is not None:
            choice["logprobs"] = self._logprobs(
                asked, piece, offsets or Offsets(self._held.tokenizer)
            )
        if self._request.return_token_ids:
            choice["token_ids"] = list(piece.ids)
            if first:
                choice["prompt_token_ids"] = list(asked.ids)
        return choice

    def _logprobs(self, asked: Asked, piece: Piece, offsets: Offsets) -> dict[str, Any]:
        ids: list[int] = list(piece.ids)
        logprobs: list[float | None] = list(piece.logprobs)
        top: list[Top | None] = list(piece.top)
        if self._request.echo and piece.scores is not None:
            ids = [*asked.ids, *ids]
            logprobs = [None, *piece.scores.logprobs, *logprobs]
            if self._request.logprobs:
                top = [None, *piece.scores.likeliest, *top]
        places = offsets.push(ids)
        return completion_logprobs(self._held.tokenizer, ids, logprobs, top, places)
