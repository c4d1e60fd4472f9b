"""Probe: which sandboxes work here, found by running them, and what mends those that do not."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sekft_engine.errors import SekftError, Unavailable
from sekft_engine.scenario import Announcement, Provider, Scenario
from sekft_engine.worlds import opening
from sekft_engine.worlds.box import Maker
from sekft_engine.worlds.limits import Limits
from sekft_engine.worlds.session import ShellWorld
from sekft_engine.worlds.userland import Userland


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """One sandbox of this machine: whether worlds run in it, and if not, why and what mends it.

    Attributes:
        holds: what bounds a world's totals, and by what means; empty where it does not run.
        userland: the userland that was tried.
    """

    name: str
    ok: bool
    detail: str
    mend: str = ""
    version: str = ""
    holds: dict[str, str] = {}
    userland: str = ""


def probe(userland: str = "auto") -> tuple[Backend, ...]:
    """Every sandbox known to sekft, tried with a whole small world."""
    return tuple(probe_one(name, userland) for name in opening.BACKENDS)


def probe_one(name: str, userland: str = "auto") -> Backend:
    """What ``name`` (as for ``--sandbox``) does on this machine."""
    version = ""
    try:
        found = opening.maker(name)
        version = found.version
        chosen = _userland(found, userland)
        try_world(found, chosen)
    except SekftError as error:
        detail, mend = classify(str(error)) if name.startswith("bubblewrap") else (error.what, "")
        if detail == str(error):
            detail = error.what
        return Backend(
            name=name, ok=False, detail=detail, mend=mend or error.mend or "", version=version
        )
    return Backend(
        name=name,
        ok=True,
        detail="worlds run in it",
        version=version,
        holds=found.holds(),
        userland=chosen.label,
    )


def _userland(found: Maker, userland: str) -> Userland:
    """As ``userland_for``; where there is none, a sandbox that could not run it says so first."""
    try:
        return opening.userland_for(found, userland)
    except Unavailable:
        found.try_bare()
        raise


def try_world(maker: Maker, userland: Userland) -> None:
    """A whole small world: session, exit status, continuation lines, checker. Raises SekftError."""
    scenario = Scenario(
        id="probe",
        provider=Provider(name="probe"),
        announcement=Announcement(),
        checker="/bin/true",
    )
    with ShellWorld(scenario, maker, userland, limits=Limits(command_s=5)) as world:
        seen = [world.run("/bin/true"), world.run("false"), world.run("echo 'a\nb'")]
        if [result.status for result in seen] != [0, 1, 0] or seen[2].output != "a\nb\n":
            raise SekftError(
                "the shell does not behave like a POSIX sh",
                where="sandbox",
                mend="apt-get install dash",
            )
        if world.run("exit").ended != "exit" or not world.check().passed:
            raise SekftError("sessions do not end as they should", where="sandbox")


def _setting(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def classify(said: str) -> tuple[str, str]:
    """The cause behind bubblewrap's words, and the one thing that mends it."""
    if _setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" and (
        "uid map" in said or "Permission denied" in said
    ):
        return (
            "AppArmor forbids user namespaces to ordinary programs",
            (
                "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give bwrap "
                "an AppArmor profile with userns"
            ),
        )
    if _setting("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return (
            "the kernel forbids user namespaces to ordinary users",
            "sysctl -w kernel.unprivileged_userns_clone=1",
        )
    if "nesting depth" in said or _setting("/proc/sys/user/max_user_namespaces") == "0":
        return (
            "no user namespaces are left or allowed",
            "sysctl -w user.max_user_namespaces=15000",
        )
    if _in_container() and ("namespace" in said or "mount proc" in said or "permitted" in said):
        return (
            "this container does not allow sandboxes inside it",
            (
                "start it with --security-opt seccomp=unconfined "
                "--security-opt apparmor=unconfined --security-opt systempaths=unconfined"
            ),
        )
    return said, ""


def _in_container() -> bool:
    return any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))
