"""The workbench on an engine of another process: which one, how it stands, and changing it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from sekft_engine.core.errors import BadInput, SekftError, Unavailable
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.fit import Held, fitted, held_base
from sekft_engine.engine.attached.handover import hand_over, refusal, resident_options
from sekft_engine.engine.attached.remote import RemoteEngine
from sekft_engine.engine.attached.where import Where
from sekft_engine.engine.engine import JOURNAL, Engine
from sekft_engine.engine.socket.address import is_locked, read_pointer
from sekft_engine.engine.socket.client import Client
from sekft_engine.engine.socket.detach import start_detached
from sekft_engine.engine.socket.protocol import EngineStatus
from sekft_engine.records import jobs
from sekft_engine.records.events import QueueChanged
from sekft_tui.model.endings import release_of
from sekft_tui.process.bridge import Bridge, EngineLike, loaded_by


class Chosen(NamedTuple):
    """The engine of a workbench, the base it holds ('' = none), and a line about the choice;
    ``own`` = it is to have one of its own, whatever else is alive in the workspace."""

    engine: EngineLike
    base: str = ""
    remark: str = ""
    own: bool = False


def choose_engine(
    place: Workspace, *, base: str = "", attach: str | None = None, resident: bool = True
) -> Chosen:
    """The living engine of the workspace, else one of this process. It is not started yet.

    Args:
        place: the workspace.
        base: the base that was named; "" = none was.
        attach: only a living engine will do: that of the workspace, where it is "", or the one
            behind this socket.
        resident: whether a living engine may be used.

    Raises:
        BadInput: the engine to attach to holds another base than the one that was named.
        Unavailable: there is no engine to attach to.
    """
    where = Where(place, Path(attach) if attach else None)
    if attach is None and not (resident and where.is_there()):
        return Chosen(Engine(place), own=not resident)
    try:
        engine = RemoteEngine(where, history=True)
        with where.connect() as client:
            held = _held_base(client)
    except SekftError as error:
        if attach is not None:
            raise
        return Chosen(Engine(place), remark=f"the engine of this workspace: {error.what}")
    if base:
        why = fitted(jobs.Train(base=base), place, held)[1]
        if why and attach is not None:
            raise BadInput(
                f"the engine {why}", where="--base", mend="leave it out, or use --no-resident"
            )
        if why:
            return Chosen(Engine(place), remark=f"an engine of its own: the living one {why}")
    named = held.base if held is not None else ""
    return Chosen(engine, named if Path(named).exists() else "")


def engine_beside(place: Workspace) -> int:
    """The process of the workspace's engine in the background; 0 = there is none, or it has no
    sockets yet. Quick enough for a key."""
    pointer = read_pointer(place)
    return pointer.pid if pointer is not None and is_locked(place) else 0


def is_idle(engine: EngineLike) -> bool:
    """Whether the engine does nothing and is about to do nothing; jobs may be held."""
    status = engine.status()
    return status.running is None and all(job.held for job in status.queued)


def _held_base(client: Client) -> Held | None:
    """The base that the engine has, or is about to load."""
    status = msgspec.convert(client.call("status"), EngineStatus)
    queue = msgspec.convert({"job": "", **client.call("queue")}, QueueChanged)
    return held_base(status.resident, queue.running, queue.waiting)


def header(remote: RemoteEngine | None, doing: tuple[str, str]) -> tuple[str, str]:
    """What the engine does, or how the connection to it stands, and the style of that."""
    if remote is None:
        return doing
    match remote.state:
        case "reading":
            at, last = remote.position
            return f"⇄ reading {at}/{last}", "quiet"
        case "silent":
            return "⇄ engine silent", "bad"
        case "lost":
            return "⇄ engine sought", "warn"
        case "ended":
            return "✗ engine ended", "bad"
    return f"⇄ {doing[0]}", doing[1]


def about(remote: RemoteEngine) -> str:
    """One line that says which engine this is, since when, and what it has to do."""
    said, status = remote.greeting, remote.status()
    since = time.strftime("%d %b %H:%M", time.localtime(said.started))
    held = sum(job.held for job in status.queued)
    waiting = len(status.queued) - held
    if remote.where.is_away:
        return f"on an engine elsewhere (process {said.pid}): its files are not here; I says more"
    parts = [f"on this workspace's engine, process {said.pid}, since {since}"]
    parts += [f"{waiting} waiting"] if waiting else []
    parts += [f"{held} held ({release_of(held)})"] if held else []
    return ", ".join(parts)


def start_again(remote: RemoteEngine) -> None:
    """Start an engine in the background in place of the one that has ended; ``remote`` finds it.

    Raises:
        SekftError: it did not start, with the reason.
    """
    place, facts = remote.where.workspace, loaded_by(remote)
    if remote.where.is_away:
        raise Unavailable("the engine is behind a socket", mend="start it on its own machine")
    if remote.where.is_there():
        return  # someone else has
    start_detached(place, resident_options(facts))


def end(engine: EngineLike) -> None:
    """End an engine of this process that has nothing to do, and free its base."""
    if engine.close() and isinstance(engine, Engine):
        engine.residence.drop()


def has_files_here(bridge: Bridge) -> bool:
    """Whether the engine reads what this workbench shows; that of a line may be elsewhere."""
    return bridge.remote is None or not bridge.remote.where.is_away


def take_up(engine: EngineLike) -> None:
    """Offer what the workspace's last engine had yet to do, if that one held the queue when this
    one began, and has ended since."""
    if not isinstance(engine, Engine) or engine.has_journal or engine.ended:
        return
    if engine.workspace is not None and (engine.workspace.root / JOURNAL).exists():
        engine.open_journal()


def cannot_move_out(engine: EngineLike) -> SekftError | None:
    """Why :func:`move_out` would fail, and the way on; None = nothing is known that speaks against
    it."""
    return refusal(engine) if isinstance(engine, Engine) else None


def move_out(engine: EngineLike) -> RemoteEngine:
    """Hand over from an engine of this process to one in the background.

    Raises:
        SekftError: it cannot be done, with the reason.
    """
    if not isinstance(engine, Engine):
        raise Unavailable("this engine is not of this process")
    return hand_over(engine)
