"""Why a server gave no answer, and what to do about it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Literal

from sekft_engine.contract.http.proxies import Proxy
from sekft_engine.contract.http.trust import why_not
from sekft_engine.core.errors import Unavailable

#: Why there is no answer.
FaultKind = Literal["timed out", "too large", "packed", "lost", "unreachable", "no server"]


class Fault(Unavailable):
    """There is no answer; ``kind`` says why, ``again`` whether a retry may help."""

    def __init__(self, kind: FaultKind, what: str, *, where: str, mend: str, again: bool) -> None:
        super().__init__(what, where=where, mend=mend)
        self.kind, self.again = kind, again


def fault_of(
    error: Exception, *, where: str, proxy: Proxy | None, shown: Callable[[str], str]
) -> Fault:
    """The fault of an error of the connection, with a message for users.

    Args:
        error: what httpcore raised.
        where: the server.
        proxy: that the connection goes through; None = it is direct.
        shown: a text as it may be shown: short, visible, without secrets.
    """
    import httpcore

    roots = tuple(_roots(error))
    kind: FaultKind = "no server"
    again = False
    lookup = next((root for root in roots if isinstance(root, socket.gaierror)), None)
    doubt = next((root for root in roots if isinstance(root, ssl.SSLCertVerificationError)), None)
    if isinstance(error, httpcore.ProxyError):
        why = f"the proxy refuses: {shown(str(error))}"
        mend = "look at its rules, or name the server in NO_PROXY"
    elif lookup is not None:
        why, mend = "no such host", "check the name, or your network"
        if lookup.errno == socket.EAI_AGAIN:
            kind, again = "unreachable", True
    elif doubt is not None:
        why, mend = why_not(doubt)
    elif any(isinstance(root, ssl.SSLError) for root in roots):
        why, mend = "no TLS there", "try it with http://"
    elif any(isinstance(root, ConnectionRefusedError) for root in roots):
        kind, why, again = "unreachable", "nothing listens there", True
        mend = "start the server, or give its address with --endpoint"
    elif isinstance(error, httpcore.ConnectError):
        kind, why, again = "unreachable", "cannot connect", True
        mend = "check address and network"
    elif isinstance(error, httpcore.ProtocolError):
        kind, why, again = "lost", "it hung up, or does not speak HTTP", True
        mend = "is it an https:// address?"
    else:
        kind, why, again = "lost", "the connection broke", True
        mend = "look at the server's log"
    through = f" (through the proxy {proxy.shown})" if proxy else ""
    return Fault(kind, why + through, where=where, mend=mend, again=again)


def _roots(error: BaseException) -> Iterator[BaseException]:
    """``error`` and its causes, the innermost last."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
