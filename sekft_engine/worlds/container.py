"""The podman and docker backends: a container per world, kept by a trusted pid 1 of ours.

Everything goes through the standard streams of one ``run -i``: no exec per command, no file of the
host bound in, and a remote engine will do. When this process dies, however it dies, the container's
stdin ends, the keeper leaves, and the container goes.
"""

from __future__ import annotations

import fcntl
import importlib.resources
import itertools
import os
import stat
import struct
import subprocess
import termios
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from sekft_engine.world_paths import HOME, LOCAL, TMP, VARIABLES, below, encode_text
from sekft_engine.worlds import seccomp, tree
from sekft_engine.worlds.arguments import mount, separated
from sekft_engine.worlds.box import Order, Terminal, overdone
from sekft_engine.worlds.engine_id import engine_id
from sekft_engine.worlds.engines import (
    COMMON,
    Engine,
    ensure_image,
    find_engine,
    sweep_containers,
    try_bare,
    working,
)
from sekft_engine.worlds.frames import Line, frame, packed
from sekft_engine.worlds.layout import Entry
from sekft_engine.worlds.limits import MIB, Limits
from sekft_engine.worlds.listing import ROOM, Listing, listing_script, read_listing
from sekft_engine.worlds.marks import Marks
from sekft_engine.worlds.ptywire import open_terminal
from sekft_engine.worlds.world import WorldBroken

UID = 1000
_KEEPERS = ("SETUID", "SETGID", "KILL", "CHOWN")
_START, _LOGIN = f"{LOCAL}/.start", f"{LOCAL}/.login"
#: For the keeper, and so that its watch comes before the kernel's last resort.
_SLACK = 64 * MIB
_SPARE_PIDS = 8
_UNBOUNDED = 1 << 60  # what the kernel says for no limit is near 1 << 63
_TCGETS = 0x5401
#: Reads the keeper from its stdin, so that no command line shows it.
_BOOT = (
    '$0="init";sysread STDIN,$n,8;$n=hex$n;'
    "while(length$c<$n){sysread(STDIN,$c,$n-length$c,length$c)||exit}eval$c;die$@if$@"
)
#: Files that an engine mounts over /etc itself.
_ENGINES_OWN = ("hosts", "hostname", "resolv.conf")
_numbers = itertools.count()


class Bounds(msgspec.Struct, frozen=True):
    """What really bounds a container, as its kernel told: an engine may take a limit and not
    keep it.

    Attributes:
        processes, memory: by cgroup.
        own_users: it has a user namespace of its own.
        filtered: the engine filters kernel calls.
    """

    processes: bool = False
    memory: bool = False
    own_users: bool = False
    filtered: bool = False

    @classmethod
    def told(cls, facts: bytes) -> Bounds:
        pids, memory, own, mode = (*facts.decode("utf-8", "replace").split("\n"), *4 * [""])[:4]
        bounded = memory.isdigit() and int(memory) < _UNBOUNDED
        return cls(pids.isdigit(), bounded, own == "1", mode == "2")


class ContainerMaker:
    """Makes boxes with podman or docker; see :class:`~sekft_engine.worlds.box.Maker`."""

    def __init__(self, name: str) -> None:
        """Raises Unavailable where ``name`` is not there or does not run containers."""
        self.name = name
        self.engine = find_engine(name)
        self.version = self.engine.version
        self._bounds = Bounds()

    def try_bare(self) -> None:
        try_bare(self.engine)

    def open(self, order: Order) -> ContainerBox:
        sweep_containers(self.engine)
        image = ensure_image(self.engine, order.userland)
        self.engine = working(self.engine, image)
        box = ContainerBox(self.engine, image, order)
        self._bounds = box.bounds
        return box

    def holds(self) -> dict[str, str]:
        """As the last world's kernel said."""
        bounds = self._bounds
        return {
            "processes": "cgroup" if bounds.processes else "RLIMIT_NPROC, counted per world",
            "memory": "cgroup and a watchdog, 100 ms"
            if bounds.memory
            else "a watchdog, 100 ms (this engine has no cgroup for it)",
            "disk": "sized tmpfs",
            "files": "a watchdog, 100 ms",
            "cpu": "time limits",
            "kernel calls": seccomp.held(engine=bounds.filtered),
        }


