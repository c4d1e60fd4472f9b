"""World, CommandResult, CheckResult: the interface between episodes and sandboxes."""

from __future__ import annotations

from typing import Literal, Protocol, Self

import msgspec

from sekft_engine.core.errors import SekftError
from sekft_engine.worlds.trees.listing import TreeListing
from sekft_engine.worlds.trees.userland import Userland

#: The note of a command that the shell found unfinished, so that it was interrupted.
UNFINISHED = "unfinished command"
Ended = Literal["", "exit", "panic", "died"]


class WorldBroken(SekftError):
    """The sandbox itself failed: the episode is invalid, and it is no failure of the operator."""

    exit_status = 1


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a command turn.

    Attributes:
        command: as typed.
        output: what the terminal showed, decoded with replacement, its middle cut where too long.
        status: exit status; None where the shell gave none (an unfinished command).
        cwd: the working folder afterwards, absolute.
        seconds: wall-clock time from the first key to the prompt.
        ended: how the session ended with this command; empty while it continues.
        notes: what the driver had to do, such as ``timeout`` or ``killed: memory``.
    """

    command: str
    output: str = ""
    status: int | None = None
    cwd: str = "/home/user"
    seconds: float = 0.0
    ended: Ended = ""
    notes: tuple[str, ...] = ()


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the checker: its exit status, where 0 is a pass, and its output."""

    passed: bool
    status: int
    output: str = ""


class World(Protocol):
    """A sandbox made from a bundle, with one shell session in it.

    ``backend`` names the sandbox, ``userland`` its programs; scores depend on both.
    """

    @property
    def backend(self) -> str: ...

    @property
    def userland(self) -> Userland: ...

    @property
    def login(self) -> str:
        """The first environment turn: the output at login, then the prompt."""
        ...

    def run(self, command: str) -> CommandResult:
        """Type a command, line by line, and wait for the prompt or the session's end.

        Raises:
            WorldBroken: the sandbox failed.
        """
        ...

    def interrupt(self) -> None:
        """Interrupt the command that runs now, as a time-out would; from any thread."""
        ...

    def environment_turn(self, result: CommandResult) -> str:
        """The environment turn that answers ``result``'s command."""
        ...

    def check(self) -> CheckResult:
        """End the session, then run the checker in a fresh sandboxed process.

        Raises:
            WorldBroken: the sandbox failed.
        """
        ...

    def listing(self) -> TreeListing | None:
        """The files of the world after :meth:`check`; None where they cannot be listed."""
        ...

    def close(self) -> None:
        """End all processes and mounts; may be called again."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
