"""One request and its answer, as ASGI has them, with an eye on whether the client is still there.

Starlette does not end a handler whose client has left, unless it is writing. So what waits for the
model waits for the client's leaving as well.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from starlette.types import Message, Receive, Scope, Send

from sekft_engine.serve.errors import ApiError

Result = TypeVar("Result")

#: Seconds that a client has for its body.
BODY_SECONDS = 60.0
#: Bytes beyond the limit that are read and dropped: a client that still sends sees no answer.
DISCARDED = 64 << 20


class ClientLeft(Exception):
    """The client has closed the connection."""


class Exchange:
    """A request and its answer.

    Args:
        scope, receive, send: of ASGI.
        largest: most bytes of the body.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, largest: int) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._largest = largest
        self._gone: asyncio.Task[None] | None = None
        self.started = False  #: whether the answer has begun

    def header(self, name: str) -> str:
        """The first header of that name; empty = there is none."""
        wanted = name.lower().encode()
        found = (value for key, value in self._scope["headers"] if key == wanted)
        return str(next(found, b"").decode("latin-1"))

    def parameter(self, name: str) -> str:
        """A part of the path."""
        return str(self._scope["path_params"][name])

    async def body(self) -> bytes:
        """The whole body of a request with JSON.

        Raises:
            ApiError: it is too large, too slow, or not JSON by its header.
            ClientLeft: the client left before it was complete.
        """
        kind = self.header("content-type").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ApiError(
                415, "the body must be JSON; send it with Content-Type: application/json"
            )
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._read()
        except TimeoutError:
            raise ApiError(408, f"the body took longer than {BODY_SECONDS:g} s") from None

    async def _read(self) -> bytes:
        parts = bytearray()
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            new = message.get("body", b"")
            size += len(new)
            if size <= self._largest:
                parts += new
            elif size > self._largest + DISCARDED:
                break
            more = bool(message.get("more_body"))
        if size > self._largest:
            raise self._too_large()
        return bytes(parts)

    def _too_large(self) -> ApiError:
        return ApiError(
            413,
            f"the body is larger than {self._largest} bytes, the limit of this server",
            code="body_too_large",
        )

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """A context in which :meth:`unless_left` knows when the client leaves."""
        self._gone = asyncio.ensure_future(self._watch())
        try:
            yield
        finally:
            self._gone.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def unless_left(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of ``work``, which is cancelled where the client leaves.

        Raises:
            ClientLeft: it left.
        """
        task = asyncio.ensure_future(work)
        gone = self._gone
        try:
            if gone is not None:
                await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not task.done():
                    raise ClientLeft
            return await task
        finally:
            if not task.done():
                task.cancel()

    async def send_json(
        self, body: Any, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with JSON."""
        data = msgspec.json.encode(body)
        await self.send_bytes(data, "application/json", status, headers)

    async def send_bytes(
        self,
        data: bytes,
        kind: str,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer with a whole body of the media type ``kind``."""
        more = {"content-type": kind, "content-length": str(len(data)), **(headers or {})}
        await self._send(self._start(status, more))
        await self._send({"type": "http.response.body", "body": data})

    async def send_event(self, body: Any) -> None:
        """Send an event of a stream, which the first one opens."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        await self._open_stream()
        event = b"data: " + data + b"\n\n"
        await self._send({"type": "http.response.body", "body": event, "more_body": True})

    async def end_stream(self) -> None:
        """End a stream as OpenAI does."""
        await self.send_event(b"[DONE]")
        await self._send({"type": "http.response.body", "body": b""})

    async def _open_stream(self) -> None:
        if not self.started:
            headers = {"content-type": "text/event-stream; charset=utf-8"}
            await self._send(self._start(200, headers | {"x-accel-buffering": "no"}))

    def _start(self, status: int, headers: Mapping[str, str]) -> Message:
        self.started = True
        always = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
        pairs = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in (always | dict(headers)).items()
        ]
        return {"type": "http.response.start", "status": status, "headers": pairs}
