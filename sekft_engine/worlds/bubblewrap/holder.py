"""The holder: a trusted sandbox that has the world's files; session and checker run within it.

It runs a few lines of sh. The session, and later the checker, are sandboxes inside it on the same
trees; the checker and its script are never in the session's file system.

Limits are set by the holder, with this machine's own programs, before a sandbox inside it begins:
programs of the world would obey what a bundle says (``/etc/ld.so.preload``). Of bubblewrap nothing
runs in there: the first process of a session is a shell with the session's own limits.
"""

from __future__ import annotations

import functools
import io
import shlex
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.data.world_paths import (
    HOME,
    LOCAL,
    SHM,
    TMP,
    VARIABLES,
    below,
    encode_text,
)
from sekft_engine.worlds.bubblewrap.launcher import Bubblewrap
from sekft_engine.worlds.shell.arguments import terminated
from sekft_engine.worlds.shell.box import BoxSpec
from sekft_engine.worlds.shell.limits import MIB, Limits
from sekft_engine.worlds.shell.marks import LAUNCH_PATH, LOGIN, Marks, exports
from sekft_engine.worlds.shell.seccomp import needed
from sekft_engine.worlds.trees.layout import GROUP, PASSWD, Entry, WorldLayout
from sekft_engine.worlds.trees.listing import listing_script
from sekft_engine.worlds.trees.userland import ROOT, Userland, signal_reset

_NAMESPACES = (
    "--unshare-user",
    "--unshare-pid",
    "--unshare-net",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--die-with-parent",
    "--uid",
    "1000",
    "--gid",
    "1000",
    "--cap-drop",
    "ALL",
)
#: Where the holder keeps the world's own file systems, and what is bound into it from elsewhere.
_WORLD, _OWN = "/world", "/w"
#: The bundle's files, until they are unpacked.
_FILES, _FILES_BYTES = "/w/in/files.tar", 32 * MIB
_SHM_BYTES = MIB
#: A session's first process: it waits for the shell, and the sandbox ends with it.
_FIRST = 'exec 3>&2 2>/dev/null; "$@" 2>&3 3>&-; exit $?'
#: The home may be shut or gone when the checker comes: that is for it to judge.
_JUDGE = ". /.variables; cd 2>/dev/null; /.judge/sh /.checker; exit $?"
#: Processes of the holder that count as the world's, and the session's first.
_SPARE_PROCESSES = 4
#: The kernel is to kill what a world runs before what keeps it.
_EXPENDABLE = "echo 500 2>/dev/null >/proc/self/oom_score_adj"
#: Each file or folder bound into /etc costs a mount in each sandbox.
MAX_ETC = 64


class File(msgspec.Struct, frozen=True):
    """A file of the holder, given to bwrap as a descriptor."""

    path: str
    content: bytes
    mode: str = "0444"


class HolderPlan(msgspec.Struct, frozen=True):
    """The holder's arguments; each ``File`` stands for its own descriptor."""

    arguments: tuple[str | File, ...]
    command: tuple[str, ...]


