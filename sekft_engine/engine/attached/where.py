"""Where an engine is: the one of a workspace, or the one behind a socket."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from sekft_engine.core.errors import Unavailable
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.socket.address import LONGEST_PATH, is_locked, read_pointer
from sekft_engine.engine.socket.client import PATIENCE_S, Client, connect
from sekft_engine.engine.socket.protocol import Greeting


class Where:
    """Finds an engine again and again, also one that was started since.

    Args:
        workspace: the engine's, or this machine's copy of it.
        path: a socket that leads to the engine in place of the one in the workspace's pointer: that
            of another machine, forwarded here.

    Attributes:
        is_away: the engine is not that of the folder ``workspace`` on this machine: its files are
            elsewhere, and whether it lives is not known when its socket does not answer. Known
            from the first connection on.
    """

    def __init__(self, workspace: Workspace, path: Path | None = None) -> None:
        self.workspace = workspace
        self.path = path
        self.is_away = path is not None

    def connect(self, timeout: float | None = PATIENCE_S) -> Client:
        """A connection to it.

        Raises:
            Unavailable: there is none, or it does not answer.
        """
        if self.path is None:
            return connect(self.workspace, timeout)
        client = behind(self.path, timeout)
        self.is_away = not _is_of(self.workspace, client.greeting)
        return client

    @property
    def socket_path(self) -> str:
        """The socket that leads to it; "" = there is none."""
        if self.path is not None:
            return str(self.path)
        pointer = read_pointer(self.workspace)
        return pointer.socket if pointer is not None else ""

    def is_there(self) -> bool:
        """Whether there is an engine, even if it does not answer. One that is away may always be
        there."""
        return self.is_away or is_locked(self.workspace)


def behind(path: Path, timeout: float | None = PATIENCE_S) -> Client:
    """A connection to the engine behind a socket, such as one that ``ssh -L`` made.

    Raises:
        Unavailable: none answers there; says whether the line or the engine is missing.
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise Unavailable(
            f"a socket's path has at most {LONGEST_PATH} bytes",
            where=str(path),
            mend="forward it to a shorter path",
        )
    if not path.exists():
        raise Unavailable("no such socket", where=str(path), mend=_FORWARD)
    try:
        return Client(str(path), timeout)
    except Unavailable as error:
        if error.mend and not error.mend.startswith("sekft resident list"):
            raise
        raise Unavailable(error.what, where=str(path), mend=_BEHIND) from error


_FORWARD = "is the line up? ssh -N -L HERE.sock:THERE.sock HOST"
_BEHIND = "is the line up (ssh -N -L), and does the engine live (sekft resident list, on its host)?"


def _is_of(workspace: Workspace, greeting: Greeting) -> bool:
    """Whether the engine is the one that the folder's pointer names, on this machine."""
    pointer = read_pointer(workspace)
    return (
        pointer is not None
        and pointer.mark.host == platform.node()
        and (pointer.pid, pointer.started) == (greeting.pid, greeting.started)
    )
