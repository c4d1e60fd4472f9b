"""The bubblewrap backend: a holder sandbox with the world's files, and sandboxes within it."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import time

import msgspec

from sekft_engine.worlds.bubblewrap import cgroups, watchdog
from sekft_engine.worlds.bubblewrap.holder import File, HolderPlan, plan
from sekft_engine.worlds.bubblewrap.launcher import (
    Bubblewrap,
    find_bubblewrap,
    launch,
    memory_file,
)
from sekft_engine.worlds.bubblewrap.orphans import kill_first_process_of, sweep
from sekft_engine.worlds.bubblewrap.processes import inside
from sekft_engine.worlds.shell import seccomp
from sekft_engine.worlds.shell.box import BoxSpec, SessionTerminal, over_limit
from sekft_engine.worlds.shell.ptywire import PtyWire, open_terminal
from sekft_engine.worlds.shell.world import WorldBroken
from sekft_engine.worlds.trees.listing import ROOM, TreeListing, read_listing
from sekft_engine.worlds.trees.userland import find_userland


class BubblewrapMaker:
    """Makes boxes with one bwrap program; see :class:`~sekft_engine.worlds.shell.box.BoxMaker`."""

    name = "bubblewrap"

    def __init__(self, prefer: str = "") -> None:
        """Raises Unavailable where there is no bwrap; ``prefer`` as in ``find_bubblewrap``."""
        self.bwrap = find_bubblewrap(prefer)
        self.version = self.bwrap.version

    def open(self, order: BoxSpec) -> BubblewrapBox:
        sweep()
        return BubblewrapBox(order, self.bwrap)

    def try_bare(self) -> None:
        """Do nothing: a whole world can always be tried with the host's own userland."""

    def holds(self) -> dict[str, str]:
        cgroup = cgroups.find()
        return {
            "processes": "RLIMIT_NPROC, counted per world",
            "memory": f"{cgroup.label} and a watchdog"
            if cgroup
            else f"a watchdog, {watchdog.INTERVAL_S * 1000:.0f} ms (no cgroup may be made here)",
            "disk": "sized tmpfs",
            "files": f"a watchdog, {watchdog.INTERVAL_S * 1000:.0f} ms",
            "cpu": "time limits",
            "kernel calls": seccomp.held(),
        }


