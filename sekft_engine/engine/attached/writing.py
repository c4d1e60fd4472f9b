"""Follows what models are writing in the engine of another process, on a connection of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import msgspec

from sekft_engine.core.errors import SekftError
from sekft_engine.engine.attached.where import Where
from sekft_engine.engine.socket.client import Client
from sekft_engine.engine.socket.lines import request_line
from sekft_engine.work.board import Writing

#: How long to wait before an engine that is not there is sought again, in seconds.
_AGAIN_S = 0.5


class _Said(msgspec.Struct, frozen=True):
    """A line of the server, as far as it matters here."""

    method: str = ""
    params: msgspec.Raw = msgspec.Raw(b"{}")


_said = msgspec.json.Decoder(_Said).decode
_writing = msgspec.json.Decoder(Writing).decode


class WritingFollower:
    """Reads on a thread of its own until it is told to stop.

    Args:
        where: the engine.
        callback: takes what is written, on the thread.
    """

    def __init__(self, where: Where, callback: Callable[[Writing], None]) -> None:
        self._where, self._callback = where, callback
        self._stopped = threading.Event()
        self._client: Client | None = None
        self._thread = threading.Thread(target=self._main, name="sekft-writing", daemon=True)

    def start(self) -> WritingFollower:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Read no more. Does not wait."""
        self._stopped.set()
        client = self._client
        if client is not None:
            client.close()

    def _main(self) -> None:
        while not self._stopped.is_set():
            # What fails is sought again, unless nobody wants to know.
            with contextlib.suppress(SekftError, OSError, ValueError, msgspec.MsgspecError):
                client = self._client = self._where.connect()
                try:
                    self._follow(client)
                finally:
                    client.close()
            self._stopped.wait(_AGAIN_S)

    def _follow(self, client: Client) -> None:
        client.send(request_line("writing", "subscribe", {"what": ["writing"]}))
        client.wait_at_most(None)  # nobody may write for long
        while not self._stopped.is_set():
            said = _said(client.next_line())
            if said.method == "writing":
                self._callback(_writing(said.params))
