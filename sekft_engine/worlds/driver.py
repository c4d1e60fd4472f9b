"""The pty driver: types lines into the session's shell and waits for its nonce prompts."""

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
from typing import Literal

import msgspec

from sekft_engine.worlds.limits import Limits
from sekft_engine.worlds.screen import Capture
from sekft_engine.worlds.world import WorldBroken

#: The kernel cuts longer lines of a cooked terminal without a word.
LONGEST_LINE = 4095
_GRACE_S = 1.0
_SETTLE_S = 0.03
_TIOCGSID = 0x5429  # the termios module has no name for it
_ROOM = 65536

Stop = Literal["prompt", "more", "ended", "timeout", "flood"]


class Report(msgspec.Struct, frozen=True):
    """What typing one command came to, before it is put into words."""

    head: bytes
    gone: int
    tail: bytes
    stop: Stop
    status: int | None
    cwd: str
    panicked: bool
    notes: tuple[str, ...]


class ShellDriver:
    """Drives one interactive shell on a pty whose session lives in the holder.

    Args:
        master: our side of the pty; the driver owns and closes it.
        reports: the holder's report pipe, read for the end of the session; not owned.
        nonce: what makes the prompts of this world recognisable.
    """

    def __init__(self, master: int, reports: int, nonce: str, limits: Limits) -> None:
        self.master = master
        self._reports = reports
        self._limits = limits
        mark = re.escape(nonce.encode())
        self._prompt = re.compile(
            rb"\x01" + mark + rb"(?::(?P<status>\d+):(?P<cwd>[^\x02]*)|(?P<more>\+))\x02"
        )
        self._noise = re.compile(rb"\x01" + mark + rb"(?::\d+:[^\x02]*|\+|!)\x02")
        self._panic = b"\x01" + nonce.encode() + b"!\x02"
        self._ending = re.compile(mark + rb" ended (\d+)\n")
        self._pending = b""
        self._heard = b""
        self.cwd = "/home/user"
        self.ended_status: int | None = None
        self.leader: int | None = None
        os.set_blocking(master, False)
        os.set_blocking(reports, False)
        self._settings = termios.tcgetattr(master)

    # -- the session's life ------------------------------------------------------------------

    def wait_for_login(self) -> bytes:
        """What the shell printed before its first prompt."""
        capture = Capture(_ROOM)
        stop, _ = self._await(capture, self._limits.start_s)
        head, _, tail = capture.parts()
        if stop != "prompt":
            said = (head + tail).decode("utf-8", "replace").strip()[-400:]
            raise WorldBroken(f"no prompt from the world's shell: {said or stop}", where="sandbox")
        buffer = fcntl.ioctl(self.master, _TIOCGSID, b"\0" * 4)
        # A pidfd cannot come to mean another process later.
        self.leader = os.pidfd_open(struct.unpack("i", buffer)[0])
        return self._clean(self._before_prompt(head + tail))

    @property
    def leader_pid(self) -> int:
        """The shell's pid as this machine sees it."""
        buffer = fcntl.ioctl(self.master, _TIOCGSID, b"\0" * 4)
        return int(struct.unpack("i", buffer)[0])

    def kill(self) -> None:
        """Kill the session's first process; its pid namespace falls with it."""
        if self.leader is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.leader, signal.SIGKILL)

    def wait_for_end(self, seconds: float) -> bool:
        """Whether the session has ended within ``seconds``."""
        deadline = time.monotonic() + seconds
        capture = Capture(_ROOM)
        while self.ended_status is None and time.monotonic() < deadline:
            self._listen(capture, deadline - time.monotonic())
        return self.ended_status is not None

    def close(self) -> None:
        for descriptor in (self.master, self.leader):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
        self.master, self.leader = -1, None

    # -- typing ------------------------------------------------------------------------------

    def type(self, command: str, seconds: float) -> Report:
        """Type ``command`` line by line, each after the prompt for it."""
        capture = Capture(_ROOM)
        capture.add(self._pending)
        self._pending = b""
        notes: list[str] = []
        stop: Stop = "prompt"
        found: re.Match[bytes] | None = None
        # What came since the last prompt (a background job's words) belongs to what comes now;
        # a late second prompt in it must not be taken for the answer.
        self._settle(capture, 0)
        if self.ended_status is not None:
            stop = "ended"
        deadline = time.monotonic() + seconds
        for line in command.split("\n") if stop != "ended" else ():
            self._write(line.encode("utf-8", "replace") + b"\n")
            stop, found = self._await(capture, deadline - time.monotonic())
            if stop not in ("prompt", "more"):
                break
        if stop == "more":  # a quote, a here-document or an `if` that was never closed
            notes.append("unfinished command")
            stop, found = self._interrupt(capture, "more")
        elif stop in ("timeout", "flood"):
            notes.append("timeout" if stop == "timeout" else "flood")
            stop, found = self._interrupt(capture, stop, notes)
        status = None
        if found is not None and stop == "prompt":
            status = int(found["status"])
            self._move(found["cwd"])
        head, gone, tail = capture.parts()
        panicked = self._panic in head or self._panic in tail
        if stop == "prompt":
            if gone:
                tail = self._before_prompt(tail)
            else:
                head, tail = self._before_prompt(head + tail), b""
        return Report(
            self._clean(head),
            gone,
            self._clean(tail),
            stop,
            status if stop != "ended" else self.ended_status,
            self.cwd,
            panicked,
            tuple(notes),
        )

    def _interrupt(
        self, capture: Capture, stop: Stop, notes: list[str] | None = None
    ) -> tuple[Stop, re.Match[bytes] | None]:
        """Get the prompt back: Ctrl-C, kill the foreground group, re-open the prompt's output."""
        capture.add(b"^C")
        self._write(b"\x03")
        found: re.Match[bytes] | None
        again, found = self._await(capture, _GRACE_S)
        if again in ("timeout", "flood") and self._kill_foreground():
            if notes is not None:
                notes.append("killed")
            again, found = self._await(capture, _GRACE_S)
        if again in ("timeout", "flood"):
            # At a prompt that cannot be seen: someone closed or redirected the shell's stderr.
            self._restore_terminal()
            self._write(b"exec >/dev/tty 2>&1\n")
            again, found = self._await(capture, _GRACE_S)
        self._restore_terminal()
        if again in ("prompt", "ended"):
            self._settle(capture, _SETTLE_S)
            return again, found
        self.kill()
        self.wait_for_end(5.0)
        if notes is not None:
            notes.append("shell stuck")
        return "ended", None

    def _kill_foreground(self) -> bool:
        """SIGKILL to the terminal's foreground group, unless it is the shell's own."""
        try:
            group = struct.unpack("i", fcntl.ioctl(self.master, termios.TIOCGPGRP, b"\0" * 4))[0]
            leader = self.leader_pid
        except OSError:
            return False
        if group <= 1 or group in (leader, os.getpgrp()):
            return False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
            return True
        return False

    def _restore_terminal(self) -> None:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self.master, termios.TCSANOW, self._settings)

    # -- reading -----------------------------------------------------------------------------

    def _await(self, capture: Capture, seconds: float) -> tuple[Stop, re.Match[bytes] | None]:
        """Read until a prompt, the end, or a limit."""
        deadline = time.monotonic() + max(seconds, 0.01)
        start = capture.total
        fresh = b""
        while True:
            if self.ended_status is not None:
                return "ended", None
            left = deadline - time.monotonic()
            if left <= 0:
                return "timeout", None
            got = self._listen(capture, left)
            fresh = (fresh + got)[-2 * LONGEST_LINE :]
            found = self._last_prompt(fresh)
            if found is not None:
                return ("more" if found["more"] else "prompt"), found
            if capture.total - start > self._limits.flood_bytes:
                return "flood", None

    def _settle(self, capture: Capture, seconds: float) -> None:
        """Read until the terminal has been quiet for ``seconds``."""
        while self.ended_status is None and self._listen(capture, seconds):
            pass

    def _listen(self, capture: Capture, seconds: float) -> bytes:
        """Wait for output or the end of the session; returns what came from the terminal."""
        poll = select.poll()
        poll.register(self.master, select.POLLIN)
        poll.register(self._reports, select.POLLIN)
        ready = dict(poll.poll(max(int(seconds * 1000), 0)))
        got = b""
        if self.master in ready:
            got = self._read(self.master)
            capture.add(got)
        if self._reports in ready:
            heard = self._read(self._reports)
            if not heard and ready[self._reports] & select.POLLHUP:
                said = self._heard.decode("utf-8", "replace").strip()
                raise WorldBroken(f"the sandbox died: {said or 'no word'}", where="sandbox")
            self._heard = (self._heard + heard)[-1024:]
            found = self._ending.search(self._heard)
            if found:
                while more := self._read(self.master):
                    capture.add(more)
                    got += more
                self.ended_status = int(found[1])
        elif self.master in ready and not got and ready[self.master] & select.POLLHUP:
            time.sleep(0.001)  # the terminal has no other end left; the report follows at once
        return got

    @staticmethod
    def _read(descriptor: int) -> bytes:
        try:
            return os.read(descriptor, _ROOM)
        except OSError:  # EAGAIN, or EIO when nobody holds the other side
            return b""

    def _write(self, data: bytes) -> None:
        poll = select.poll()
        poll.register(self.master, select.POLLOUT)
        deadline = time.monotonic() + _GRACE_S
        while data and time.monotonic() < deadline:
            poll.poll(100)
            with contextlib.suppress(OSError):
                data = data[os.write(self.master, data) :]

    def _before_prompt(self, data: bytes) -> bytes:
        """``data`` up to its last prompt; what follows belongs to the next command."""
        last = self._last_prompt(data)
        if last is None:
            return data
        self._pending = data[last.end() :]
        return data[: last.start()]

    def _last_prompt(self, data: bytes) -> re.Match[bytes] | None:
        last = None
        for match in self._prompt.finditer(data):
            last = match
        return last

    def _clean(self, data: bytes) -> bytes:
        return self._noise.sub(b"", data)

    def _move(self, cwd: bytes) -> None:
        text = cwd.decode("utf-8", "replace")
        if text.startswith("/"):
            self.cwd = text


def open_terminal() -> tuple[int, int]:
    """A pty pair (master, slave) as the driver wants it: no echo, no rewriting of newlines."""
    master, slave = os.openpty()
    settings = termios.tcgetattr(slave)
    settings[0] &= ~(termios.IXON | termios.IXOFF | termios.ICRNL | termios.INLCR)
    settings[1] &= ~termios.OPOST
    settings[3] &= ~(termios.ECHO | termios.ECHONL | termios.ECHOCTL | termios.IEXTEN)
    for key in (termios.VERASE, termios.VKILL, termios.VWERASE, termios.VREPRINT, termios.VLNEXT):
        settings[6][key] = b"\0"  # such bytes in a command are data, not editing
    termios.tcsetattr(slave, termios.TCSANOW, settings)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    return master, slave
