"""The userland of a world: a read-only view of the host's /usr, without its /usr/local."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
from pathlib import Path

import msgspec

from sekft_engine.errors import Unavailable

#: Parts of /etc that programs need; nothing in them tells of the host's users or secrets.
_ETC = (
    "alternatives",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "manpath.config",
    "man_db.conf",
    "terminfo",
    "debian_version",
    "os-release",
)
_TOP = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


class Userland(msgspec.Struct, frozen=True):
    """Programs of the host that a world is built with, as absolute paths."""

    shell: tuple[str, ...]
    sh: str
    prlimit: str
    setsid: str
    mounts: tuple[str, ...]


def _program(name: str) -> str:
    return shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin") or ""


def _mounts() -> tuple[str, ...]:
    """Arguments that show the host's /usr and the few files of /etc programs need."""
    out: list[str] = ["--perms", "0755", "--dir", "/usr"]
    for entry in sorted(os.scandir("/usr"), key=lambda entry: entry.name):
        # /usr/local is the host's own taste; the world has one of its own there.
        if entry.name in ("local", "src", "games") or not entry.is_dir(follow_symlinks=False):
            if entry.is_symlink():
                out += ["--symlink", str(Path(entry.path).readlink()), entry.path]
            continue
        out += ["--ro-bind", entry.path, entry.path]
    for name in _TOP:
        path = Path("/", name)
        if path.is_symlink():
            out += ["--symlink", str(path.readlink()).lstrip("/"), str(path)]
        elif path.is_dir():
            out += ["--ro-bind", str(path), str(path)]
    out += ["--perms", "0755", "--dir", "/etc"]
    for name in _ETC:
        path = Path("/etc", name)
        if path.exists():
            out += ["--ro-bind", str(path.resolve()), str(path)]
    return tuple(out)


@functools.cache
def find_userland() -> Userland:
    """The programs a world needs.

    Raises:
        Unavailable: one of them is missing, with the package that holds it.
    """
    shell = _shell()
    for name in ("prlimit", "setsid"):
        if not _program(name):
            raise Unavailable(
                f"{name} is not installed", where="sandbox", mend="apt-get install util-linux"
            )
    return Userland(
        shell=shell,
        sh=_program("sh") or _program("dash"),
        prlimit=_program("prlimit"),
        setsid=_program("setsid"),
        mounts=_mounts(),
    )


def _shell() -> tuple[str, ...]:
    """The interactive shell: dash, else a /bin/sh that can do without line editing.

    It is called by its bare name where that is sure to be it, since it signs its messages so:
    ``sh: 1: foo: not found``.
    """
    dash, sh = _program("dash"), _program("sh")
    kind = Path(sh).resolve().name if sh else ""
    if kind == "dash":
        return ("sh", "-i")
    if dash:
        return ("dash", "-i")
    if kind == "bash":  # a POSIX sh by that name; readline would redraw the line it reads
        return (sh, "--posix", "--noediting", "-i")
    raise Unavailable("dash is not installed", where="sandbox", mend="apt-get install dash")


@functools.cache
def _env_resets_signals(env: str) -> bool:
    done = subprocess.run(
        [env, "--default-signal=INT", "true"], capture_output=True, timeout=10, check=False
    )
    return done.returncode == 0


def signal_reset() -> list[str]:
    """A prefix that gives Ctrl-C back its meaning where this process was started without it.

    A signal ignored at entry (``nohup``, ``&`` in a script) stays ignored through every exec, and
    a shell may not change that: time-outs could then only kill.
    """
    handled = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)
    if all(signal.getsignal(number) != signal.SIG_IGN for number in handled):
        return []
    env = _program("env")
    return [env, "--default-signal=INT,QUIT,HUP,TERM"] if env and _env_resets_signals(env) else []
