"""The resident process: an engine that takes jobs as lines and, in a workspace, on its socket."""

from __future__ import annotations

from collections.abc import Callable

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.server import Leave, new_resident, serve_lines, stop_on_signals
from sekft_engine.engine.socket.address import Address, Claim
from sekft_engine.engine.socket.back import Back
from sekft_engine.engine.socket.orders import Orders
from sekft_engine.records import jobs

#: How many seconds the running step has for its end where nobody waits at a terminal.
PATIENCE_S = 3600.0


def serve(
    claim: Claim,
    *,
    source: int | None,
    write: Callable[[bytes], None] | None,
    first: jobs.Job | None = None,
    bound: Callable[[Address], None] = lambda _: None,
    log: str = "",
) -> int:
    """Be the engine of a workspace until the end of the input, a signal, or ``shutdown``.

    Args:
        claim: the workspace; released at the end.
        source: a descriptor with jobs as JSON lines; None = jobs come over the socket only.
        write: takes the events as JSON lines; None = nobody does.
        first: a job that is done before all others; without it there is no use in them.
        bound: called once the sockets answer.
        log: the file that the process writes messages to, for the pointer.

    Returns:
        An exit status.

    Raises:
        SekftError: ``first`` failed, or there is no place for sockets.
    """
    leave = Leave()
    forget_signals = stop_on_signals(leave, hangup=source is not None)
    try:
        engine = new_resident(claim.workspace)
        back = Back(claim, lambda: engine.residence.facts, engine.board, log)
        orders = Orders(
            engine,
            lambda: leave.asked or leave.drain,
            lambda queue: leave.ask("a client shut it down", drain=queue),
        )
        leave.tell = back.tell_closing
        engine.observe(back.observe)
        try:
            engine.open_journal()
            engine.start()

            def open_sockets() -> None:
                back.start(orders.do)
                bound(back.address)

            patience = PATIENCE_S if source is None else 60.0
            return serve_lines(
                source, write, engine, first, leave=leave, patience=patience, begun=open_sockets
            )
        finally:
            back.close(leave.why)
    finally:
        claim.release()
        forget_signals()


def serve_without_socket(
    workspace: Workspace | None,
    *,
    source: int,
    write: Callable[[bytes], None],
    first: jobs.Job | None = None,
) -> int:
    """The same without a place for a pointer: jobs and events as lines only."""
    return serve_lines(source, write, new_resident(workspace).start(), first)
