"""Find out which sandboxes work here by running them, and how to repair those that do not."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from sekft_engine.core.errors import SekftError, Unavailable, known_error
from sekft_engine.data.scenario import Announcement, Provider, Scenario
from sekft_engine.worlds.backends import BACKENDS, COPY, named_maker, userland_for
from sekft_engine.worlds.bubblewrap.launcher import find_bubblewrap
from sekft_engine.worlds.shell.box import BoxMaker
from sekft_engine.worlds.shell.limits import Limits
from sekft_engine.worlds.shell.session import ShellWorld
from sekft_engine.worlds.trees.userland import Userland


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """A sandbox of this machine, and whether worlds run in it.

    Attributes:
        name: of the sandbox.
        ok: worlds run in it.
        detail: why they do not.
        mend: how to repair it.
        version: of its program.
        holds: kind of limit -> how it is enforced; empty where worlds do not run.
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
    """Try every sandbox with a small world."""
    return tuple(probe_one(name, userland) for name in BACKENDS)


def probe_one(name: str, userland: str = "auto") -> Backend:
    """Try the sandbox called ``name``, as for ``--sandbox``, with a small world."""
    version = ""
    try:
        found = named_maker(name)
        version = found.version
        chosen = _userland(found, userland)
        try_world(found, chosen)
    except (SekftError, OSError) as error:
        detail, mend = finding(name, error)
        return Backend(name=name, ok=False, detail=detail, mend=mend, version=version)
    return Backend(
        name=name,
        ok=True,
        detail="worlds run in it",
        version=version,
        holds=found.holds(),
        userland=chosen.label,
    )


def _userland(found: BoxMaker, userland: str) -> Userland:
    """As ``userland_for``; without one, an error of the sandbox itself comes first."""
    try:
        return userland_for(found, userland)
    except Unavailable:
        found.try_bare()
        raise


def try_world(maker: BoxMaker, userland: Userland) -> None:
    """Run a small world: session, exit status, continuation lines, checker.

    Raises:
        SekftError: it does not work.
    """
    scenario = Scenario(
        id="probe",
        provider=Provider(name="probe"),
        announcement=Announcement(),
        checker="/bin/true",
    )
    with ShellWorld(scenario, maker, userland, limits=Limits(command_s=5)) as world:
        results = [world.run("/bin/true"), world.run("false"), world.run("echo 'a\nb'")]
        if [result.status for result in results] != [0, 1, 0] or results[2].output != "a\nb\n":
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


def finding(name: str, error: SekftError | OSError) -> tuple[str, str]:
    """Why worlds do not run in the sandbox called ``name``, and how to repair it."""
    known = known_error(error)
    cause, mend = known.what, ""
    if name.startswith("bubblewrap"):
        cause, mend = classify(str(known), _program(name))
    return (known.what if cause == str(known) else cause), mend or known.mend or ""


def _program(name: str) -> str:
    """The bubblewrap program that the sandbox called ``name`` runs; empty where there is none."""
    try:
        return find_bubblewrap(COPY.get(name, "")).path
    except SekftError:
        return ""


def classify(message: str, program: str = "") -> tuple[str, str]:
    """The cause of an error message of bubblewrap, and how to repair it; the message itself, and an
    empty text, where it is unknown.

    Args:
        message: what was said.
        program: the path of bubblewrap.
    """
    if _setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" and any(
        word in message for word in ("uid map", "denied", "permitted", "at login", "died")
    ):
        # A world is a sandbox in a sandbox. A profile may let the outer one start, and take from
        # the programs in it what the inner one needs; the distribution's own profile does.
        outer = "did not start" in message or "uid map" in message
        cause = (
            "user namespaces to ordinary programs" if outer else "the inner of the two sandboxes"
        )
        return f"AppArmor forbids {cause}", _apparmor(program or "/usr/bin/bwrap")
    if _setting("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return (
            "the kernel forbids user namespaces to ordinary users",
            "sysctl -w kernel.unprivileged_userns_clone=1",
        )
    if "nesting depth" in message or _setting("/proc/sys/user/max_user_namespaces") == "0":
        return (
            "no user namespaces are left or allowed",
            "sysctl -w user.max_user_namespaces=15000",
        )
    if any(word in message for word in ("namespace", "mount proc", "permitted", "denied")):
        if _in_kubernetes():
            return "this pod does not allow sandboxes inside it", _POD
        if _in_container():
            return (
                "this container does not allow sandboxes inside it",
                (
                    "start it with --security-opt seccomp=unconfined "
                    "--security-opt apparmor=unconfined --security-opt systempaths=unconfined"
                ),
            )
    return message, ""


def _apparmor(program: str) -> str:
    """Commands that give ``program`` a profile under which the sandbox in its sandbox starts."""
    name = "sekft-bwrap"
    profile = (
        f"abi <abi/4.0>,\\ninclude <tunables/global>\\n"
        f'profile {name} "{program}" flags=(unconfined) {{\\n  userns,\\n}}\\n'
    )
    file = f"/etc/apparmor.d/{name}"
    # Two profiles for one program contradict each other: the distribution's one has to go.
    theirs = "/etc/apparmor.d/bwrap-userns-restrict"
    first = f"apparmor_parser -R {theirs} && " if program.startswith("/usr/bin/") else ""
    return (
        f"{first}printf '{profile}' > {file} && apparmor_parser -r {file}, or use podman, "
        "or: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    )


#: What a pod needs for user namespaces with a /proc of their own.
_POD = (
    "in the pod: hostUsers: false; and for the container, securityContext: {procMount: Unmasked, "
    "seccompProfile: {type: Unconfined}, appArmorProfile: {type: Unconfined}}"
)


def _in_kubernetes() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ or Path("/run/secrets/kubernetes.io").exists()


def _in_container() -> bool:
    return any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))
