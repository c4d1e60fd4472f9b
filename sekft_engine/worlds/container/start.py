"""The start of a container: the engine's arguments, and the frames with the world's files."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from sekft_engine.core.errors import BadInput
from sekft_engine.data.world_paths import (
    HOME,
    LOCAL,
    TMP,
    VARIABLES,
    below,
    encode_text,
)
from sekft_engine.worlds.container.engines import COMMON, ContainerEngine
from sekft_engine.worlds.container.frames import frame, packed
from sekft_engine.worlds.shell import seccomp
from sekft_engine.worlds.shell.arguments import mount, separated
from sekft_engine.worlds.shell.box import BoxSpec
from sekft_engine.worlds.shell.engine_id import engine_id
from sekft_engine.worlds.shell.limits import MIB, Limits
from sekft_engine.worlds.shell.marks import Marks
from sekft_engine.worlds.trees import tree
from sekft_engine.worlds.trees.layout import Entry

#: The machine's uid of a world's user in a container.
UID = 1000
START, _LOGIN = f"{LOCAL}/.start", f"{LOCAL}/.login"
_KEEPERS = ("SETUID", "SETGID", "KILL", "CHOWN")
#: For the keeper, and so that its watch comes before the kernel's last resort.
_SLACK = 64 * MIB
_SPARE_PIDS = 8
#: Reads the keeper from its stdin, so that no command line shows it.
_BOOT = (
    '$0="init";sysread STDIN,$n,8;$n=hex$n;'
    "while(length$c<$n){sysread(STDIN,$c,$n-length$c,length$c)||exit}eval$c;die$@if$@"
)
#: Files that an engine mounts over /etc itself.
_ENGINES_OWN = ("hosts", "hostname", "resolv.conf")


def run_command(engine: ContainerEngine, image: str, name: str, order: BoxSpec) -> list[str]:
    """The command that starts the container ``name`` for ``order``.

    Raises:
        BadInput: the bundle names a place that an option cannot hold.
    """
    limits, layout = order.limits, order.layout
    sizes = {"/home": limits.home_bytes, TMP: limits.tmp_bytes}
    sizes |= dict.fromkeys((LOCAL, *layout.trees), limits.other_bytes)
    if layout.etc:
        sizes["/etc"] = limits.other_bytes
    memory = limits.memory_bytes + sum(sizes.values()) + _SLACK
    out = ["run", "-i", "--rm", "--name", name, "--label", f"sekft.engine={engine_id()}"]
    # For the keeper only: to become the ordinary user, and to end what that one runs.
    out += [*COMMON, *(f"--cap-add={capability}" for capability in _KEEPERS)]
    for path, size in sizes.items():
        mode = "1777" if path == TMP else "0755"
        options = ("rw", "exec", "nosuid", "nodev", f"size={size}", f"mode={mode}")
        out += ["--tmpfs", mount(path, *options)]
    if engine.limits:
        pids = limits.nproc + _SPARE_PIDS
        out += ["--memory", str(memory), "--memory-swap", str(memory)]
        out += ["--pids-limit", str(pids)]
    return [*engine.command, *out, *engine.run_options, image, "/usr/bin/perl", "-e", _BOOT]


def furniture(order: BoxSpec) -> Iterator[bytes]:
    """Frames that give the keeper the world's files and limits.

    Raises:
        BadInput: the bundle has a file that the engine mounts itself.
    """
    layout, limits = order.layout, order.limits
    for entry in layout.etc:
        if entry.path.split("/")[2] in _ENGINES_OWN:
            raise BadInput(
                f"containers have a {entry.path!r} of their own",
                where="fixtures",
                mend="choose another name, or use --sandbox bubblewrap",
            )
    yield frame("P", packed(_settings(limits, (*layout.writable, LOCAL))))
    if layout.etc:
        # The mount hides the image's own: it is put back, then the bundle's files on it.
        yield from _etc(order.userland.root)
    yield _entry(Entry(HOME, None, "0755"), 0)
    yield from _filled(layout.entries, "/", UID)
    yield _entry(Entry(HOME, None, "0755"), UID)
    yield from _filled(layout.etc, "/", UID)
    yield from _filled(layout.local, LOCAL, 0)
    start = Marks(order.nonce).shell_start(layout.variables, _LOGIN)
    yield _entry(Entry(START, start.encode("utf-8", "surrogateescape"), "0444"), 0)
    yield _entry(Entry(_LOGIN, encode_text(layout.login), "0444"), 0)


def variables(more: Iterable[tuple[str, str]]) -> bytes:
    """The frame that sets the environment of what is started next."""
    return frame("V", packed(itertools.chain.from_iterable((VARIABLES | dict(more)).items())))


def _settings(limits: Limits, trees: tuple[str, ...]) -> list[str | bytes]:
    return [
        "uid", str(UID), "home", HOME, "trees", separated("\n", trees),
        "filter", seccomp.program() or b"",
        "as", str(limits.address_space), "fsize", str(limits.file_size),
        "cpu", str(limits.cpu_s), "nofile", str(limits.open_files),
        "nproc", str(limits.nproc), "memory", str(limits.memory_bytes),
        "inodes", str(limits.inodes),
    ]  # fmt: skip


def _filled(entries: Iterable[Entry], root: str, owner: int) -> Iterator[bytes]:
    """Files and folders below ``root``, with the folders that they need above them.

    Folders are given away and closed only after their children are in: the keeper may not write
    where the user alone may.
    """
    folders: list[Entry] = []
    for entry in entries:
        path = below(root, entry.path)
        yield from _parents(path)
        placed = Entry(path, entry.content, entry.mode)
        if entry.content is None:
            folders.append(placed)
            placed = Entry(path, None, "0755")
        yield _entry(placed, owner if placed.content is not None else 0)
    for folder in reversed(folders):
        yield _entry(folder, owner)


def _entry(entry: Entry, owner: int) -> bytes:
    parts: list[str | bytes] = [entry.path, entry.mode, str(owner)]
    if entry.content is None:
        return frame("D", packed(parts))
    return frame("F", packed([*parts, entry.content]))


def _parents(path: str) -> Iterator[bytes]:
    """The folders above ``path`` that the world's own file systems may lack."""
    top = next((each for each in (HOME, TMP, LOCAL, "/etc") if path.startswith(f"{each}/")), "")
    top = top or "/" + path.split("/")[1]
    parts = path.removeprefix(top).strip("/").split("/")[:-1]
    for depth in range(1, len(parts) + 1):
        yield _entry(Entry(f"{top}/{'/'.join(parts[:depth])}", None, "0755"), 0)


def _etc(root: str) -> Iterator[bytes]:
    """The userland's own /etc, its links as links: followed here, they would lead to this machine's
    files."""
    top = Path(root) / "etc"
    if top.is_symlink() or not top.is_dir():
        return
    for name, status in tree.walk(top):
        path = below("/etc", name)
        if stat.S_ISDIR(status.st_mode):
            yield _entry(Entry(path, None, "0755"), 0)
        elif name in _ENGINES_OWN:
            continue
        elif stat.S_ISLNK(status.st_mode):
            yield frame("L", packed([path, os.fsencode((top / name).readlink())]))
        elif stat.S_ISREG(status.st_mode):
            yield _entry(Entry(path, (top / name).read_bytes(), "0644"), 0)