def plan(order: BoxSpec, *, bwrap: Bubblewrap, own: Userland) -> HolderPlan:
    """The arguments of the holder; ``own`` is the userland of its own programs.

    Raises:
        Unavailable: kernel calls cannot be filtered on this machine.
        BadInput: the bundle has files where the world's userland has its own.
    """
    layout, limits, userland = order.layout, order.limits, order.userland
    filter_ = needed()
    bound = etc_bound(layout, userland)
    arguments: list[str | File] = [*_NAMESPACES, "--size", str(limits.other_bytes), "--tmpfs", "/"]
    # bwrap builds each sandbox on a mount point of its own, /tmp, which must be there.
    arguments += [*own.mounts, "--proc", "/proc", "--dev", "/dev", "--dir", TMP]
    if userland.root:
        arguments += ["--ro-bind", userland.root, ROOT]
    if bwrap.tree:
        arguments += ["--ro-bind", bwrap.tree, "/w/bwrap"]
    inner = _inner(layout, userland, limits, bound)
    session = [
        *inner,
        "--setenv", "PATH", LAUNCH_PATH,
        "--chdir", HOME,
        "--setenv", "ENV", "/.start",
        "--ro-bind", "/w/start", "/.start",
        "--ro-bind", "/w/login", LOGIN,
        "--remount-ro", "/",
    ]  # fmt: skip
    checking = [
        *inner,
        "--setenv", "PATH", VARIABLES["PATH"],
        "--new-session",
        "--ro-bind", "/w/checker", "/.checker",
        "--ro-bind", "/w/variables", "/.variables",
        "--ro-bind", "/w/sh", "/.judge/sh",
        "--remount-ro", "/",
    ]  # fmt: skip
    script = _script(
        bwrap,
        order.seal,
        own=own,
        limited=_limited(own, limits),
        session=[userland.sh, "-c", _FIRST, "init", userland.setsid, "-c", *userland.shell],
        listing=listing_script(_places(layout, bound), order.seal),
    )
    marks = Marks(order.nonce)
    files = [
        File("/w/session", terminated(session)),
        File("/w/checking", terminated(checking)),
        File("/w/filter", filter_),
        File("/w/start", marks.shell_start(layout.variables).encode("utf-8", "surrogateescape")),
        File("/w/variables", encode_text(exports(layout.variables))),
        File("/w/login", encode_text(layout.login)),
        File("/w/checker", encode_text(order.checker)),
        # It cannot be read, so the kernel lets no process of the same user look into it or change
        # it: a checker may run what a session left.
        File("/w/sh", _program(userland.root, userland.sh), "0111"),
        File("/w/passwd", PASSWD.encode()),
        File("/w/group", GROUP.encode()),
        File("/w/holder", script.encode("utf-8", "surrogateescape")),
    ]
    for file in files:
        arguments += ["--perms", file.mode, "--file", file, file.path]
    arguments += ["--dir", f"{_OWN}/local", *_trees(layout, limits)]
    packed = File(_FILES, _packed(layout), "0600")
    arguments += ["--size", str(_FILES_BYTES), "--tmpfs", "/w/in"]
    arguments += ["--perms", packed.mode, "--file", packed, packed.path]
    return HolderPlan(tuple(arguments), (own.sh, "/w/holder"))


def _trees(layout: WorldLayout, limits: Limits) -> list[str | File]:
    """The world's own file systems, each of a fixed size."""
    out: list[str | File] = [
        "--size", str(limits.home_bytes), "--tmpfs", f"{_WORLD}/home",
        "--perms", "0755", "--dir", f"{_WORLD}{HOME}",
        "--size", str(limits.tmp_bytes), "--perms", "1777", "--tmpfs", f"{_WORLD}{TMP}",
        "--size", str(_SHM_BYTES), "--perms", "1777", "--tmpfs", f"{_WORLD}{SHM}",
    ]  # fmt: skip
    for tree in layout.trees:
        size = str(limits.other_bytes)
        out += ["--size", size, "--perms", "0755", "--tmpfs", below(_WORLD, tree)]
    return out


def _packed(layout: WorldLayout) -> bytes:
    """The bundle's files as the holder unpacks them below its root."""
    placed = [
        *((f"{_OWN}/local", entry) for entry in layout.local),
        *((_OWN, entry) for entry in layout.etc),
        *((_WORLD, entry) for entry in layout.entries),
    ]
    out, now = io.BytesIO(), int(time.time())

    def member_of(name: str, mode: str) -> tarfile.TarInfo:
        member = tarfile.TarInfo(name)
        member.mode, member.mtime = int(mode, 8), now
        return member

    with tarfile.open(
        fileobj=out, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape"
    ) as archive:
        folders: list[tuple[str, str]] = []
        for root, entry in placed:
            name = below(root, entry.path).lstrip("/")
            if entry.content is None:
                folders.append((name, entry.mode))
                member = member_of(name, "0755")
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
                continue
            member = member_of(name, entry.mode)
            member.size = len(entry.content)
            archive.addfile(member, io.BytesIO(entry.content))
        for name, mode in reversed(folders):  # a folder is closed only after its children are in
            member = member_of(name, mode)
            member.type = tarfile.DIRTYPE
            archive.addfile(member)
    return out.getvalue()


def etc_bound(layout: WorldLayout, userland: Userland) -> tuple[Entry, ...]:
    """The entries of /etc that are bound into the world: those that no other one is above.

    What lies below a folder that is bound comes with it. Bound again, a session could move it away
    or put a link in its place, and the checker's sandbox would not start, or would bind another.

    Raises:
        BadInput: there are too many, or the userland has something of its own there.
    """
    folders = [entry.path for entry in layout.etc if entry.content is None]
    found = tuple(
        entry
        for entry in layout.etc
        if not any(entry.path.startswith(f"{folder}/") for folder in folders)
    )
    if len(found) > MAX_ETC:
        raise BadInput(
            f"{len(found)} files in /etc",
            where="fixtures",
            mend=f"use at most {MAX_ETC}, or a folder for them, such as /etc/app/",
        )
    for entry in found:
        clash = _clash(entry, userland)
        if clash:
            raise BadInput(
                f"{entry.path!r}: the world has its own {clash}",
                where="fixtures",
                mend="choose another name",
            )
    return found


def _clash(entry: Entry, userland: Userland) -> str:
    """What of the userland's own /etc stands in the way of ``entry``, '' = nothing."""
    if entry.path in ("/etc/passwd", "/etc/group"):
        return entry.path if entry.content is None else ""
    own = {"/etc/passwd", "/etc/group"}
    own |= {word for word in userland.mounts if word.startswith("/etc/")}
    for path in sorted(own):
        if entry.path.startswith(f"{path}/"):
            return path
        if entry.path == path:
            there = Path(userland.root, path.lstrip("/")) if userland.root else Path(path)
            link = bool(userland.root) and there.is_symlink()
            return path if link or there.is_dir() != (entry.content is None) else ""
    return ""


def _inner(
    layout: WorldLayout, userland: Userland, limits: Limits, bound: Iterable[Entry]
) -> list[str]:
    """What session and checker have in common: the world as its inhabitants see it."""
    out = [*_NAMESPACES, "--disable-userns", "--as-pid-1", "--hostname", "box", "--clearenv"]
    for name, value in VARIABLES.items():
        if name != "PATH":
            out += ["--setenv", name, value]
    # Everything but the world's trees is read-only in the end: a bare tmpfs would be writable
    # and as large as half the memory.
    out += ["--size", str(limits.other_bytes), "--tmpfs", "/", *userland.mounts]
    out += ["--ro-bind", "/w/local", LOCAL]
    out += ["--ro-bind", "/w/passwd", "/etc/passwd", "--ro-bind", "/w/group", "/etc/group"]
    for entry in bound:
        out += ["--bind", below(_OWN, entry.path), entry.path]
    out += ["--proc", "/proc", "--dev", "/dev", "--bind", f"{_WORLD}{SHM}", SHM]
    out += ["--remount-ro", "/dev"]
    for tree in ("/home", TMP, *layout.trees):
        out += ["--bind", below(_WORLD, tree), tree]
    return out


def _limited(own: Userland, limits: Limits) -> list[str]:
    # In the holder's user namespace NPROC counts this world; on the host, the user's desktop.
    return [
        own.prlimit,
        f"--nproc={limits.nproc + _SPARE_PROCESSES}",
        f"--as={limits.address_space}",
        f"--fsize={limits.file_size}",
        f"--cpu={limits.cpu_s}",
        f"--nofile={limits.open_files}",
        "--core=0",
        "--",
        *signal_reset(own),
    ]


@functools.lru_cache(maxsize=8)
def _program(root: str, path: str) -> bytes:
    """The program at ``path`` of a userland; its links are the userland's own."""
    if not root:
        return Path(path).read_bytes()
    from sekft_engine.worlds.trees.tree import inside

    return inside(Path(root), path, follow=True).read_bytes()


def _places(layout: WorldLayout, bound: Iterable[Entry]) -> tuple[tuple[str, list[str]], ...]:
    """Where the holder has what can be written in the world."""
    trees = [tree.lstrip("/") for tree in ("/home", TMP, *layout.trees)]
    return (_WORLD, trees), (_OWN, [entry.path.lstrip("/") for entry in bound])


def _script(
    bwrap: Bubblewrap,
    seal: str,
    *,
    own: Userland,
    limited: list[str],
    session: list[str],
    listing: str,
) -> str:
    """The holder's whole program: it unpacks the bundle's files, then takes orders on stdin, with
    the session's terminal on stdout and reports on stderr. End of orders means that the engine is
    gone, and everything ends.

    bubblewrap tells the checker's status apart from its own: what cannot start has judged nothing.
    """
    start = f"{_EXPENDABLE}; exec {shlex.join(limited)} {bwrap.inner}"
    start += " --args 9 9</w/%s --seccomp 8 8</w/filter"
    judge = shlex.join(["/.judge/sh", "-c", _JUDGE])
    return f"""\
{own.tar} -xpf {_FILES} -C / >&2 || exit 1
: >{_FILES}
while read -r order; do
case $order in
session)
( {start % "session"} -- {shlex.join(session)} <&1 2>&1 )
printf '\\n{seal} ended %s\\n' "$?" >&2 ;;
check)
report=$( {start % "checking"} --json-status-fd 7 7>&1 >&2 </dev/null -- {judge} )
status=$?
case $report in *exit-code*) report=checked ;; *) report=broken ;; esac
printf '\\n{seal} %s %s\\n' "$report" "$status" >&2 ;;
list)
{{
{listing}}} >&2
printf '\\n{seal} listed %s\\n' "$?" >&2 ;;
esac
done
"""
