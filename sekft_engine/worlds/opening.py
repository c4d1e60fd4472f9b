"""Open a world on this machine's sandbox; without one there is a refusal, never a bare shell."""

from __future__ import annotations

import functools

from sekft_engine.dialect import DEFAULT_DIALECT, Dialect
from sekft_engine.errors import BadInput, SekftError, Unavailable
from sekft_engine.scenario import Scenario
from sekft_engine.worlds.box import Maker
from sekft_engine.worlds.bubblewrap import BubblewrapMaker
from sekft_engine.worlds.container import ContainerMaker
from sekft_engine.worlds.limits import Limits
from sekft_engine.worlds.session import ShellWorld
from sekft_engine.worlds.userland import Userland
from sekft_engine.worlds.userlands import choose
from sekft_engine.worlds.world import CheckResult, World

BACKENDS = ("bubblewrap", "podman", "docker")
#: ``auto`` takes the first backend in which a world runs; two name one copy of bubblewrap.
SANDBOXES = ("auto", *BACKENDS, "bubblewrap-system", "bubblewrap-wheel")
_PREFER = {"bubblewrap-system": "system", "bubblewrap-wheel": "wheel"}


def maker(sandbox: str) -> Maker:
    """The backend that ``sandbox`` names.

    Raises:
        Unavailable: it is not there; says what is missing and what mends it.
        BadInput: there is no such name.
    """
    if sandbox not in SANDBOXES:
        raise BadInput(
            f"unknown sandbox {sandbox!r}", where="--sandbox", mend=f"use {', '.join(SANDBOXES)}"
        )
    if sandbox == "auto":
        return _first_that_works()
    if sandbox in ("podman", "docker"):
        return ContainerMaker(sandbox)
    return BubblewrapMaker(_PREFER.get(sandbox, ""))


def userland_for(backend: Maker, userland: str) -> Userland:
    """The userland that ``userland`` names for worlds of ``backend``.

    Raises:
        Unavailable: it is not built; BadInput: this backend cannot show it.
    """
    if userland == "auto":
        userland = "host" if backend.name == "bubblewrap" else "debian"
    if userland == "host" and backend.name != "bubblewrap":
        raise BadInput(
            f"{backend.name} cannot show the host's own programs",
            where="--userland host",
            mend="use --userland debian, or --sandbox bubblewrap",
        )
    return choose(userland)


@functools.cache
def _first_that_works() -> Maker:
    """The first backend, in order, in which a small world runs from login to verdict."""
    from sekft_engine.worlds.probing import classify, try_world

    reasons: list[str] = []
    mend = ""
    for name in BACKENDS:
        try:
            found = maker(name)
            try_world(found, userland_for(found, "auto"))
        except SekftError as error:
            cause, way_out = classify(str(error)) if name == "bubblewrap" else (error.what, "")
            reasons.append(f"{name}: {cause}")
            mend = mend or way_out or error.mend or ""
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
    """Start ``scenario``'s world and wait for its first prompt.

    Raises:
        Unavailable: this machine has no sandbox; says what is missing and what mends it.
        WorldBroken: the sandbox started and failed.
        BadInput: the bundle holds paths that no world can hold, or a name is unknown.
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
    """Run the checker on the world as it is before anyone logs in."""
    backend = maker(sandbox)
    chosen = userland_for(backend, userland)
    with ShellWorld(scenario, backend, chosen, limits=limits, session=False) as world:
        return world.check()
