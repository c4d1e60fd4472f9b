"""Open a world on this machine's sandbox; without one there is a refusal, never a bare shell."""

from __future__ import annotations

from sekft_engine.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.errors import BadInput
from sekft_engine.scenario import Scenario
from sekft_engine.worlds.bubblewrap import BubblewrapWorld
from sekft_engine.worlds.launcher import find_bubblewrap
from sekft_engine.worlds.limits import Limits
from sekft_engine.worlds.world import CheckResult, World

#: ``auto`` takes the first that is there; the last two name one copy of bubblewrap.
SANDBOXES = ("auto", "bubblewrap", "bubblewrap-system", "bubblewrap-wheel")
_PREFER = {"bubblewrap-system": "system", "bubblewrap-wheel": "wheel"}


def _backend(sandbox: str) -> str:
    if sandbox not in SANDBOXES:
        raise BadInput(
            f"unknown sandbox {sandbox!r}", where="--sandbox", mend=f"use {', '.join(SANDBOXES)}"
        )
    return _PREFER.get(sandbox, "")


def open_world(
    scenario: Scenario,
    *,
    sandbox: str = "auto",
    dialect: Dialect = DEFAULT_DIALECT,
    limits: Limits | None = None,
) -> World:
    """Start ``scenario``'s world and wait for its first prompt.

    Raises:
        Unavailable: this machine has no sandbox; says what is missing and what mends it.
        WorldBroken: the sandbox started and failed.
        BadInput: the bundle holds paths that no world can hold, or ``sandbox`` is unknown.
    """
    bwrap = find_bubblewrap(_backend(sandbox))
    return BubblewrapWorld(scenario, dialect=dialect, limits=limits, bwrap=bwrap)


def check_untouched(
    scenario: Scenario, *, sandbox: str = "auto", limits: Limits | None = None
) -> CheckResult:
    """Run the checker on the world as it is before anyone logs in."""
    bwrap = find_bubblewrap(_backend(sandbox))
    with BubblewrapWorld(scenario, limits=limits, bwrap=bwrap, session=False) as world:
        return world.check()
