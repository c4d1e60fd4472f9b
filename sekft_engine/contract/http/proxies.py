"""Finds the proxy for a server from environment variables, by the rules of curl.

An invalid variable is an error only where it would be used. Invalid entries of ``NO_PROXY`` are
skipped.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from sekft_engine.core.errors import BadInput, Unavailable

_PORTS = {"http": 80, "https": 443}


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy, and the environment variable that names it; ``url`` has no user and no password."""

    variable: str
    scheme: str
    url: str
    user: str = ""
    password: str = ""

    @property
    def shown(self) -> str:
        return f"{self.url} of {self.variable}"


def proxy_for(endpoint: str, environment: Mapping[str, str] | None = None) -> Proxy | None:
    """The proxy for ``endpoint``; None = a direct connection.

    Args:
        endpoint: an ``http://`` or ``https://`` address.
        environment: its variables; None = those of this process.

    Raises:
        BadInput: the variable has no valid address of a proxy.
        Unavailable: that kind of proxy is not supported here.
    """
    variables = os.environ if environment is None else environment
    parts = urlsplit(endpoint)
    host = (parts.hostname or "").rstrip(".")
    for name in _names(parts.scheme, variables):
        value = variables.get(name, "").strip()
        if value:
            if is_exempt(host, parts.port or _PORTS.get(parts.scheme, 0), variables):
                return None
            return _proxy(name, value)
    return None


def is_exempt(host: str, port: int, variables: Mapping[str, str]) -> bool:
    """Whether ``NO_PROXY`` names the host: by name (its subdomains go with it), by address, by
    network (``10.0.0.0/8``, ``fd00::/8``), with a port or without, or all of them by ``*``."""
    listed = variables.get("no_proxy") or variables.get("NO_PROXY") or ""
    address = _address(host)
    return any(_names_host(entry, host, port, address) for entry in re.split(r"[\s,]+", listed))


def _names(scheme: str, variables: Mapping[str, str]) -> list[str]:
    """The variables that may name the proxy, in order.

    HTTP_PROXY is left out in a CGI program, where it comes from a client's header ``Proxy``.
    """
    own = [f"{scheme}_proxy", f"{scheme.upper()}_PROXY"]
    if "REQUEST_METHOD" in variables:
        own = [name for name in own if name != "HTTP_PROXY"]
    return [*own, "all_proxy", "ALL_PROXY"]


def _names_host(
    entry: str, host: str, port: int, address: IPv4Address | IPv6Address | None
) -> bool:
    if not entry or entry == "*":
        return entry == "*"
    name, wanted = _with_port(entry)
    if wanted and wanted != str(port):
        return False
    if address is not None:
        try:
            return address in ip_network(name, strict=False)
        except (ValueError, TypeError):
            return False
    name = name.lower().strip(".")
    return bool(name) and (host.lower() == name or host.lower().endswith(f".{name}"))


def _with_port(entry: str) -> tuple[str, str]:
    """``host:port``, ``[::1]:port``; ('', ...) is never given for what has no port."""
    if bracketed := re.fullmatch(r"\[([^\]]*)\](?::(\d+))?", entry):
        return bracketed[1], bracketed[2] or ""
    name, colon, port = entry.rpartition(":")
    has_port = colon and ":" not in name and port.isdecimal()
    return (name, port) if has_port else (entry, "")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _proxy(variable: str, value: str) -> Proxy:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _unreadable(variable) from None
    if not host or not _can_be_sent(parts):
        raise _unreadable(variable)
    scheme = {"socks5h": "socks5", "socks": "socks5"}.get(parts.scheme, parts.scheme)
    if scheme == "socks5" and importlib.util.find_spec("socksio") is None:
        raise Unavailable(
            "this proxy speaks SOCKS, which needs the package socksio",
            where=variable,
            mend=f"pip install socksio, name the server in NO_PROXY, or unset {variable}",
        )
    if scheme not in ("http", "https", "socks5"):
        raise _unreadable(variable)
    number = port or {"http": 80, "https": 443, "socks5": 1080}[scheme]
    return Proxy(
        variable=variable,
        scheme=scheme,
        url=f"{scheme}://{f'[{host}]' if ':' in host else host}:{number}",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def _can_be_sent(parts: SplitResult) -> bool:
    """Whether host, user and password are valid in a request."""
    said = f"{parts.hostname}{unquote(parts.username or '')}{unquote(parts.password or '')}"
    return said.isascii() and said.isprintable() and " " not in (parts.hostname or "")


def _unreadable(variable: str) -> BadInput:
    # Its value may contain a password, so it is not shown.
    return BadInput(
        "this environment variable holds no address of a proxy",
        where=variable,
        mend=f"write it as http://host:3128, name the server in NO_PROXY, or unset {variable}",
    )
