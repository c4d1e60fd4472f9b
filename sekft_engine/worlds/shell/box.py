"""The interface between a world and its sandbox, which each backend implements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from sekft_engine.worlds.shell.limits import Limits
from sekft_engine.worlds.trees.layout import WorldLayout
from sekft_engine.worlds.trees.listing import TreeListing
from sekft_engine.worlds.trees.userland import Userland

#: The exit status of a checker that was killed because it used too much.
KILLED = 137


def over_limit(output: bytes, reason: str) -> tuple[int, bytes]:
    """The result of :meth:`Box.check` for a checker that was killed for ``reason``."""
    return KILLED, output + f"\nthe checker was killed: {reason}\n".encode()


class BoxSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend makes a box from.

    Attributes:
        layout: the files of the world.
        checker: the checker's script; a session cannot read it.
        userland: the programs of the world.
        limits: what the world may use.
        nonce: identifies this world's prompts; its shell knows it.
        seal: identifies the sandbox's own reports; nothing inside knows it.
    """

    layout: WorldLayout
    checker: str
    userland: Userland
    limits: Limits
    nonce: str
    seal: str


class SessionTerminal(Protocol):
    """The outer side of a session's terminal.

    All methods raise :class:`~sekft_engine.worlds.shell.world.WorldBroken` when the sandbox itself
    has died.
    """

    ended_status: int | None

    def listen(self, seconds: float) -> bytes:
        """Read for at most ``seconds``; returns at the first bytes, or when the session ends."""
        ...

    def write(self, data: bytes) -> None: ...

    def kill_foreground(self) -> bool:
        """Send SIGKILL to the foreground process group; False where that is the shell's own."""
        ...

    def restore(self) -> None:
        """Restore the terminal's settings of the start, and discard input that was not read."""
        ...


class Box(Protocol):
    """A sandbox with the world's files: at most one session, then the checker."""

    @property
    def killed(self) -> Sequence[str]:
        """Why the session was killed from outside its terminal: ``memory``, ``files``."""
        ...

    def start_session(self) -> SessionTerminal: ...

    def watch(self) -> None:
        """Begin to watch the session's totals, after its login."""
        ...

    def kill_session(self) -> None:
        """End every process of the session; the terminal then reports the end."""
        ...

    def check(self, seconds: float) -> tuple[int | None, bytes]:
        """Run the checker in a fresh process, on the state that the session left.

        Its totals are watched too, since it may run programs of the session.

        Returns:
            Its exit status and the end of its output. The status is None where it ran out of time,
            and KILLED where it used too much.
        """
        ...

    def listing(self, seconds: float) -> TreeListing | None:
        """The files of the world, after :meth:`check`; None where they cannot be listed."""
        ...

    def close(self) -> None:
        """End every process and remove every mount, file and descriptor; may be called again."""
        ...


class BoxMaker(Protocol):
    """A backend, which makes boxes."""

    name: str
    version: str

    def open(self, order: BoxSpec) -> Box:
        """Make a box.

        Raises:
            Unavailable: the sandbox is not there.
            WorldBroken: it started and failed.
            BadInput: it cannot hold the bundle.
        """
        ...

    def try_bare(self) -> None:
        """Start an empty sandbox, which needs no userland.

        Raises:
            Unavailable: it does not start.
        """
        ...

    def holds(self) -> dict[str, str]:
        """How a world's totals are bounded: kind of limit -> the means."""
        ...
