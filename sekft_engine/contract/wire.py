"""One HTTP exchange, bounded as a whole: so many seconds and so many bytes, whatever a server does.

Timeouts of HTTP libraries hold for a single read, so a server that sends one byte now and then is
waited for without end. Here every read and write is given what is left of the exchange's time. What
is compressed is bounded by what it unpacks to.
"""

from __future__ import annotations

import ssl
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import httpcore
import msgspec

from sekft_engine.contract.proxies import Proxy

#: So much is unpacked, and so much is written, at a time.
_PIECE = 1 << 16
#: When the exchange of this thread must be over.
_UNTIL: ContextVar[float] = ContextVar("until")


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. The names of ``headers`` are in lower case."""

    status: int
    headers: dict[str, str]
    data: bytes


class TooLong(Exception):
    """The answer has more bytes than were allowed."""


class Encoded(Exception):
    """The answer is compressed in a way that nobody asked for; the message names it."""


class Late(Exception):
    """The exchange took its whole time."""


class Wire:
    """Connections to one server, or to the proxy before it. For any thread.

    Args:
        connections: exchanges that are under way at once; more would wait for each other.
        trust: whom to believe over TLS; None = none is spoken.
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
    ) -> Reply:
        """Ask, and read the whole answer.

        Raises:
            Late: it took longer than ``seconds``.
            TooLong: the answer has more than ``limit`` bytes.
            Encoded: it is compressed in a way that was not asked for.
            httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError: there is none.
        """
        # Nobody asks for compression: what is sent is small, and a small answer may unpack to much.
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
                data = _joined(_bounded(_unpacked(chunks, found), limit), response.status)
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
    """All of them; of an error what fits, for its status says what it is."""
    held: list[bytes] = []
    try:
        for piece in pieces:
            held.append(piece)  # noqa: PERF402 - what came before the error is kept
    except TooLong:
        if status < 400:
            raise
    return b"".join(held)


def _bounded(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise TooLong
        yield chunk


def _unpacked(chunks: Iterable[bytes], headers: Mapping[str, str]) -> Iterator[bytes]:
    """The body as it was before it was compressed, in pieces of bounded size."""
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        yield from chunks
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Encoded(encoding[:40])
    unzip = zlib.decompressobj(wbits=47)  # either kind, told by its first bytes
    try:
        for chunk in chunks:
            data, full = chunk, True
            while data or full:
                piece = unzip.decompress(data, _PIECE)
                data, full = unzip.unconsumed_tail, len(piece) == _PIECE
                yield piece
    except zlib.error as error:
        raise Encoded(f"broken {encoding}") from error


def _left(seconds: float | None) -> float:
    """What an operation may take that was given ``seconds``."""
    left = _UNTIL.get() - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout
    return left if seconds is None else min(left, seconds)


class _Backend(httpcore.NetworkBackend):
    """Connections whose every operation is given what is left of the exchange's time."""

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
                timeout=_left(timeout),
                local_address=local_address,
                socket_options=socket_options,
            )
        )


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, timeout=_left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            self._stream.write(buffer[start : start + _PIECE], timeout=_left(timeout))

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
                ssl_context, server_hostname=server_hostname, timeout=_left(timeout)
            )
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
