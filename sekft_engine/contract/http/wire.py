"""One HTTP exchange with limits on its whole time and size.

Timeouts of HTTP libraries are for a single read, so they wait without end for a server that sends a
byte now and then. Here every read and write gets the remaining time of the exchange. The limit on
the size holds for the decompressed answer.
"""

from __future__ import annotations

import ssl
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import httpcore
import msgspec

from sekft_engine.contract.http.proxies import Proxy

#: Most bytes that are decompressed or written at a time.
_PIECE = 1 << 16
#: The end of this thread's exchange, by the monotonic clock.
_UNTIL: ContextVar[float] = ContextVar("until")


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP response. The names of ``headers`` are in lower case."""

    status: int
    headers: dict[str, str]
    data: bytes


class TooLong(Exception):
    """The answer is longer than its limit."""


class Encoded(Exception):
    """The answer has an unknown or broken compression, which the message names."""


class Late(Exception):
    """The time of the exchange is up."""


class Wire:
    """Connections to one server, or to its proxy. Thread-safe.

    Args:
        connections: most exchanges at a time; others wait.
        trust: certificate authorities for TLS; None = no TLS.
        proxy: None = a direct connection.
    """

    def __init__(
        self, *, connections: int, trust: ssl.SSLContext | None, proxy: Proxy | None
    ) -> None:
        common: dict[str, Any] = {
            "ssl_context": trust,
            "max_connections": connections,
            "max_keepalive_connections": connections,
            "network_backend": _Backend(),
        }
        self._pool = _pool(proxy, trust, common)

    def close(self) -> None:
        self._pool.close()

    def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None,
        seconds: float,
        limit: int,
        tap: Callable[[str], Callable[[bytes], None]] | None = None,
    ) -> Reply:
        """Send a request, and read the whole answer.

        Args:
            tap: is told the media type of a good answer, and gives what takes its pieces as they
                come.

        Raises:
            Late: it takes longer than ``seconds``.
            TooLong: the answer has more than ``limit`` bytes.
            Encoded: its compression is unknown or broken.
            httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError: there is no
                answer.
        """
        # No compression: answers are small, and a small one may decompress to a large one.
        sent = [("Accept-Encoding", "identity"), *headers.items()]
        waits = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        held = _UNTIL.set(time.monotonic() + seconds)
        try:
            with self._pool.stream(
                method, url, headers=sent, content=content, extensions={"timeout": waits}
            ) as response:
                found = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in response.headers
                }
                chunks = _bounded(response.iter_stream(), limit)
                pieces = _bounded(_unpacked(chunks, found), limit)
                if tap is not None and 200 <= response.status < 300:
                    kind = found.get("content-type", "").partition(";")[0].strip().lower()
                    pieces = _tapped(pieces, tap(kind))
                data = _joined(pieces, response.status)
            return Reply(status=response.status, headers=found, data=data)
        except httpcore.TimeoutException as error:
            raise Late from error
        finally:
            _UNTIL.reset(held)


def _pool(
    proxy: Proxy | None, trust: ssl.SSLContext | None, common: dict[str, Any]
) -> httpcore.ConnectionPool:
    if proxy is None:
        return httpcore.ConnectionPool(**common)
    auth = (proxy.user, proxy.password) if proxy.user else None
    if proxy.scheme == "socks5":
        return httpcore.SOCKSProxy(proxy_url=proxy.url, proxy_auth=auth, **common)
    own = trust if proxy.scheme == "https" else None
    return httpcore.HTTPProxy(proxy_url=proxy.url, proxy_auth=auth, proxy_ssl_context=own, **common)


def _joined(pieces: Iterable[bytes], status: int) -> bytes:
    """All pieces; of an error answer only those within the limit, since its status says enough."""
    held: list[bytes] = []
    try:
        for piece in pieces:
            held.append(piece)  # noqa: PERF402 - what came before the error is kept
    except TooLong:
        if status < 400:
            raise
    return b"".join(held)


def _tapped(pieces: Iterable[bytes], take: Callable[[bytes], None]) -> Iterator[bytes]:
    for piece in pieces:
        take(piece)
        yield piece


def _bounded(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise TooLong
        yield chunk


def _unpacked(chunks: Iterable[bytes], headers: Mapping[str, str]) -> Iterator[bytes]:
    """The decompressed body, in pieces of bounded size."""
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        yield from chunks
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Encoded(encoding[:40])
    unzip = zlib.decompressobj(wbits=47)  # gzip or zlib, by its first bytes
    try:
        for chunk in chunks:
            data, full = chunk, True
            while data or full:
                piece = unzip.decompress(data, _PIECE)
                data, full = unzip.unconsumed_tail, len(piece) == _PIECE
                yield piece
    except zlib.error as error:
        raise Encoded(f"broken {encoding}") from error


def _remaining(seconds: float | None) -> float:
    """``seconds``, or the remaining time of the exchange where that is less."""
    remaining = _UNTIL.get() - time.monotonic()
    if remaining <= 0:
        raise httpcore.ReadTimeout
    return remaining if seconds is None else min(remaining, seconds)


class _Backend(httpcore.NetworkBackend):
    """Connections whose operations have the remaining time of the exchange as their timeout."""

    def __init__(self) -> None:
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(
            self._sockets.connect_tcp(
                host,
                port,
                timeout=_remaining(timeout),
                local_address=local_address,
                socket_options=socket_options,
            )
        )


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, timeout=_remaining(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            self._stream.write(buffer[start : start + _PIECE], timeout=_remaining(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(
            self._stream.start_tls(
                ssl_context, server_hostname=server_hostname, timeout=_remaining(timeout)
            )
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
