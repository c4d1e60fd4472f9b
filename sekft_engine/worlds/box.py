"""The seam between a world and the sandbox that holds it: a small protocol, one per backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from sekft_engine.worlds.layout import Layout
from sekft_engine.worlds.limits import Limits
from sekft_engine.worlds.listing import Listing
from sekft_engine.worlds.userland import Userland

#: The status of a checker that was killed for what it used.
KILLED = 137


def overdone(heard: bytes, reason: str) -> tuple[int, bytes]:
    """What :meth:`Box.check` returns of a checker that was killed for ``reason``."""
    return KILLED, heard + f"\nthe checker was killed: {reason}\n".encode()


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend makes a box from.

    Attributes:
        nonce: makes this world's prompts recognisable; its shell knows it.
        seal: makes the sandbox's own reports recognisable; nothing inside ever knows it.
        checker: kept out of everything that a session can read.
    """

    layout: Layout
    checker: str
    userland: Userland
    limits: Limits
    nonce: str
    seal: str


class Terminal(Protocol):
    """The session's terminal, seen from outside. All methods raise
    :class:`~sekft_engine.worlds.world.WorldBroken` when the sandbox itself is gone."""

    ended_status: int | None

    def listen(self, seconds: float) -> bytes:
        """What came within ``seconds``; returns at the first bytes, or when the session ended."""
        ...

    def write(self, data: bytes) -> None: ...

    def kill_foreground(self) -> bool:
        """SIGKILL to what runs in the foreground; False when that is the shell itself."""
        ...

    def restore(self) -> None:
        """Put the terminal's settings back to what they were at the start, and drop what was typed
        and not read."""
        ...


class Box(Protocol):
    """One sandbox: the world's files, at most one session on them, then the checker."""

    @property
    def killed(self) -> Sequence[str]:
        """Why the session was killed from outside its terminal: ``memory``, ``files``."""
        ...

    def start_session(self) -> Terminal: ...

    def watch(self) -> None:
        """The session has logged in: from now on its totals are watched."""
        ...

    def kill_session(self) -> None:
        """End every process of the session; the terminal then reports the end."""
        ...

    def check(self, seconds: float) -> tuple[int | None, bytes]:
        """Run the checker in a fresh process on what the ended session left, its totals watched:
        it may run what the session left.

        Returns:
            Its exit status (None = it ran out of time; KILLED = also where it used too much) and
            what it printed, end kept.
        """
        ...

    def listing(self, seconds: float) -> Listing | None:
        """What stands in the world's trees, after :meth:`check`; None where it cannot be told."""
        ...

    def close(self) -> None:
        """Leave no process, mount, file or descriptor; may be called again."""
        ...


class Maker(Protocol):
    """A backend: makes boxes."""

    name: str
    version: str

    def open(self, order: Order) -> Box:
        """Raises Unavailable (not here) or WorldBroken (started and failed)."""
        ...

    def try_bare(self) -> None:
        """Raises Unavailable where not even an empty sandbox starts; no userland is needed."""
        ...

    def holds(self) -> dict[str, str]:
        """What bounds a world's totals here: kind of limit -> by what means."""
        ...
