"""uvicorn's connections, with a bound on how long a request's head may take, and quiet logs."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from sekft_engine.core.text import visible

#: Seconds between two equal lines about the server's sockets.
_REPEAT = 60.0


def protocol(head_seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol, but a connection on which no request begins is closed.

    Args:
        head_seconds: that a client has for the head of each request.
    """

    class Bounded(H11Protocol):
        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._late is not None:
                self._late.cancel()
            super().connection_lost(exc)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._expect_head()

        def _expect_head(self) -> None:
            if self._late is not None:
                self._late.cancel()
            self._late = self.loop.call_later(head_seconds, self._close_if_late)

        def _close_if_late(self) -> None:
            if self.conn.their_state is h11.IDLE:
                self.transport.close()

    return Bounded


class _Lines(logging.Handler):
    """Writes a log record as one line, without a traceback."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        _write(record.getMessage() + (f": {error!r}" if error is not None else ""))


def quiet_logs() -> None:
    """Let uvicorn log only what the server is to blame for, one line each.

    It warns of each request that is not HTTP, so a scan of the port would fill the log.
    """
    logger = logging.getLogger("uvicorn.error")
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    logger.handlers = [_Lines()]


class SocketErrors:
    """Handles errors of the event loop: one line each, and a repeated one once a minute.

    Where no more files can be opened, asyncio reports it for each connection that waits, with a
    traceback, every second.
    """

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        line = str(context.get("message", "")) + (f": {error}" if error is not None else "")
        now = time.monotonic()
        if now - self._last.get(line, -_REPEAT) >= _REPEAT:
            if len(self._last) > 100:
                self._last.clear()
            self._last[line] = now
            _write(line)


def _write(text: str) -> None:
    sys.stderr.write(f"sekft: error: {visible(' '.join(text.split()))}\n")
