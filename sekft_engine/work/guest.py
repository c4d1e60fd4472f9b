"""What uses the resident base between jobs, and between their steps: a server."""

from __future__ import annotations

from typing import Protocol

from sekft_engine.work.residence import Residence

#: What the names of adapters that a server has put on the base begin with.
SERVED = "serve:"


class Guest(Protocol):
    """Someone who is on the base for longer than a job.

    The base is used on the engine's thread only, in :meth:`work` and :meth:`leave`.
    """

    #: The job that the engine does, which the guest may have to wait for; empty = none.
    busy_with: str

    @property
    def address(self) -> str:
        """Where it can be reached."""

    @property
    def why(self) -> str:
        """Why it had to end; empty = it was asked to, or has not."""

    @property
    def wants(self) -> bool:
        """Whether there is something to do for it. Thread-safe."""

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it, so that it can leave. Thread-safe."""

    def work(self, residence: Residence, seconds: float) -> None:
        """Use the base for at most so many seconds."""

    def stop(self, why: str) -> None:
        """Begin to end. Thread-safe, and waits for nothing."""

    def leave(self, residence: Residence) -> None:
        """Leave the base as it was before."""
