"""An engine whose process is stopped or hangs, in words, with the way out."""

from __future__ import annotations

from sekft_engine.core.errors import Unavailable
from sekft_engine.engine.socket.protocol import EngineStatus


def silence(status: EngineStatus, pid: int, *, away: bool = False) -> Unavailable | None:
    """Why the engine does nothing although its socket answers; None = it gives signs of life.

    Args:
        status: what its socket says.
        pid: its process.
        away: that is on another machine.
    """
    there = " on its machine" if away else ""
    if status.stopped:
        return Unavailable(
            "the engine's process is stopped, by SIGSTOP or a debugger",
            where=f"pid {pid}",
            mend=f"kill -CONT {pid}{there} lets it go on",
        )
    if status.silent:
        return Unavailable(
            f"the engine has given no sign of life for {status.silent:.0f} s",
            where=f"pid {pid}",
            mend=f"wait, or kill -9 {pid}{there}: what is on disk stays, and sekft queue run "
            "does what is left",
        )
    return None
