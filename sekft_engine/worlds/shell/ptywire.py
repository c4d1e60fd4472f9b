"""A session's terminal on a pseudo-terminal (pty) of this machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable

from sekft_engine.worlds.shell.box import KILLED
from sekft_engine.worlds.shell.world import WorldBroken

_TIOCGSID = 0x5429  # the termios module has no name for it
_ROOM = 65536
_WRITE_S = 1.0


class PtyWire:
    """A pty's master and the holder's reports; see
    :class:`~sekft_engine.worlds.shell.box.SessionTerminal`.

    Args:
        master: our side of the pty; owned, closed by :meth:`close`.
        reports: the pipe in which the holder reports the session's end; not owned.
        seal: the beginning of the holder's reports.
        why_dead: where the holder died, the limit that the session exceeded; empty = none.
    """

    def __init__(
        self, master: int, reports: int, seal: str, why_dead: Callable[[], str] = lambda: ""
    ) -> None:
        self.ended_status: int | None = None
        self._master = master
        self._reports = reports
        self._why_dead = why_dead
        self._ending = re.compile(re.escape(seal.encode()) + rb" ended (\d+)\n")
        self._heard = b""
        os.set_blocking(master, False)
        os.set_blocking(reports, False)
        self._settings = termios.tcgetattr(master)

    def listen(self, seconds: float) -> bytes:
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        poll.register(self._reports, select.POLLIN)
        ready = dict(poll.poll(max(int(seconds * 1000), 0)))
        got = _read(self._master) if self._master in ready else b""
        if self._reports in ready:
            heard = _read(self._reports)
            if not heard and ready[self._reports] & select.POLLHUP:
                if self._why_dead():
                    self.ended_status = KILLED
                    return got
                said = self._heard.decode("utf-8", "replace").strip()
                raise WorldBroken(f"the sandbox died: {said or 'no word'}", where="sandbox")
            self._heard = (self._heard + heard)[-1024:]
            found = self._ending.search(self._heard)
            if found:
                while more := _read(self._master):
                    got += more
                self.ended_status = int(found[1])
        elif self._master in ready and not got and ready[self._master] & select.POLLHUP:
            time.sleep(0.001)  # nothing has the other end open; the report follows at once
        return got

    def write(self, data: bytes) -> None:
        poll = select.poll()
        poll.register(self._master, select.POLLOUT)
        deadline = time.monotonic() + _WRITE_S
        while data and time.monotonic() < deadline:
            poll.poll(100)
            with contextlib.suppress(OSError):
                data = data[os.write(self._master, data) :]

    def kill_foreground(self) -> bool:
        try:
            answer = fcntl.ioctl(self._master, termios.TIOCGPGRP, b"\0" * 4)
            group = struct.unpack("i", answer)[0]
            leader = self.leader_pid
        except OSError:
            return False
        if group <= 1 or group in (leader, os.getpgrp()):
            return False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
            return True
        return False

    def restore(self) -> None:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._master, termios.TCSANOW, self._settings)
            # Output of this side is the input that the session has not read.
            termios.tcflush(self._master, termios.TCOFLUSH)

    @property
    def leader_pid(self) -> int:
        """The shell's pid on this machine. Raises OSError where there is none."""
        buffer = fcntl.ioctl(self._master, _TIOCGSID, b"\0" * 4)
        return int(struct.unpack("i", buffer)[0])

    def close(self) -> None:
        if self._master >= 0:
            os.close(self._master)
        self._master = -1


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _ROOM)
    except OSError:  # EAGAIN, or EIO when nobody holds the other side
        return b""


def tame(descriptor: int) -> None:
    """Set up a session's terminal: no echo, no translation of newlines, 80 by 24."""
    settings = termios.tcgetattr(descriptor)
    settings[0] &= ~(termios.IXON | termios.IXOFF | termios.ICRNL | termios.INLCR)
    settings[1] &= ~termios.OPOST
    settings[3] &= ~(termios.ECHO | termios.ECHONL | termios.ECHOCTL | termios.IEXTEN)
    for key in (termios.VERASE, termios.VKILL, termios.VWERASE, termios.VREPRINT, termios.VLNEXT):
        settings[6][key] = b"\0"  # these bytes are data in a command, and edit nothing
    termios.tcsetattr(descriptor, termios.TCSANOW, settings)
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))


def open_terminal() -> tuple[int, int]:
    """A pty pair (master, slave), tamed."""
    master, slave = os.openpty()
    tame(slave)
    return master, slave
