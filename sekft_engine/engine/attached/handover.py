"""From an engine in this process to one in the background, in the middle of its work."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from sekft_engine.core.errors import SekftError, Unavailable
from sekft_engine.core.locks import holder
from sekft_engine.data.workspace import Workspace, naming
from sekft_engine.engine.attached.remote import RemoteEngine, is_carried, lasts
from sekft_engine.engine.attached.where import Where
from sekft_engine.engine.engine import JOURNAL, Engine
from sekft_engine.engine.queue import last_queue
from sekft_engine.engine.socket.address import is_locked, read_pointer
from sekft_engine.engine.socket.detach import start_detached
from sekft_engine.records.events import Queued
from sekft_engine.records.journal import is_being_written
from sekft_engine.records.results import LoadResult

#: How long the running step may take, and its saving.
PATIENCE_S = 600.0
#: How long the other engine may take to say what it offers again, once its socket answers.
_OFFER_S = 5.0


def resident_options(facts: LoadResult | None) -> list[str]:
    """Options of ``sekft resident`` for a base that is held as this one."""
    if facts is None or not facts.base:
        return []
    precision = "--load-4bit" if facts.quantised else "--no-load-4bit"
    return ["--base", facts.base, "--device", facts.device or "auto", precision]


def refusal(engine: Engine) -> Unavailable | None:
    """Why ``engine`` cannot be handed over, and the way on; None = it can."""
    place = engine.workspace
    if place is None:
        return Unavailable("an engine in the background needs a workspace")
    name = naming(place.root)
    if is_locked(place):
        pointer = read_pointer(place)
        process = f" (process {pointer.pid})" if pointer is not None else ""
        return Unavailable(
            f"this workspace has an engine in the background already{process}",
            mend=f"stop what runs here and resume it there (sekft tui{name}), or end that one "
            f"first (sekft resident stop{name})",
        )
    if not os.access(place.root, os.W_OK):
        return Unavailable("the workspace cannot be written", where=str(place.root))
    journal = place.root / JOURNAL
    if not engine.has_journal and is_being_written(journal):
        pid = holder(journal)
        return Unavailable(
            f"{f'process {pid}' if pid else 'another process'} has the queue of this workspace, "
            "as a second workbench or a command at work does",
            mend="wait until that one has ended, or leave it",
        )
    return None


def hand_over(engine: Engine, patience: float = PATIENCE_S) -> RemoteEngine:
    """End ``engine`` and start one in the background, which does what this one had yet to do.

    The running job ends its step and saves, and is resumed there. Jobs that were held stay so. What
    no engine offers again, such as making a demo, is given to the other one anew.

    Args:
        engine: has a workspace; it has ended afterwards, also where this fails.
        patience: how many seconds the running step may take.

    Returns:
        The other engine, not started yet, with its whole history.

    Raises:
        Unavailable: it cannot be done here, and nothing was changed.
        SekftError: the engine in the background did not start.
    """
    refused = refusal(engine)
    place = engine.workspace
    if refused is not None or place is None:
        raise refused or Unavailable("it has no workspace")
    if not engine.open_journal():
        raise Unavailable("the queue cannot be written down", where=str(place.root / JOURNAL))
    facts = engine.residence.facts
    if not engine.close(timeout=patience):
        raise Unavailable("the running step has not ended yet", mend="try again, or wait")
    engine.residence.drop()  # there need not be memory for two
    left = last_queue(place.root / JOURNAL)  # the other engine writes there, too
    start_detached(place, resident_options(facts))
    remote = RemoteEngine(Where(place), history=True)
    if left is not None:
        begun = [left.running] if left.running is not None else []
        give(place, [*begun, *(job for job in left.waiting if not job.held)])
    return remote


def give(place: Workspace, left: list[Queued]) -> None:
    """Let the engine do what is left, in this order: release what it offers, and submit what it is
    not offered."""
    until = time.monotonic() + _OFFER_S
    job_ids = {job.id for job in left if lasts(job.kind)}
    with Where(place).connect(60.0) as client:
        while True:
            waiting = client.call("queue")["waiting"]
            offered = {entry["id"] for entry in waiting if entry["held"]}
            if offered.issuperset(job_ids) or time.monotonic() > until:
                break
            time.sleep(0.05)
        for job in left:
            with suppress(SekftError):  # someone else was quicker
                if job.id in offered:
                    client.call("resume", job=job.id)
                elif is_carried(job.kind):
                    client.call("submit", job=job.spec | {"id": ""})
