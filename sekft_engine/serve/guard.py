"""Who may ask: the name under which a server is called, and its key.

Even on loopback any page in a browser can reach a server, under a name of its own that leads there
(DNS rebinding). So the ``Host`` header must be a name that is meant.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from sekft_engine.serve.errors import ApiError
from sekft_engine.serve.exchange import Exchange

#: Paths that need no key: a monitor asks whether the server is there.
OPEN = frozenset({"/health"})
#: Names of this machine for itself.
_LOCAL = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


class Guard:
    """An ASGI middleware that lets in who is called by a right name and has the key.

    Args:
        app: what is guarded.
        host: the address that the server is bound to.
        allowed: more names that it may be called by.
        key: that requests must show; empty = none.
    """

    def __init__(self, app: ASGIApp, *, host: str, allowed: Iterable[str], key: str) -> None:
        self._app = app
        own = {host.lower(), socket.gethostname().lower()} if not is_loopback(host) else set()
        self._names = _LOCAL | {name.lower() for name in allowed} | own
        self._loopback = is_loopback(host)
        self._key = hashlib.sha256(key.encode()).digest() if key else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            self._check(scope)
        except ApiError as error:
            exchange = Exchange(scope, receive, send, largest=0)
            headers = error.headers | {"connection": "close"}
            await exchange.send_json(error.body(), error.status, headers)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        hosts = [value.decode("latin-1") for key, value in scope["headers"] if key == b"host"]
        if len(hosts) != 1 or not self._is_meant(hosts[0]):
            called = hosts[0] if len(hosts) == 1 else f"{len(hosts)} Host headers"
            raise ApiError(
                421,
                f"this server is not called {called}; --allow-host NAME lets it be",
                code="wrong_host",
            )
        if self._key and scope["path"] not in OPEN:
            self._check_key(scope)

    def _is_meant(self, host: str) -> bool:
        name = _name_of(host)
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name.lower().rstrip(".") in self._names
        # An address cannot be rebound. A server on loopback is reached under no other.
        return address.is_loopback or not self._loopback

    def _check_key(self, scope: Scope) -> None:
        shown = [value for key, value in scope["headers"] if key == b"authorization"]
        scheme, _, key = (shown[0] if len(shown) == 1 else b"").partition(b" ")
        given = hashlib.sha256(key.strip()).digest()
        right = hmac.compare_digest(given, self._key)
        if not right or scheme.lower() != b"bearer":
            raise ApiError(
                401,
                "wrong API key" if shown else "no API key; send Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host.lower() in _LOCAL:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """The name or address in a ``Host`` header, without its port."""
    host = host.strip()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host
