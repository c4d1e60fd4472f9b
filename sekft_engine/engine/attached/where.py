"""Where an engine is: the one of a workspace, or the one behind a socket."""

from __future__ import annotations

from pathlib import Path

from sekft_engine.core.errors import Unavailable
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.socket.address import is_locked
from sekft_engine.engine.socket.client import PATIENCE_S, Client, connect


class Where:
    """Finds an engine again and again, also one that was started since.

    Args:
        workspace: the engine's.
        path: a socket that leads to it in place of the one in the workspace's pointer: that of
            another machine, forwarded here.
    """

    def __init__(self, workspace: Workspace, path: Path | None = None) -> None:
        self.workspace = workspace
        self.path = path

    def connect(self, timeout: float | None = PATIENCE_S) -> Client:
        """A connection to it.

        Raises:
            Unavailable: there is none, or it does not answer.
        """
        if self.path is not None:
            return Client(str(self.path), timeout)
        return connect(self.workspace, timeout)

    def is_there(self) -> bool:
        """Whether there is an engine, even if it does not answer."""
        if self.path is not None:
            return self.path.exists()
        return is_locked(self.workspace)

    def find(self) -> Client | None:
        """A connection to it; None = no engine answers."""
        if not self.is_there():
            return None
        try:
            return self.connect()
        except Unavailable:
            return None
