"""The ASGI application: which path does what, and how errors are answered."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sekft_engine.core.errors import known_error
from sekft_engine.core.text import visible
from sekft_engine.serve.endpoints import about, tokens
from sekft_engine.serve.endpoints.chat import chat
from sekft_engine.serve.endpoints.completions import complete
from sekft_engine.serve.errors import ApiError
from sekft_engine.serve.exchange import ClientLeft, Exchange
from sekft_engine.serve.guard import Guard
from sekft_engine.serve.service import Service

#: Answers one exchange.
Handler = Callable[[Service, Exchange], Awaitable[None]]

#: Path -> method and handler. No path changes anything of the server.
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("/v1/chat/completions", "POST", chat),
    ("/v1/completions", "POST", complete),
    ("/v1/models", "GET", about.models),
    ("/v1/models/{name:path}", "GET", about.model),
    ("/tokenize", "POST", tokens.tokenize),
    ("/detokenize", "POST", tokens.detokenize),
    ("/health", "GET", about.health),
    ("/metrics", "GET", about.metrics),
    ("/version", "GET", about.version),
)


class _Endpoint:
    """One path: runs its handler, and answers its errors."""

    def __init__(self, service: Service, handler: Handler, largest: int) -> None:
        self._service, self._handler, self._largest = service, handler, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, largest=self._largest)
        try:
            await self._handler(self._service, exchange)
        except ClientLeft:
            return
        except ApiError as error:
            await self._answer(exchange, error)
        except asyncio.CancelledError:  # the server ends, and cannot wait any longer
            await self._answer(exchange, ApiError(503, "the server is shutting down"))
        except Exception as error:  # noqa: BLE001 - it costs this request, not the server
            known = known_error(error)
            line = visible(" ".join(str(known).split()))
            sys.stderr.write(f"sekft: error: {scope['path']}: {line}\n")
            await self._answer(exchange, ApiError(500, known.what))

    async def _answer(self, exchange: Exchange, error: ApiError) -> None:
        if exchange.started:  # within a stream there is no other status
            await exchange.send_event(error.body())
            await exchange.end_stream()
            return
        headers = error.headers
        if error.status in (408, 413, 415):  # the rest of the body is not read
            headers = headers | {"connection": "close"}
        await exchange.send_json(error.body(), error.status, headers)


def make_app(
    service: Service, *, host: str, allowed: Sequence[str] = (), key: str = "", largest: int
) -> ASGIApp:
    """The application.

    Args:
        service: what is served.
        host: the address that the server is bound to.
        allowed: more names that it may be called by.
        key: that requests must show; empty = none.
        largest: most bytes of a body.
    """
    routes = [
        Route(path, _Endpoint(service, handler, largest), methods=[method])
        for path, method, handler in ROUTES
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refused})
    return Guard(app, host=host, allowed=allowed, key=key)


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(getattr(error, "headers", None) or {})
    words = {404: "there is no such path", 405: f"{request.method} is not supported here"}
    refusal = ApiError(status, f"{request.url.path[:100]}: {words.get(status, 'refused')}")
    return JSONResponse(refusal.body(), status, headers)
