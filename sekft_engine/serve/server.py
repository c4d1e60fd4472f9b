"""The server's process: its socket, its signals, its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import msgspec
import uvicorn

from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.serve.app import make_app
from sekft_engine.serve.connections import SocketErrors, protocol, quiet_logs
from sekft_engine.serve.guard import is_loopback
from sekft_engine.serve.loading import Held
from sekft_engine.serve.prompts import Render, certified
from sekft_engine.serve.scheduler import Scheduler
from sekft_engine.serve.service import Service

#: Connections that the system holds until they are accepted.
_BACKLOG = 256
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of a server.

    Attributes:
        queue: most answers that wait for a row.
        body: most bytes of a request.
        drain: seconds that running answers have when the server is asked to end.
        head: seconds that a client has for the head of a request.
    """

    queue: int = 64
    body: int = 4 << 20
    drain: float = 60.0
    head: float = 60.0


class _Uvicorn(uvicorn.Server):
    """uvicorn, but a signal that ended it in good order does not end the process once more."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Let running answers end; the second time, end now."""
        self.force_exit = self.should_exit
        self.should_exit = True


class HttpServer:
    """Serves over HTTP what ``load`` loads.

    Args:
        load: loads the base and its adapters, on the thread that uses them.
        host, port: where it listens; port 0 = any that is free.
        key: that requests must show; empty = none, on loopback only.
        allowed: more names that it may be called by.
        limits: its bounds.
        on_ready: called once when the base is loaded, on the decoder's thread.
        render: makes prompts.
        scheduler: makes the answers; None = one with a thread of its own, which calls ``load``.

    Raises:
        BadInput: a key is needed.
        Unavailable: it cannot listen there.
    """

    def __init__(
        self,
        load: Callable[[], Held],
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        key: str = "",
        allowed: Sequence[str] = (),
        limits: Limits | None = None,
        on_ready: Callable[[Held], None] = lambda _held: None,
        render: Render = certified,
        scheduler: Scheduler | None = None,
    ) -> None:
        if not key and not is_loopback(host):
            raise BadInput(
                "others can reach this address, so a key is needed",
                where=f"--host {host}",
                mend="give one with --api-key-file, or in SEKFT_API_KEY",
            )
        limits = limits or Limits()
        self._on_ready = on_ready
        self._socket = _bound(host, port)
        self.scheduler = scheduler or Scheduler(load, queue=limits.queue, on_state=self._loaded)
        service = Service(self.scheduler, render)
        app = make_app(service, host=host, allowed=allowed, key=key, largest=limits.body)
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=protocol(limits.head),
            ws="none",
            lifespan="off",
            log_config=None,
            backlog=_BACKLOG,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=max(1, round(limits.drain)),
        )
        self._uvicorn = _Uvicorn(config)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}"

    def run(self) -> None:
        """Serve until a signal or :meth:`stop`.

        Raises:
            SekftError: what is to be served cannot be loaded.
        """
        self.scheduler.start()
        try:
            asyncio.run(self._serve())
        finally:
            self._socket.close()
            self.scheduler.close(timeout=30.0)
        if self.scheduler.error is not None:
            raise self.scheduler.error

    async def _serve(self) -> None:
        quiet_logs()
        asyncio.get_running_loop().set_exception_handler(SocketErrors())
        await self._uvicorn.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Accept nothing more, and end when the running answers are complete. Thread-safe."""
        self._uvicorn.should_exit = True

    def _loaded(self) -> None:
        held = self.scheduler.held
        if held is None:
            self.stop()
        else:
            self._on_ready(held)


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise BadInput("no such address", where=f"--host {host}") from error
    try:
        bound = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Unavailable(
                "another program listens there",
                where=f"{host}:{port}",
                mend="choose another --port; 0 takes any that is free",
            ) from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise BadInput("not an address of this machine", where=f"--host {host}") from error
        if error.errno == errno.EACCES:
            raise Unavailable(
                "no permission to listen there", where=f"{host}:{port}", mend="use a --port > 1023"
            ) from error
        raise BadInput(f"cannot listen: {error.strerror}", where=f"{host}:{port}") from error
    bound.setblocking(False)
    return bound
