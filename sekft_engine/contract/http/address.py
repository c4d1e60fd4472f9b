"""Addresses of servers: check what users write, and write it for a request."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, quote, urlsplit

from sekft_engine.core.errors import BadInput

_MEND = "write it as http://host:8000"


def is_local(endpoint: str) -> bool:
    """Whether ``endpoint`` is on this machine."""
    try:
        host = urlsplit(endpoint).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def parse(endpoint: str) -> SplitResult:
    """The parts of an ``http://`` or ``https://`` address.

    Raises:
        BadInput: it is not a valid address.
    """
    try:
        parts = urlsplit(endpoint.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        raise BadInput("no usable address", where="--endpoint", mend=_MEND) from None
    if not usable:
        raise BadInput("no http:// or https:// address", where="--endpoint", mend=_MEND)
    if parts.query or parts.fragment:
        raise BadInput("an address has no ? or # part", where="--endpoint", mend=_MEND)
    return parts


def sent(parts: SplitResult, path: str) -> str:
    """The address for a request: in ASCII, without user and password."""
    host = parts.hostname or ""
    try:
        name = f"[{host}]" if ":" in host else host.encode("idna").decode()
        if re.search(r"[\s%/\\]", name.partition("%")[0]):
            raise ValueError(name)
    except (UnicodeError, ValueError):
        raise BadInput("no usable address", where="--endpoint", mend=_MEND) from None
    port = f":{parts.port}" if parts.port is not None else ""
    return f"{parts.scheme}://{name}{port}{quote(path, safe='/%:@!$&()*+,;=~-._')}"
