"""World, CommandResult, CheckResult: the seam between operators and sandboxes."""

from __future__ import annotations

from typing import Literal, Protocol, Self

import msgspec

from sekft_engine.errors import SekftError
from sekft_engine.worlds.listing import Listing
from sekft_engine.worlds.userland import Userland

Ended = Literal["", "exit", "panic", "died"]


class WorldBroken(SekftError):
    """The sandbox itself failed: the episode is invalid, never a failure of the operator."""

    exit_status = 1


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one command turn did.

    Attributes:
        command: as typed.
        output: decoded with replacement, otherwise exactly what the terminal showed.
        status: exit status, or None where the shell could not tell (an unfinished command).
        cwd: the working folder afterwards, absolute.
        seconds: wall-clock from the first key to the prompt.
        ended: how the session ended with this command, empty while it goes on.
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
    """The checker's verdict: its exit status, 0 = pass, and what it printed."""

    passed: bool
    status: int
    output: str = ""


class World(Protocol):
    """A sandbox made from a bundle, with one shell session in it.

    ``backend`` names the sandbox, ``userland`` what stands in it: a score is of both.
    """

    @property
    def backend(self) -> str: ...

    @property
    def userland(self) -> Userland: ...

    @property
    def login(self) -> str:
        """The first environment turn: what the world shows at login, then the prompt."""
        ...

    def run(self, command: str) -> CommandResult:
        """Type a command (several lines one by one) and wait for the prompt or the end."""
        ...

    def interrupt(self) -> None:
        """End the command that runs now, as a time-out would; from any thread."""
        ...

    def environment_turn(self, result: CommandResult) -> str:
        """The environment turn that answers ``result``'s command."""
        ...

    def check(self) -> CheckResult:
        """End the session, then judge the state it left in a fresh sandboxed process."""
        ...

    def listing(self) -> Listing | None:
        """What stands in the world's trees after :meth:`check`; None where it cannot be told."""
        ...

    def close(self) -> None:
        """End everything; may be called again, leaves no process and no mount."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
