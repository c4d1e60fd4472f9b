"""The engine on which a model types in a session: the living one of the workspace, or one of this
process."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.fit import Offer, offer
from sekft_engine.engine.attached.remote import RemoteEngine
from sekft_engine.engine.engine import Engine
from sekft_engine.records.jobs import HandBack
from sekft_engine.takeover.shell import Shell


class SessionEngine(NamedTuple):
    """An engine (one of this process is not started yet), the base that types, and a line about the
    living engine of the workspace."""

    engine: Engine | RemoteEngine
    base: str
    text: str


class ShellEngine(NamedTuple):
    """The same, with what is asked of it."""

    engine: Engine | RemoteEngine
    asked: Shell
    text: str


def engine_for(job: HandBack, workspace: Workspace | None, *, resident: bool) -> SessionEngine:
    """Find the engine for a session.

    Args:
        job: who types.
        workspace: whose living engine may do it.
        resident: whether it may.
    """
    found = offer(job, workspace) if resident else Offer(None)
    if found.engine is not None and isinstance(found.job, HandBack):
        base = found.job.base or str(getattr(found.engine.status().resident, "base", ""))
        return SessionEngine(found.engine, base, found.text)
    return SessionEngine(Engine(workspace, nice=0), job.base, found.text)


def engine_for_shell(asked: Shell, workspace: Workspace | None, *, resident: bool) -> ShellEngine:
    """Find the engine for a session that begins with a model."""
    job = HandBack(
        takeover="",
        base=asked.base,
        adapter=asked.adapter,
        load_4bit=asked.load_4bit,
        device=asked.device,
        endpoint=asked.endpoint,
    )
    engine, base, text = engine_for(job, workspace, resident=resident)
    return ShellEngine(engine, msgspec.structs.replace(asked, base=base), text)
