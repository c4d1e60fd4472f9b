"""The engine on which a model types in ``sekft shell``: the living one of the workspace, or one of
this process."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.fit import Offer, offer
from sekft_engine.engine.attached.remote import RemoteEngine
from sekft_engine.engine.engine import Engine
from sekft_engine.records import jobs
from sekft_engine.takeover.shell import Shell


class ShellEngine(NamedTuple):
    """An engine, what is asked of it, and a line about the living one of the workspace."""

    engine: Engine | RemoteEngine
    asked: Shell
    text: str


def engine_for(asked: Shell, workspace: Workspace | None, *, resident: bool = True) -> ShellEngine:
    """Find the engine for a session.

    Args:
        asked: who lands where.
        workspace: whose living engine may do it.
        resident: whether it may.

    Returns:
        The engine; one of this process is not started yet.
    """
    job = jobs.HandBack(
        takeover="",
        base=asked.base,
        adapter=asked.adapter,
        load_4bit=asked.load_4bit,
        device=asked.device,
        endpoint=asked.endpoint,
    )
    found = offer(job, workspace) if resident else Offer(None)
    if found.engine is not None and isinstance(found.job, jobs.HandBack):
        asked = msgspec.structs.replace(asked, base=found.job.base or _held(found.engine))
        return ShellEngine(found.engine, asked, found.text)
    return ShellEngine(Engine(workspace, nice=0), asked, found.text)


def _held(engine: RemoteEngine) -> str:
    """The base that the engine has; empty = none."""
    return str(getattr(engine.status().resident, "base", ""))
