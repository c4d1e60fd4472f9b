"""Worlds: sandboxes made from scenario bundles, with a real shell in them."""

from sekft_engine.worlds.opening import check_untouched, open_world
from sekft_engine.worlds.probing import Backend, probe
from sekft_engine.worlds.shell.limits import Limits
from sekft_engine.worlds.shell.world import (
    CheckResult,
    CommandResult,
    Ended,
    World,
    WorldBroken,
)

__all__ = [
    "Backend",
    "CheckResult",
    "CommandResult",
    "Ended",
    "Limits",
    "World",
    "WorldBroken",
    "check_untouched",
    "open_world",
    "probe",
]
