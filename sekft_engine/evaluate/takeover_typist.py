"""Which process types a draft: two of them would write over each other."""

from __future__ import annotations

from sekft_engine.trajectory import Trajectory
from sekft_engine.worlds.engine_id import engine_id, gone, machine

#: Where a draft's ``meta.takeover`` names the process.
TYPIST = "typist"


def typed_elsewhere(draft: Trajectory) -> bool:
    """Whether another process of this machine types it, and lives."""
    told = draft.meta.get("takeover")
    who = str(told.get(TYPIST) or "") if isinstance(told, dict) else ""
    return who.startswith(f"{machine()}-") and who != engine_id() and not gone(who)
