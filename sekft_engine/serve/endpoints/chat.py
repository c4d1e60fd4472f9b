"""``POST /v1/chat/completions``."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

from sekft_engine.serve.endpoints.logprobs import chat_logprobs
from sekft_engine.serve.errors import ApiError
from sekft_engine.serve.exchange import Exchange
from sekft_engine.serve.fields import ChatRequest, read
from sekft_engine.serve.generation import Asked, Piece
from sekft_engine.serve.service import Pieces, Service


async def chat(service: Service, exchange: Exchange) -> None:
    """Answer a chat, whole or as a stream."""
    request = read(await exchange.body(), ChatRequest)
    if request.top_logprobs and not request.logprobs:
        raise ApiError(
            400, "top_logprobs needs logprobs", param="top_logprobs", code="invalid_value"
        )
    room = request.max_completion_tokens or request.max_tokens
    if request.max_tokens == 0:
        raise ApiError(
            400, "max_tokens must be 1 or more", param="max_tokens", code="invalid_value"
        )
    service.model(request.model)
    with exchange.watched():
        ids = await exchange.unless_left(service.prompt(request.messages))
        asked = service.asked(request, ids, room=room, top=request.top_logprobs)
        answer = _Chat(service, request, asked)
        async with service.answers(asked) as (pieces,):
            if request.stream:
                await answer.stream(exchange, pieces)
                return
            piece = await exchange.unless_left(pieces.next())
    await exchange.send_json(answer.whole(piece))


class _Chat:
    """The shapes of the answer to one request."""

    def __init__(self, service: Service, request: ChatRequest, asked: Asked) -> None:
        self._held = service.held
        self._request, self._asked = request, asked
        self._head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": asked.model,
            # What answered: the adapter's content, or the base.
            "system_fingerprint": service.model(asked.model).digest,
        }

    def whole(self, piece: Piece) -> dict[str, Any]:
        """The answer in one."""
        message = {"role": "assistant", "content": piece.text, "refusal": None}
        choice = self._choice(piece) | {"message": message}
        answer = {**self._head, "object": "chat.completion", "choices": [choice]}
        if self._request.return_token_ids:
            answer["prompt_token_ids"] = list(self._asked.ids)
        return answer | {"usage": self._usage(len(piece.ids), piece.shared)}

    async def stream(self, exchange: Exchange, pieces: Pieces) -> None:
        """The answer as a stream; it begins with the role, when the first piece is there."""
        count = 0
        first = True
        while True:
            piece = await exchange.unless_left(pieces.next())
            if first:
                opening = self._chunk([{**_EMPTY, "delta": {"role": "assistant", "content": ""}}])
                if self._request.return_token_ids:
                    opening["prompt_token_ids"] = list(self._asked.ids)
                await exchange.send_event(opening)
                first = False
            count += len(piece.ids)
            delta = {"content": piece.text} if piece.text or piece.finish is None else {}
            await exchange.send_event(self._chunk([self._choice(piece) | {"delta": delta}]))
            if piece.finish is not None:
                break
        if self._request.include_usage:
            usage = self._usage(count, piece.shared)
            await exchange.send_event(self._chunk([]) | {"usage": usage})
        await exchange.end_stream()

    def _chunk(self, choices: Sequence[dict[str, Any]]) -> dict[str, Any]:
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": list(choices)}
        return chunk | ({"usage": None} if self._request.include_usage else {})

    def _choice(self, piece: Piece) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": piece.finish}
        if self._request.logprobs:
            tokenizer = self._held.tokenizer
            choice["logprobs"] = chat_logprobs(tokenizer, piece.ids, piece.logprobs, piece.top)
        if piece.finish is not None:
            choice["stop_reason"] = piece.stopped
        if self._request.return_token_ids:
            choice["token_ids"] = list(piece.ids)
        return choice

    def _usage(self, count: int, shared: int) -> dict[str, Any]:
        return usage(len(self._asked.ids), count, shared)


_EMPTY: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": None}


def usage(prompt: int, count: int, shared: int) -> dict[str, Any]:
    """The count of tokens; ``shared`` of the prompt did not go through the model again."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": count,
        "total_tokens": prompt + count,
        "prompt_tokens_details": {"cached_tokens": shared},
    }
