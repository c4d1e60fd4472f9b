"""A small client that waits for its answers, for commands and tests."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from sekft_engine.core.documents import NOT_JSON
from sekft_engine.core.errors import JobFailed, SekftError, Unavailable
from sekft_engine.core.process import is_stopped
from sekft_engine.data.workspace import Workspace, naming
from sekft_engine.engine.socket.address import Address, is_locked, peer_uid, read_pointer
from sekft_engine.engine.socket.lines import request_line
from sekft_engine.engine.socket.protocol import PROTOCOL, Fault, Greeting

#: How long an engine may take for its greeting before it counts as dead, in seconds.
PATIENCE_S = 5.0
#: The longest line that is taken from whoever answers, in bytes. An event has some kilobytes.
LONGEST_SAID = 1 << 25
NO_ENGINE = "no engine is at work here"


class RequestFailed(JobFailed):
    """The engine answered with an error, which has a number of JSON-RPC."""

    def __init__(self, code: int, fault: Fault) -> None:
        super().__init__(fault.what, where=fault.where or None, mend=fault.mend or None)
        self.code = code


class Silent(Unavailable):
    """Nothing was said for as long as is waited; the connection stands."""


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str
    data: Fault | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the server: a notification, or the answer to the request ``id``."""

    id: int | str | None = None
    method: str = ""
    params: dict[str, Any] = {}
    result: Any = None
    error: _Error | None = None


class Client:
    """A connection to an engine.

    Args:
        path: the socket's.
        timeout: how long it may be silent while something is waited for, in seconds.

    Raises:
        Unavailable: nobody answers there, it is another user's, or speaks another protocol.
    """

    def __init__(self, path: str, timeout: float | None = PATIENCE_S) -> None:
        self.path = path
        self._peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._peer.settimeout(timeout)
        self._held = bytearray()
        self._early: deque[Message] = deque()
        self._numbers = itertools.count(1)
        try:
            self._peer.connect(path)
            if peer_uid(self._peer) != os.geteuid():
                raise Unavailable("another user's process answers there", where=path)
            self.greeting = self._greeting(path)
        except OSError as error:
            self.close()
            why = error.strerror or str(error)
            raise Unavailable(
                f"no engine answers: {why}",
                where=path,
                mend="sekft resident list shows those alive",
            ) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; also from another thread, which may be waiting in it."""
        with contextlib.suppress(OSError):
            self._peer.shutdown(socket.SHUT_RDWR)
        self._peer.close()

    def wait_at_most(self, seconds: float | None) -> None:
        """How long it may be silent from here on, where something is waited for; None = for
        ever."""
        self._peer.settimeout(seconds)

    def call(self, method: str, **params: object) -> Any:
        """The result of a method.

        Raises:
            RequestFailed: it was refused, or failed.
            Unavailable: the engine left.
        """
        number = next(self._numbers)
        self.send(request_line(number, method, params))
        waiting: list[Message] = []
        try:
            while True:
                message = self._next()
                if message.id == number and not message.method:
                    if message.error is not None:
                        fault = message.error.data or Fault(what=message.error.message)
                        raise RequestFailed(message.error.code, fault)
                    return message.result
                waiting.append(message)
        finally:
            self._early.extend(waiting)

    def notifications(self) -> Iterator[Message]:
        """What the engine says, until it leaves."""
        with contextlib.suppress(Unavailable):
            while True:
                yield self._early.popleft() if self._early else self._next()

    def send(self, data: bytes) -> None:
        """Send bytes as they are.

        Raises:
            Unavailable: the engine left.
        """
        try:
            self._peer.sendall(data)
        except TimeoutError as error:
            raise _silent(self._peer.gettimeout() or 0.0, self.path) from error
        except OSError as error:
            raise Unavailable(f"the engine left: {error.strerror or error}") from error

    def _greeting(self, path: str) -> Greeting:
        message = self._next()
        if message.error is not None:
            raise Unavailable(message.error.message, where=path)
        try:
            greeting = msgspec.convert(message.params, Greeting, strict=False)
        except msgspec.ValidationError as error:
            raise Unavailable(f"no engine answers: {error}", where=path) from error
        if greeting.protocol != PROTOCOL:
            raise Unavailable(
                f"the engine speaks protocol {greeting.protocol}, and this sekft {PROTOCOL}",
                where=path,
                mend="use the version of sekft that the engine has",
            )
        return greeting

    def next_line(self) -> bytes:
        """What the engine says next, as it stands, without the line's end. Answers that
        :meth:`call` has passed over are not among it.

        Raises:
            Silent: it said nothing for as long as is waited. What has come of a line is kept.
            Unavailable: the engine left.
        """
        start = 0
        while (end := self._held.find(b"\n", start)) < 0:
            start = len(self._held)
            try:
                data = self._peer.recv(1 << 16)
            except TimeoutError as error:
                raise _silent(self._peer.gettimeout() or 0.0, self.path) from error
            except OSError as error:
                raise Unavailable(
                    f"the engine left: {error.strerror or error}", where=self.path
                ) from error
            if not data:
                raise Unavailable("the engine left", where=self.path)
            self._held += data
            if len(self._held) > LONGEST_SAID and b"\n" not in data:
                raise Unavailable(
                    f"no engine answers: a line of more than {LONGEST_SAID >> 20} MiB",
                    where=self.path,
                )
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        return line

    def _next(self) -> Message:
        try:
            return msgspec.json.decode(self.next_line(), type=Message)
        except NOT_JSON as error:
            raise Unavailable(f"no engine answers: {error}") from error


def _silent(timeout: float, path: str) -> Silent:
    return Silent(
        f"the engine has not answered for {timeout:.0f} s",
        where=path,
        mend="its process may be stopped, or the machine overloaded",
    )


def live_engine(workspace: Workspace) -> Address | None:
    """The engine of a workspace, if it is alive: its lock is held, and its socket answers."""
    address = read_pointer(workspace)
    if address is None or not is_locked(workspace):
        return None
    try:
        with Client(address.socket):
            return address
    except SekftError:
        return None


def connect(workspace: Workspace, timeout: float | None = PATIENCE_S) -> Client:
    """A connection to the engine of a workspace.

    Raises:
        Unavailable: there is none, or it does not answer.
    """
    where, start = str(workspace.root), f"sekft resident --detach{naming(workspace.root)}"
    locked = is_locked(workspace)
    address = read_pointer(workspace)
    if not locked:
        raise Unavailable(NO_ENGINE, where=where, mend=start)
    if address is None:
        raise Unavailable("an engine is starting or ending here", where=where, mend="try again")
    try:
        return Client(address.socket, timeout)
    except Silent as error:
        if not is_stopped(address.pid):
            raise
        raise Unavailable(
            f"{error.what}: its process is stopped, by SIGSTOP or a debugger",
            where=f"pid {address.pid}",
            mend=f"kill -CONT {address.pid} lets it go on",
        ) from error


def wait_until_gone(workspace: Workspace, timeout: float) -> bool:
    """Whether the workspace's engine was gone within so many seconds."""
    until = time.monotonic() + timeout
    while is_locked(workspace):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
