"""What is answered at once, and what is passed on to the engine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import msgspec

from sekft_engine import __version__
from sekft_engine.core.errors import Unexpected, known_error
from sekft_engine.core.process import is_stopped
from sekft_engine.engine.socket import protocol
from sekft_engine.engine.socket.address import Address
from sekft_engine.engine.socket.connection import Connection
from sekft_engine.engine.socket.feed import KINDS, Subscription
from sekft_engine.engine.socket.history import History
from sekft_engine.engine.socket.lines import (
    error_line,
    parse_params,
    parse_request,
    request_id,
    result_line,
)
from sekft_engine.engine.socket.picture import Picture
from sekft_engine.engine.socket.protocol import Greeting, Params, Request, RequestId, RpcError

#: After so many seconds without a sign of life the engine counts as silent. Loading a library can
#: hold the interpreter for a second or two.
SILENT_S = 5.0

log = logging.getLogger(__name__)


class Answers:
    """Answers the lines of clients.

    Args:
        address: what the pointer says of the engine.
        history: numbers and has the events.
        picture: the engine's state.
        order: passes a request on to the engine, which answers later; may raise.
        clients: how many there are.
        heard: when the engine gave its last sign of life, in seconds of the monotonic clock.
    """

    def __init__(
        self,
        address: Address,
        history: History,
        picture: Picture,
        *,
        order: Callable[[Connection, Request], None],
        clients: Callable[[], int],
        heard: Callable[[], float],
    ) -> None:
        self._address = address
        self._history = history
        self._picture = picture
        self._order = order
        self._clients = clients
        self._heard = heard

    def greeting(self, *, read_only: bool) -> Greeting:
        """What the server says first."""
        first, last = self._history.span
        return Greeting(
            protocol=protocol.PROTOCOL,
            engine=f"sekft {__version__}",
            pid=self._address.pid,
            workspace=self._address.workspace,
            journal=self._history.journal,
            first=first,
            last=last,
            methods=[
                name for name, kind in protocol.METHODS.items() if kind.harmless or not read_only
            ],
            kinds=sorted(KINDS),
            read_only=read_only,
            longest_line=protocol.LONGEST_LINE,
            started=self._address.started,
            busy=self._picture.running,
        )

    def answer(self, client: Connection, line: bytes) -> None:
        """Answer one line; what goes wrong is the answer."""
        number: RequestId | None = None
        try:
            request = parse_request(line)
            number = request.id
            params = parse_params(request.method, request.params)
            if client.read_only and not params.harmless:
                raise RpcError(
                    protocol.READ_ONLY,
                    f"{request.method}: this socket is for viewers",
                    mend=f"connect to {self._address.socket}",
                )
            result = self._result(client, request, params)
        except Exception as error:
            if number is None:
                number = request_id(line)
            if isinstance(known_error(error), Unexpected):
                log.exception("a request failed")
            client.send(error_line(number, error))
            return
        if result is not None:
            client.send(result_line(number, result))

    def _result(
        self, client: Connection, request: Request, params: Params
    ) -> msgspec.Struct | dict[str, object] | None:
        """The answer to a request; None = it comes later."""
        match params:
            case protocol.Status():
                return self._status()
            case protocol.Queue():
                now = self._picture.queue()
                return {"running": now.running, "waiting": now.waiting}
            case protocol.AdaptersList():
                return self._picture.adapters()
            case protocol.Hello():
                return self._agree(client, params)
            case protocol.Subscribe():
                client.subscription = Subscription(params, self._history, self._picture)
                cursor = client.subscription.cursor
                return {"journal": self._history.journal, "after": cursor}
            case protocol.Unsubscribe():
                client.subscription = None
                return {}
            case protocol.Detach():
                client.leaving = True
                return {}
        self._order(client, request)
        return None

    def _status(self) -> protocol.EngineStatus:
        silent = time.monotonic() - self._heard()
        return msgspec.structs.replace(
            self._picture.status(self._clients()),
            silent=round(silent, 1) if silent > SILENT_S else 0.0,
            stopped=is_stopped(self._address.pid),
        )

    def _agree(self, client: Connection, params: protocol.Hello) -> dict[str, object]:
        if params.protocol != protocol.PROTOCOL:
            client.leaving = True
            raise RpcError(
                protocol.WRONG_PROTOCOL,
                f"this engine speaks protocol {protocol.PROTOCOL}",
                where=f'"protocol": {params.protocol}',
                mend="use the version of sekft that the engine has",
            )
        return {"protocol": protocol.PROTOCOL}
