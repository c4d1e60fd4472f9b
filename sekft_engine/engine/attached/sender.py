"""Sends orders to another process's engine, one after another, and waits for nobody."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from sekft_engine.core.errors import SekftError, Unavailable
from sekft_engine.engine.attached.where import Where
from sekft_engine.engine.socket.client import Client

#: How long the engine may take for an order: it is done between two moments of its jobs.
_PATIENCE_S = 120.0
#: How long an engine that is there is called again, in seconds.
_SEEK_S = 20.0


class Order(NamedTuple):
    """A method and its parameters. ``again``: sent twice, it is done once."""

    method: str
    params: dict[str, Any]
    failed: Callable[[SekftError], None]
    again: bool = True


class Sender:
    """Sends on a thread of its own.

    Args:
        where: the engine.
    """

    def __init__(self, where: Where) -> None:
        self._where = where
        self._client: Client | None = None
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._stopped = False
        self._thread = threading.Thread(target=self._main, name="sekft-orders", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def send(self, order: Order) -> None:
        """Send it as soon as those before are answered. ``failed`` is called on the thread."""
        self._orders.put(order)

    def stop(self, timeout: float) -> None:
        """Send what there is, for at most ``timeout`` seconds."""
        self._orders.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout)
        self._stopped = True
        if self._client is not None:
            self._client.close()

    def _main(self) -> None:
        while (order := self._orders.get()) is not None:
            try:
                self._do(order)
            except SekftError as error:
                with contextlib.suppress(Exception):
                    order.failed(error)

    def _do(self, order: Order) -> None:
        until = time.monotonic() + _SEEK_S
        while True:
            try:
                if self._client is None:
                    self._client = self._where.connect(_PATIENCE_S)
                self._client.call(order.method, **order.params)
                return
            except Unavailable:
                sent = self._client is not None
                if self._client is not None:
                    self._client.close()
                self._client = None
                over = time.monotonic() > until or not self._where.is_there()
                if self._stopped or over or (sent and not order.again):
                    raise
            time.sleep(0.1)