class BubblewrapBox:
    """One world's holder; see :class:`~sekft_engine.worlds.shell.box.Box`."""

    def __init__(self, order: BoxSpec, bwrap: Bubblewrap) -> None:
        self._limits, self._trees = order.limits, order.layout.writable
        self._nonce, self._seal = order.nonce, order.seal
        self.killed: list[str] = []
        self._closed = False
        self._wire: PtyWire | None = None
        self._watch: watchdog.Watchdog | None = None
        self._group: cgroups.ControlGroup | None = None
        self._first = 0  # the holder's first process
        self._init: int | None = None
        self._session_init: int | None = None  # a pidfd, which never refers to another process
        self._lost = ""  # the limit for which the kernel killed the holder
        self._process: subprocess.Popen[bytes] | None = None
        self._orders = self._reports = -1
        try:
            self._hold(plan(order, bwrap=bwrap, own=find_userland()), bwrap)
        except BaseException:
            self.close()
            raise

    def _hold(self, planned: HolderPlan, bwrap: Bubblewrap) -> None:
        """Start the holder, and wait until bubblewrap has reported its first process."""
        with contextlib.ExitStack() as stack:
            orders_read, self._orders = os.pipe()
            self._reports, reports_write = os.pipe()
            facts_read, facts_write = os.pipe()
            _owned(stack, facts_read)
            with contextlib.ExitStack() as theirs:
                for descriptor in (orders_read, reports_write, facts_write):
                    _owned(theirs, descriptor)
                master, slave = open_terminal()
                _owned(theirs, slave)
                self._wire = PtyWire(master, self._reports, self._seal, self._why_dead)
                passed: list[int] = [facts_write]
                arguments: list[str] = ["--json-status-fd", str(facts_write)]
                for part in planned.arguments:
                    if isinstance(part, File):
                        passed.append(_owned(theirs, memory_file(part.content)))
                        arguments.append(str(passed[-1]))
                    else:
                        arguments.append(part)
                self._process = launch(
                    bwrap,
                    arguments,
                    list(planned.command),
                    stdin=orders_read,
                    stdout=slave,
                    stderr=reports_write,
                    pass_fds=tuple(passed),
                )
            # Their ends are closed here by now, so a bwrap that dies early ends the reading.
            self._know_init(facts_read)

    def _know_init(self, facts: int) -> None:
        """Get a pidfd of the holder's first process, with which every process of the world ends."""
        poll = select.poll()
        poll.register(facts, select.POLLIN)
        text = b""
        while b"\n" not in text and poll.poll(int(self._limits.start_s * 1000)):
            more = os.read(facts, 4096)  # bwrap writes it in pieces
            if not more:
                break
            text += more
        with contextlib.suppress(msgspec.DecodeError, ProcessLookupError):
            fact = msgspec.json.decode(text.split(b"\n")[0])
            self._first = int(fact["child-pid"])
            self._init = os.pidfd_open(self._first)
            self._bound(self._first)
            return
        self._end_process()
        with contextlib.suppress(OSError):
            said = os.read(self._reports, 4096).decode("utf-8", "replace").strip()
            raise WorldBroken(
                f"bubblewrap did not start: {said or 'no word'}",
                where="sandbox",
                mend="run sekft doctor",
            )
        raise WorldBroken("bubblewrap did not start", where="sandbox", mend="run sekft doctor")

    def _bound(self, first: int) -> None:
        """Bound the holder's memory, and with it that of everything that it starts later."""
        self._group = cgroups.make(self._limits)
        if self._group is not None:
            try:
                self._group.add(first)
            except OSError:  # the watchdog alone bounds it then
                self._group.remove()
                self._group = None

    # -- the session -------------------------------------------------------------------------

    def start_session(self) -> SessionTerminal:
        if self._wire is None:
            raise WorldBroken("the world is closed", where="sandbox")
        self._order("session")
        return self._wire

    def watch(self) -> None:
        try:
            pid = inside(self._first)
            if pid is None:
                raise ProcessLookupError
            self._session_init = os.pidfd_open(pid)
            self._watch = watchdog.watch(lambda: pid, self._trees, self._limits, self.killed.append)
        except OSError as error:
            raise WorldBroken("the session ended at login", where="sandbox") from error

    def kill_session(self) -> None:
        """Kill the session's first process: the kernel kills all others of its namespace."""
        if self._session_init is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._session_init, signal.SIGKILL)

    def _why_dead(self) -> str:
        """The limit that the session exceeded, where the kernel killed the holder; else empty."""
        if not self._lost and self._group is not None and self._group.killed_any():
            self._lost = "memory"
            self.killed.append(self._lost)
        return self._lost

    def _order(self, order: str) -> None:
        try:
            os.write(self._orders, order.encode() + b"\n")
        except OSError as error:
            raise WorldBroken("the sandbox died", where="sandbox") from error

    # -- the checker and the end -------------------------------------------------------------

    def check(self, seconds: float) -> tuple[int | None, bytes]:
        if self._watch is not None:
            self._watch.stop()
        if self._lost:
            return over_limit(b"", self._lost)
        first, reasons = self._first, list[str]()
        left = watchdog.files_in(f"/proc/{first}/root/world", self._trees)
        self._watch = watchdog.watch(
            lambda: inside(first), self._trees, self._limits, reasons.append, left
        )
        try:
            status, heard = self._report("check", "checked", seconds, 4 * self._limits.output_bytes)
        except WorldBroken:
            # Kernel memory of a session may outlive it, and leave the checker none.
            if self._group is None or not self._group.killed_any():
                raise
            reasons.append("memory")
            heard, status = b"", None
        self._watch.stop()
        return over_limit(heard, reasons[0]) if reasons else (status, heard)

    def listing(self, seconds: float) -> TreeListing | None:
        status, heard = self._report("list", "listed", seconds, ROOM)
        return None if status is None else read_listing(heard, self._seal)

    def _report(self, order: str, done: str, seconds: float, room: int) -> tuple[int | None, bytes]:
        """Send an order to the holder.

        Args:
            order: for the holder.
            done: the word of its report.
            seconds: the time limit.
            room: most bytes of output.

        Returns:
            The status, None where the time was up, and the last ``room`` bytes of output.
        """
        self._order(order)
        # Nothing inside knows the seal, so a checker cannot print a false report.
        sealed = rb"\n?" + self._seal.encode()
        end = re.compile(sealed + b" (" + done.encode() + rb"|broken) (\d+)\n")
        heard, total = bytearray(), 0
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._reports, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            if not poll.poll(int(left * 1000) + 1):
                break
            with contextlib.suppress(BlockingIOError):
                data = os.read(self._reports, 65536)
                if not data:
                    raise WorldBroken("the sandbox died", where="sandbox")
                heard += data
                total += len(data)
                del heard[:-room]
                tail = max(0, len(heard) - len(data) - 2 * len(end.pattern))
                if found := end.search(heard, tail):
                    said = bytes(heard[: found.start()])
                    if found[1] == b"broken":
                        words = said.decode("utf-8", "replace").strip()[-400:]
                        raise WorldBroken(f"no sandbox for the checker: {words}", where="sandbox")
                    return int(found[2]), said
                if total > max(room, self._limits.flood_bytes):
                    self.close()
                    return over_limit(bytes(heard), "output")
        self.close()
        return None, bytes(heard)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._watch is not None:
            self._watch.stop()
        if self._init is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init, signal.SIGKILL)
            poll = select.poll()
            poll.register(self._init, select.POLLIN)
            poll.poll(5000)
            os.close(self._init)
        if self._session_init is not None:
            os.close(self._session_init)
        self._end_process()
        if self._group is not None:
            self._group.remove()
        for descriptor in (self._orders, self._reports):
            if descriptor >= 0:
                os.close(descriptor)
        if self._wire is not None:
            self._wire.close()

    def _end_process(self) -> None:
        if self._process is None:
            return
        if self._init is None:
            kill_first_process_of(self._process.pid)
        self._process.kill()
        self._process.wait(10)


def _owned(stack: contextlib.ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor
