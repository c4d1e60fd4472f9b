"""The holder: a trusted sandbox that keeps the world's trees while sessions in it come and go.

It runs a few lines of sh. The session, and later the checker, are sandboxes inside it on the same
trees; the checker and its script are never in the session's file system.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import msgspec

from sekft_engine.world_paths import HOME, LOCAL, SHM, TMP, VARIABLES, below, encode_text
from sekft_engine.worlds.arguments import terminated
from sekft_engine.worlds.box import Order
from sekft_engine.worlds.launcher import Bubblewrap
from sekft_engine.worlds.layout import GROUP, PASSWD, Entry, Layout
from sekft_engine.worlds.limits import MIB, Limits
from sekft_engine.worlds.listing import listing_script
from sekft_engine.worlds.marks import LOGIN, Marks, exports
from sekft_engine.worlds.seccomp import needed
from sekft_engine.worlds.userland import ROOT, Userland, signal_reset

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
#: The home may be shut or gone when the checker comes: that is for it to judge.
_AT_HOME = '. /.variables; cd 2>/dev/null; exec "$0" "$@"'
#: Where the holder keeps the world's own file systems, and what is bound into it from elsewhere.
_WORLD, _OWN = "/world", "/w"
_SHM_BYTES = MIB


class File(msgspec.Struct, frozen=True):
    """A file for the holder's tree, given to bwrap as a descriptor."""

    path: str
    content: bytes
    mode: str = "0444"


class Plan(msgspec.Struct, frozen=True):
    """The holder's arguments; each ``File`` stands for its own descriptor."""

    arguments: tuple[str | File, ...]
    command: tuple[str, ...]


def plan(order: Order, *, bwrap: Bubblewrap, own: Userland) -> Plan:
    """Everything the holder is started with; ``own`` is the userland that it runs on itself.

    Raises:
        Unavailable: kernel calls cannot be filtered on this machine.
    """
    layout, limits, userland = order.layout, order.limits, order.userland
    filter_ = needed()
    arguments: list[str | File] = [*_NAMESPACES, "--size", str(limits.other_bytes), "--tmpfs", "/"]
    # bwrap builds each sandbox on a mount point of its own, /tmp, which must be there.
    arguments += [*own.mounts, "--proc", "/proc", "--dev", "/dev", "--dir", TMP]
    if userland.root:
        arguments += ["--ro-bind", userland.root, ROOT]
    if bwrap.tree:
        arguments += ["--ro-bind", bwrap.tree, "/w/bwrap"]
    inner = _inner(layout, userland, limits)
    session = [
        *inner,
        "--chdir", HOME,
        "--setenv", "ENV", "/.start",
        "--ro-bind", "/w/start", "/.start",
        "--ro-bind", "/w/login", LOGIN,
        "--remount-ro", "/",
    ]  # fmt: skip
    checking = [
        *inner,
        "--new-session",
        "--ro-bind",
        "/w/checker",
        "/.checker",
        "--ro-bind",
        "/w/variables",
        "/.variables",
        "--remount-ro",
        "/",
    ]
    limited = _limited(userland, limits)
    script = _script(
        bwrap,
        order.seal,
        session=[*limited, *signal_reset(userland), userland.setsid, "-c", *userland.shell],
        checking=[*limited, userland.sh, "-c", _AT_HOME, userland.sh, "/.checker"],
        listing=listing_script(_places(layout), order.seal),
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
        File("/w/passwd", PASSWD.encode()),
        File("/w/group", GROUP.encode()),
        File("/w/holder", script.encode("utf-8", "surrogateescape")),
    ]
    for file in files:
        arguments += ["--perms", file.mode, "--file", file, file.path]
    arguments += [*_placed(layout.local, f"{_OWN}/local"), *_placed(layout.etc, _OWN)]
    arguments += _trees(layout, limits)
    return Plan(tuple(arguments), (own.sh, "/w/holder"))


def _placed(entries: Iterable[Entry], root: str) -> list[str | File]:
    """Files and folders below ``root``; parents come before their children in ``entries``."""
    out: list[str | File] = []
    shut: list[str] = []
    for entry in entries:
        path = below(root, entry.path)
        if entry.content is not None:
            out += ["--perms", entry.mode, "--file", File(path, entry.content), path]
            continue
        out += ["--perms", "0755", "--dir", path]
        if entry.mode != "0755":
            shut += ["--chmod", entry.mode, path]
    # A folder is closed only after its children are in; three words to each.
    for at in range(len(shut) - 3, -1, -3):
        out += shut[at : at + 3]
    return out


def _trees(layout: Layout, limits: Limits) -> list[str | File]:
    """The world's own file systems, each of a fixed size, with the bundle's files in them."""
    out: list[str | File] = [
        "--size", str(limits.home_bytes), "--tmpfs", f"{_WORLD}/home",
        "--perms", "0755", "--dir", f"{_WORLD}{HOME}",
        "--size", str(limits.tmp_bytes), "--perms", "1777", "--tmpfs", f"{_WORLD}{TMP}",
        "--size", str(_SHM_BYTES), "--perms", "1777", "--tmpfs", f"{_WORLD}{SHM}",
    ]  # fmt: skip
    for tree in layout.trees:
        size = str(limits.other_bytes)
        out += ["--size", size, "--perms", "0755", "--tmpfs", below(_WORLD, tree)]
    return out + _placed((e for e in layout.entries if e.path not in layout.trees), _WORLD)


def _inner(layout: Layout, userland: Userland, limits: Limits) -> list[str]:
    """What session and checker have in common: the world as its inhabitants see it."""
    out = [*_NAMESPACES, "--disable-userns", "--hostname", "box", "--clearenv"]
    for name, value in VARIABLES.items():
        out += ["--setenv", name, value]
    # Everything but the world's trees is read-only in the end: a bare tmpfs would be writable
    # and as large as half the memory.
    out += ["--size", str(limits.other_bytes), "--tmpfs", "/", *userland.mounts]
    out += ["--ro-bind", "/w/local", LOCAL]
    out += ["--ro-bind", "/w/passwd", "/etc/passwd", "--ro-bind", "/w/group", "/etc/group"]
    for entry in layout.etc:
        out += ["--bind", below(_OWN, entry.path), entry.path]
    out += ["--proc", "/proc", "--dev", "/dev", "--bind", f"{_WORLD}{SHM}", SHM]
    out += ["--remount-ro", "/dev"]
    for tree in ("/home", TMP, *layout.trees):
        out += ["--bind", below(_WORLD, tree), tree]
    return out


def _limited(userland: Userland, limits: Limits) -> list[str]:
    # Inside: there NPROC counts this user namespace; outside it would count the user's desktop.
    return [
        userland.prlimit,
        f"--nproc={limits.nproc}",
        f"--as={limits.address_space}",
        f"--fsize={limits.file_size}",
        f"--cpu={limits.cpu_s}",
        f"--nofile={limits.open_files}",
        "--core=0",
        "--",
    ]


def _places(layout: Layout) -> tuple[tuple[str, list[str]], ...]:
    """Where the holder has what can be written in the world."""
    trees = [tree.lstrip("/") for tree in ("/home", TMP, *layout.trees)]
    return ("/world", trees), ("/w", [entry.path.lstrip("/") for entry in layout.etc])


def _script(
    bwrap: Bubblewrap,
    seal: str,
    *,
    session: list[str],
    checking: list[str],
    listing: str,
) -> str:
    """The holder's whole program: orders on stdin, the session's terminal on stdout, reports
    on stderr. End of orders means that the engine is gone, and everything ends.

    bubblewrap tells the checker's status apart from its own: what cannot start has judged nothing.
    """
    start = f"{bwrap.inner} --args 9 9</w/%s --seccomp 8 8</w/filter"
    return f"""\
while read -r order; do
case $order in
session)
{start % "session"} -- {shlex.join(session)} <&1 2>&1
printf '\\n{seal} ended %s\\n' "$?" >&2 ;;
check)
told=$({start % "checking"} --json-status-fd 7 7>&1 >&2 </dev/null -- {shlex.join(checking)})
status=$?
case $told in *exit-code*) told=checked ;; *) told=broken ;; esac
printf '\\n{seal} %s %s\\n' "$told" "$status" >&2 ;;
list)
{{
{listing}}} >&2
printf '\\n{seal} listed %s\\n' "$?" >&2 ;;
esac
done
"""
