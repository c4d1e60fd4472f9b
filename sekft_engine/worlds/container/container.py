"""The podman and docker backends: a container for each world, with a trusted keeper as its pid 1.

Everything goes through the standard streams of one ``run -i``: there is no exec per command, no
file of the host is mounted, and the engine may be remote. When this process dies, in whichever way,
the container's stdin ends, the keeper exits, and the container is removed.
"""

from __future__ import annotations

import fcntl
import importlib.resources
import itertools
import os
import struct
import subprocess
import termios
import time

import msgspec

from sekft_engine.data.world_paths import TMP, encode_text
from sekft_engine.worlds.container.engines import (
    ContainerEngine,
    ensure_image,
    find_engine,
    sweep_containers,
    try_bare,
    working,
)
from sekft_engine.worlds.container.frames import KeeperConnection, frame, packed
from sekft_engine.worlds.container.start import (
    START,
    furniture,
    run_command,
    variables,
)
from sekft_engine.worlds.shell import seccomp
from sekft_engine.worlds.shell.box import BoxSpec, SessionTerminal, over_limit
from sekft_engine.worlds.shell.engine_id import engine_id
from sekft_engine.worlds.shell.marks import LAUNCH_PATH
from sekft_engine.worlds.shell.ptywire import open_terminal
from sekft_engine.worlds.shell.world import WorldBroken
from sekft_engine.worlds.trees.listing import (
    ROOM,
    TreeListing,
    listing_script,
    read_listing,
)

_UNBOUNDED = 1 << 60  # the kernel's value for no limit is near 1 << 63
_TCGETS = 0x5401
_numbers = itertools.count()


class Bounds(msgspec.Struct, frozen=True):
    """What bounds a container according to its kernel: an engine may accept a limit and ignore it.

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
    def parse(cls, facts: bytes) -> Bounds:
        pids, memory, own, mode = (*facts.decode("utf-8", "replace").split("\n"), *4 * [""])[:4]
        bounded = memory.isdigit() and int(memory) < _UNBOUNDED
        return cls(pids.isdigit(), bounded, own == "1", mode == "2")


class ContainerMaker:
    """Makes boxes with podman or docker; see :class:`~sekft_engine.worlds.shell.box.BoxMaker`."""

    def __init__(self, name: str) -> None:
        """Raises Unavailable where ``name`` is not there or does not run containers."""
        self.name = name
        self.engine = find_engine(name)
        self.version = self.engine.version
        self._bounds = Bounds()

    def try_bare(self) -> None:
        try_bare(self.engine)

    def open(self, order: BoxSpec) -> ContainerBox:
        sweep_containers(self.engine)
        image = ensure_image(self.engine, order.userland)
        self.engine = working(self.engine, image)
        box = ContainerBox(self.engine, image, order)
        self._bounds = box.bounds
        return box

    def holds(self) -> dict[str, str]:
        """As reported by the kernel of the last world."""
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
    """One world's container; see :class:`~sekft_engine.worlds.shell.box.Box`."""

    def __init__(self, engine: ContainerEngine, image: str, order: BoxSpec) -> None:
        furnished = b"".join(furniture(order))  # raises before anything runs
        self._engine = engine
        self._order = order
        self._name = f"sekft-{engine_id()}-{next(_numbers)}"
        self.killed: list[str] = []
        self.bounds = Bounds()
        self._closed = False
        self._words = os.memfd_create("sekft-words")
        self._process = subprocess.Popen(
            run_command(engine, image, self._name, order),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            cwd="/",
            start_new_session=True,
        )
        self._line = KeeperConnection(self._process, self._words)
        self._terminal = ContainerTerminal(self._line, self.killed)
        try:
            self._furnish(furnished)
        except BaseException:
            self.close()
            raise

    def _furnish(self, furnished: bytes) -> None:
        """Start the keeper and give it the world's files."""
        keeper = importlib.resources.files("sekft_engine.worlds.container") / "keeper.pl"
        code = keeper.read_bytes()
        start_s = self._order.limits.start_s
        first = b"%08x" % len(code) + code + furnished + frame("G")
        self._line.send(first, start_s)
        self.bounds = Bounds.parse(self._line.answer("r", start_s))
        if not self.bounds.processes and not self.bounds.own_users:
            raise WorldBroken(
                f"{self._engine.name} does not bound the number of processes here",
                where="sandbox",
                mend="let it use cgroups, or use bubblewrap",
            )
        if not self.bounds.filtered:
            seccomp.needed()

    # -- the session -------------------------------------------------------------------------

    def start_session(self) -> SessionTerminal:
        shell = self._order.userland.shell
        words = packed([*_terminal_settings(), f"/usr/bin/{shell[0]}", *shell])
        orders = variables((("PATH", LAUNCH_PATH), ("ENV", START))) + frame("S", words)
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

    def listing(self, seconds: float) -> TreeListing | None:
        layout, mark = self._order.layout, self._order.seal
        paths = ("/home", TMP, *layout.trees, *(entry.path for entry in layout.etc))
        script = listing_script((("/", [path.lstrip("/") for path in paths]),), mark)
        status, printed = self._run(script.encode(), seconds, ROOM)
        return None if status is None else read_listing(printed, mark)

    def _run(self, script: bytes, seconds: float, room: int) -> tuple[int | None, bytes]:
        """Run ``script`` in a fresh process.

        Returns:
            Its status, None where the time was up, and the last ``room`` bytes of output.
        """
        self._line.output.clear()
        self._line.answers.pop("w", None)
        self._line.send(variables(self._order.layout.variables) + frame("C", script), 5.0)
        deadline = time.monotonic() + seconds
        most = self._line.printed + max(room, self._order.limits.flood_bytes)
        while "c" not in self._line.answers:
            left = deadline - time.monotonic()
            if self._line.printed > most:
                self.close()
                return over_limit(bytes(self._line.output[-room:]), "output")
            if left <= 0:
                self.close()
                return None, bytes(self._line.output[-room:])
            self._line.receive(left)
            del self._line.output[: -2 * room]
        status, heard = int(self._line.answers.pop("c")), bytes(self._line.output[-room:])
        reason = self._line.answers.pop("w", None)
        return over_limit(heard, reason.decode("ascii", "replace")) if reason else (status, heard)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._line.close()  # both directions: a client that cannot write does not exit
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        if self._process.returncode:  # else --rm has removed it
            self._engine.remove(self._name)
        os.close(self._words)


class ContainerTerminal:
    """See :class:`~sekft_engine.worlds.shell.box.SessionTerminal`."""

    def __init__(self, line: KeeperConnection, killed: list[str]) -> None:
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
