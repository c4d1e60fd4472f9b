"""The sandbox backends by name, and the userland that each of them shows in its worlds."""

from __future__ import annotations

from sekft_engine.core.errors import BadInput
from sekft_engine.worlds.bubblewrap.bubblewrap import BubblewrapMaker
from sekft_engine.worlds.container.container import ContainerMaker
from sekft_engine.worlds.shell.box import BoxMaker
from sekft_engine.worlds.trees.userland import Userland
from sekft_engine.worlds.trees.userlands import choose

#: In the order in which ``auto`` tries them.
BACKENDS = ("bubblewrap", "podman", "docker")
#: What ``--sandbox`` takes: ``auto`` is the first backend in which a world runs; the last two name
#: one copy of bubblewrap.
SANDBOXES = ("auto", *BACKENDS, "bubblewrap-system", "bubblewrap-wheel")
#: Which copy of bubblewrap a sandbox is.
COPY = {"bubblewrap-system": "system", "bubblewrap-wheel": "wheel"}


def named_maker(sandbox: str) -> BoxMaker:
    """The backend that ``sandbox`` names; ``auto`` is not one of them.

    Raises:
        Unavailable: it is not there; says what is missing and what mends it.
        BadInput: there is no such name.
    """
    if sandbox not in SANDBOXES[1:]:
        raise BadInput(
            f"unknown sandbox {sandbox!r}", where="--sandbox", mend=f"use {', '.join(SANDBOXES)}"
        )
    if sandbox in ("podman", "docker"):
        return ContainerMaker(sandbox)
    return BubblewrapMaker(COPY.get(sandbox, ""))


def userland_for(backend: BoxMaker, userland: str) -> Userland:
    """The userland that ``userland`` names for worlds of ``backend``.

    Raises:
        Unavailable: it is not built.
        BadInput: this backend cannot show it.
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
