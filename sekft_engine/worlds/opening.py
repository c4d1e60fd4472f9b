"""Open a world in a sandbox of this machine. Without a sandbox it fails: there is no bare shell."""

from __future__ import annotations

import functools

from sekft_engine.core.errors import SekftError, Unavailable
from sekft_engine.data.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.data.scenario import Scenario
from sekft_engine.worlds.backends import BACKENDS, named_maker, userland_for
from sekft_engine.worlds.probing import finding, try_world
from sekft_engine.worlds.shell.box import BoxMaker
from sekft_engine.worlds.shell.limits import Limits
from sekft_engine.worlds.shell.session import ShellWorld
from sekft_engine.worlds.shell.world import CheckResult, World


def maker(sandbox: str) -> BoxMaker:
    """The backend that ``sandbox`` names, where ``auto`` is the first in which a world runs.

    Raises:
        Unavailable: it is not there; says what is missing and what mends it.
        BadInput: there is no such name.
    """
    return first_that_works() if sandbox == "auto" else named_maker(sandbox)


@functools.cache
def first_that_works() -> BoxMaker:
    """The first backend in which a small world runs from login to verdict."""
    reasons: list[str] = []
    mend = ""
    for name in BACKENDS:
        try:
            found = named_maker(name)
            try_world(found, userland_for(found, "auto"))
        except (SekftError, OSError) as error:
            cause, way_out = finding(name, error)
            reasons.append(f"{name}: {cause}")
            mend = mend or way_out
        else:
            return found
    raise Unavailable(f"no sandbox works here: {'; '.join(reasons)}", where="sandbox", mend=mend)


def open_world(
    scenario: Scenario,
    *,
    sandbox: str = "auto",
    userland: str = "auto",
    dialect: Dialect = DEFAULT_DIALECT,
    limits: Limits | None = None,
) -> World:
    """Start the world of ``scenario`` and wait for its first prompt.

    Args:
        scenario: the bundle.
        sandbox: see :data:`~sekft_engine.worlds.backends.SANDBOXES`.
        userland: ``auto``, ``host``, ``debian`` or the name of a built tree.
        dialect: how outputs and prompts are shown in environment turns.
        limits: what the world may use; None = the defaults.

    Raises:
        Unavailable: this machine has no sandbox; says what is missing and what mends it.
        WorldBroken: the sandbox started and failed.
        BadInput: the bundle has paths that no world can have, or a name is unknown.
    """
    backend = maker(sandbox)
    return ShellWorld(
        scenario, backend, userland_for(backend, userland), dialect=dialect, limits=limits
    )


def check_untouched(
    scenario: Scenario,
    *,
    sandbox: str = "auto",
    userland: str = "auto",
    limits: Limits | None = None,
) -> CheckResult:
    """Run the checker in an untouched world, without a session.

    Arguments and errors are those of :func:`open_world`.
    """
    backend = maker(sandbox)
    chosen = userland_for(backend, userland)
    with ShellWorld(scenario, backend, chosen, limits=limits, session=False) as world:
        return world.check()
