"""The userland of a world: its programs, and how they get there."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import signal
import subprocess
from pathlib import Path

import msgspec

from sekft_engine.core.errors import Unavailable

#: Where a holder mounts a root file system other than its own.
ROOT = "/w/root"
#: Parts of /etc that programs need; none reveals the host's users or secrets.
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
    """The programs of a world.

    Attributes:
        shell: the interactive shell's words.
        sh, prlimit, setsid, env: absolute paths inside the world.
        tar: of the host's own userland only: the holder unpacks with it.
        mounts: bubblewrap's arguments that mount it.
        name: ``host``, ``debian``, or the name given to an exported image.
        digest: identifies the userland; it is recorded with every score.
        root: its folder on this machine; empty = the host's own system.
    """

    shell: tuple[str, ...]
    sh: str
    prlimit: str
    setsid: str
    mounts: tuple[str, ...]
    env: str = ""
    tar: str = ""
    name: str = "host"
    digest: str = ""
    root: str = ""

    @property
    def label(self) -> str:
        return f"{self.name}:{self.digest[:12]}"


def _program(name: str) -> str:
    return shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin") or ""


def _mounts() -> tuple[str, ...]:
    """Arguments that show the host's /usr and the few files of /etc programs need."""
    out: list[str] = ["--perms", "0755", "--dir", "/usr"]
    for entry in sorted(os.scandir("/usr"), key=lambda entry: entry.name):
        # The host's /usr/local is left out: a world has its own.
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


def _fingerprint() -> str:
    """A digest of the host's programs by name and size, and of its libc.

    It differs between hosts, and after an upgrade. Contents are left out: they would take seconds.
    """
    total = hashlib.sha256(" ".join(platform.libc_ver()).encode())
    for folder in ("/usr/bin", "/usr/sbin"):
        if not Path(folder).is_dir():
            continue
        with os.scandir(folder) as entries:
            lines = [f"{e.path} {e.stat(follow_symlinks=False).st_size}" for e in entries]
        total.update("\n".join(sorted(lines)).encode("utf-8", "surrogateescape"))
    return total.hexdigest()


@functools.cache
def find_userland() -> Userland:
    """The host's own userland: a read-only view of its /usr, without /usr/local.

    Raises:
        Unavailable: a program that worlds need is missing, with the package that holds it.
    """
    shell = _shell()
    packages = {"prlimit": "util-linux", "setsid": "util-linux", "tar": "tar"}
    for name, package in packages.items():
        if not _program(name):
            raise Unavailable(
                f"{name} is not installed", where="sandbox", mend=f"apt-get install {package}"
            )
    return Userland(
        shell=shell,
        sh=_program("sh") or _program("dash"),
        prlimit=_program("prlimit"),
        setsid=_program("setsid"),
        env=_program("env"),
        tar=_program("tar"),
        mounts=_mounts(),
        digest=_fingerprint(),
    )


def _shell() -> tuple[str, ...]:
    """The interactive shell: dash, else a /bin/sh without line editing.

    It is called ``sh`` where that is dash, since its messages begin with the name that it is called
    by: ``sh: 1: foo: not found``.
    """
    dash, sh = _program("dash"), _program("sh")
    kind = Path(sh).resolve().name if sh else ""
    if kind == "dash":
        return ("sh", "-i")
    if dash:
        return ("dash", "-i")
    if kind == "bash":  # POSIX mode, and no readline, which redraws the line that it reads
        return (sh, "--posix", "--noediting", "-i")
    raise Unavailable("dash is not installed", where="sandbox", mend="apt-get install dash")


def tree_userland(name: str, root: Path, digest: str) -> Userland:
    """The userland in the folder ``root``, a whole root file system.

    Raises:
        Unavailable: it lacks a program that worlds need.
    """
    for program in ("dash", "prlimit", "setsid", "env", "perl"):
        if not (root / "usr/bin" / program).is_file():
            raise Unavailable(
                f"there is no /usr/bin/{program} in it",
                where=f"userland {name}",
                mend="sekft worlds build --again",
            )
    mounts = ["--ro-bind", f"{ROOT}/usr", "/usr"]
    for top in _TOP:
        if (root / top).is_symlink():
            mounts += ["--symlink", f"usr/{top}", f"/{top}"]
    for folder in ("srv", "opt", "mnt", "root", "run", "var"):
        mounts += ["--perms", "0755", "--dir", f"/{folder}"]
    mounts += ["--perms", "0755", "--dir", "/etc"]
    for entry in sorted(os.scandir(root / "etc"), key=lambda entry: entry.name):
        if entry.is_symlink():
            mounts += ["--symlink", str(Path(entry.path).readlink()), f"/etc/{entry.name}"]
        elif entry.name not in ("passwd", "group"):
            mounts += ["--ro-bind", f"{ROOT}/etc/{entry.name}", f"/etc/{entry.name}"]
    shell = "sh" if (root / "usr/bin/sh").resolve().name == "dash" else "dash"
    return Userland(  # noqa: S604 - a field called shell
        shell=(shell, "-i"),
        sh="/usr/bin/sh" if shell == "sh" else "/usr/bin/dash",
        prlimit="/usr/bin/prlimit",
        setsid="/usr/bin/setsid",
        env="/usr/bin/env",
        mounts=tuple(mounts),
        name=name,
        digest=digest,
        root=str(root),
    )


@functools.cache
def _env_resets_signals(env: str) -> bool:
    done = subprocess.run(
        [env, "--default-signal=INT", "true"], capture_output=True, timeout=10, check=False
    )
    return done.returncode == 0


def signal_reset(userland: Userland) -> list[str]:
    """A command prefix that restores default signals where this process was started without them.

    A signal that is ignored (after ``nohup``, or ``&`` in a script) stays ignored through every
    exec, and a shell cannot change that: Ctrl-C would have no effect on time-outs.
    """
    handled = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)
    if all(signal.getsignal(number) != signal.SIG_IGN for number in handled):
        return []
    reset = [userland.env, "--default-signal=INT,QUIT,HUP,TERM"]
    if userland.root:  # its GNU env is new enough
        return reset
    return reset if userland.env and _env_resets_signals(userland.env) else []