class ContainerBox:
    """One world's container; see :class:`~sekft_engine.worlds.box.Box`."""

    def __init__(self, engine: Engine, image: str, order: Order) -> None:
        self._engine = engine
        self._order = order
        self._name = f"sekft-{engine_id()}-{next(_numbers)}"
        self.killed: list[str] = []
        self.bounds = Bounds()
        self._closed = False
        self._words = os.memfd_create("sekft-words")
        self._process = subprocess.Popen(
            [*engine.command, *self._arguments(image)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            cwd="/",
            start_new_session=True,
        )
        self._line = Line(self._process, self._words)
        self._terminal = ContainerTerminal(self._line, self.killed)
        try:
            self._furnish()
        except BaseException:
            self.close()
            raise

    def _arguments(self, image: str) -> list[str]:
        limits, layout = self._order.limits, self._order.layout
        sizes = {"/home": limits.home_bytes, TMP: limits.tmp_bytes}
        sizes |= dict.fromkeys((LOCAL, *layout.trees), limits.other_bytes)
        if layout.etc:
            sizes["/etc"] = limits.other_bytes
        memory = limits.memory_bytes + sum(sizes.values()) + _SLACK
        out = ["run", "-i", "--rm", "--name", self._name, "--label", f"sekft.engine={engine_id()}"]
        # For the keeper only: to become the ordinary user, and to end what that one runs.
        out += [*COMMON, *(f"--cap-add={name}" for name in _KEEPERS)]
        for path, size in sizes.items():
            mode = "1777" if path == TMP else "0755"
            options = ("rw", "exec", "nosuid", "nodev", f"size={size}", f"mode={mode}")
            out += ["--tmpfs", mount(path, *options)]
        if self._engine.limits:
            pids = limits.nproc + _SPARE_PIDS
            out += ["--memory", str(memory), "--memory-swap", str(memory)]
            out += ["--pids-limit", str(pids)]
        return [*out, *self._engine.run_options, image, "/usr/bin/perl", "-e", _BOOT]

    def _furnish(self) -> None:
        """Start the keeper and give it the world's files."""
        keeper = importlib.resources.files("sekft_engine.worlds") / "keeper.pl"
        code = keeper.read_bytes()
        start_s = self._order.limits.start_s
        first = b"%08x" % len(code) + code + b"".join(self._frames()) + frame("G")
        self._line.send(first, start_s)
        self.bounds = Bounds.told(self._line.answer("r", start_s))
        if not self.bounds.processes and not self.bounds.own_users:
            raise WorldBroken(
                f"{self._engine.name} does not bound the number of processes here",
                where="sandbox",
                mend="let it use cgroups, or use bubblewrap",
            )
        if not self.bounds.filtered:
            seccomp.needed()

    def _frames(self) -> Iterator[bytes]:
        order = self._order
        layout, limits = order.layout, order.limits
        yield frame("P", packed(_settings(limits, layout.writable)))
        if layout.etc:
            # The mount hides the image's own: it is put back, then the bundle's files on it.
            yield from _etc(order.userland.root)
        yield _entry(Entry(HOME, None, "0755"), 0)
        yield from _filled(layout.entries, "/", UID)
        yield _entry(Entry(HOME, None, "0755"), UID)
        yield from _filled(layout.etc, "/", UID)
        yield from _filled(layout.local, LOCAL, 0)
        start = Marks(order.nonce).shell_start(layout.variables, _LOGIN)
        yield _entry(Entry(_START, start.encode("utf-8", "surrogateescape"), "0444"), 0)
        yield _entry(Entry(_LOGIN, encode_text(layout.login), "0444"), 0)

    def _variables(self, *more: tuple[str, str]) -> bytes:
        variables = VARIABLES | dict(more)
        return frame("V", packed(itertools.chain.from_iterable(variables.items())))

    # -- the session -------------------------------------------------------------------------

    def start_session(self) -> Terminal:
        words = packed([*_terminal_settings(), *self._order.userland.shell])
        orders = self._variables(("ENV", _START)) + frame("S", words)
        self._line.send(orders, self._order.limits.start_s)
        return self._terminal

    def watch(self) -> None:
        self._line.send(frame("W"), 5.0)

    def kill_session(self) -> None:
        self._line.send(frame("X"), 5.0)

    # -- the checker and the end -------------------------------------------------------------

    def check(self, seconds: float) -> tuple[int | None, bytes]:
        script = encode_text(self._order.checker)
        return self._run(script, seconds, 4 * self._order.limits.output_bytes)

    def listing(self, seconds: float) -> Listing | None:
        layout, mark = self._order.layout, self._order.seal
        paths = ("/home", TMP, *layout.trees, *(entry.path for entry in layout.etc))
        script = listing_script((("/", [path.lstrip("/") for path in paths]),), mark)
        status, printed = self._run(script.encode(), seconds, ROOM)
        return None if status is None else read_listing(printed, mark)

    def _run(self, script: bytes, seconds: float, room: int) -> tuple[int | None, bytes]:
        """Run ``script`` in a fresh process; its status and the last ``room`` bytes it printed."""
        self._line.output.clear()
        self._line.answers.pop("w", None)
        variables = self._variables(*self._order.layout.variables)
        self._line.send(variables + frame("C", script), 5.0)
        deadline = time.monotonic() + seconds
        while "c" not in self._line.answers:
            left = deadline - time.monotonic()
            if left <= 0:
                self.close()
                return None, bytes(self._line.output[-room:])
            self._line.receive(left)
            del self._line.output[: -2 * room]
        status, heard = int(self._line.answers.pop("c")), bytes(self._line.output[-room:])
        reason = self._line.answers.pop("w", None)
        return overdone(heard, reason.decode("ascii", "replace")) if reason else (status, heard)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._line.hang_up()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        if self._process.returncode:  # else --rm has done it
            self._engine.remove(self._name)
        self._line.close()
        os.close(self._words)


class ContainerTerminal:
    """See :class:`~sekft_engine.worlds.box.Terminal`."""

    def __init__(self, line: Line, killed: list[str]) -> None:
        self.ended_status: int | None = None
        self._line = line
        self._killed = killed

    def listen(self, seconds: float) -> bytes:
        if not self._line.output and self.ended_status is None:
            self._line.receive(seconds)
        got = bytes(self._line.output)
        self._line.output.clear()
        reason = self._line.answers.pop("w", None)
        if reason is not None:
            self._killed.append(reason.decode("ascii", "replace"))
        ended = self._line.answers.pop("e", None)
        if ended is not None:
            self.ended_status = int(ended)
        return got

    def write(self, data: bytes) -> None:
        self._line.send(frame("I", data), 5.0)

    def kill_foreground(self) -> bool:
        self._line.send(frame("K"), 5.0)
        return self._line.answer("k") == b"1"

    def restore(self) -> None:
        self._line.send(frame("R"), 5.0)


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


def _settings(limits: Limits, trees: tuple[str, ...]) -> list[str | bytes]:
    return [
        "uid", str(UID), "home", HOME, "trees", separated("\n", trees),
        "filter", seccomp.program() or b"",
        "as", str(limits.address_space), "fsize", str(limits.file_size),
        "cpu", str(limits.cpu_s), "nofile", str(limits.open_files),
        "nproc", str(limits.nproc), "memory", str(limits.memory_bytes),
        "inodes", str(limits.inodes),
    ]  # fmt: skip


def _terminal_settings() -> tuple[bytes, bytes]:
    """The kernel's termios and window size of a tamed terminal, as bytes."""
    master, slave = open_terminal()
    try:
        settings = fcntl.ioctl(slave, _TCGETS, b"\0" * 64)
        size = fcntl.ioctl(slave, termios.TIOCGWINSZ, b"\0" * struct.calcsize("HHHH"))
    finally:
        os.close(master)
        os.close(slave)
    return settings, size


def _entry(entry: Entry, owner: int) -> bytes:
    parts: list[str | bytes] = [entry.path, entry.mode, str(owner)]
    if entry.content is None:
        return frame("D", packed(parts))
    return frame("F", packed([*parts, entry.content]))


def _parents(path: str) -> Iterator[bytes]:
    """The folders above ``path`` that the world's own file systems may lack."""
    top = next((one for one in (HOME, TMP, LOCAL, "/etc") if path.startswith(f"{one}/")), "")
    top = top or "/" + path.split("/")[1]
    parts = path.removeprefix(top).strip("/").split("/")[:-1]
    for depth in range(1, len(parts) + 1):
        yield _entry(Entry(f"{top}/{'/'.join(parts[:depth])}", None, "0755"), 0)


def _etc(root: str) -> Iterator[bytes]:
    """The userland's own /etc. Its links are kept as links: followed here, they would show files
    of this machine."""
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
