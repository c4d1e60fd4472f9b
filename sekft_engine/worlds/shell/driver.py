"""Types lines into a session's shell and waits for its prompts, which a nonce identifies."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from sekft_engine.worlds.shell.box import SessionTerminal
from sekft_engine.worlds.shell.limits import Limits
from sekft_engine.worlds.shell.marks import Marks, PromptMark
from sekft_engine.worlds.shell.screen import Capture
from sekft_engine.worlds.shell.world import UNFINISHED, WorldBroken

#: Most bytes of a line: the kernel silently cuts longer lines of a terminal in canonical mode.
LONGEST_LINE = 4095
_GRACE_S = 1.0
_SETTLE_S = 0.03
#: Background jobs may never be quiet for that long.
_SETTLE_MOST_S = 0.5
_ROOM = 65536
#: More output than this without a pause is that of a background job that does not stop.
_ENDLESS = 16 * _ROOM
_CTRL_C = "\x03"
#: Seconds between checks for an interrupt while a command prints nothing.
_POLL_S = 0.25

Stop = Literal["prompt", "more", "ended", "timeout", "flood", "interrupted"]


class Report(msgspec.Struct, frozen=True):
    """The result of typing a command, in bytes.

    Attributes:
        head, gone, tail: the output; ``gone`` bytes between the two parts were dropped.
        stop: why reading stopped.
        status: the exit status; None where it is unknown.
        cwd: the working folder.
        panicked: there is the mark of ``panic`` in the output.
        exit_options: the shell's options at its mark of an end by ``exit``; None = no such mark.
        notes: as in :class:`~sekft_engine.worlds.shell.world.CommandResult`.
    """

    head: bytes
    gone: int
    tail: bytes
    stop: Stop
    status: int | None
    cwd: str
    panicked: bool
    exit_options: str | None
    notes: tuple[str, ...]


class ShellDriver:
    """Drives one interactive shell through its terminal.

    Args:
        terminal: of the session; not owned.
        kill: ends the whole session.
        marks: of this world's shell.
        limits: of the world.
    """

    def __init__(
        self, terminal: SessionTerminal, kill: Callable[[], None], marks: Marks, limits: Limits
    ) -> None:
        self._terminal = terminal
        self._kill = kill
        self._limits = limits
        self._marks = marks
        self._pending = b""
        self._forged = False  # the session printed a prompt itself
        self._was_interrupted = False  # the last command, which several prompts may answer
        self._interrupted = threading.Event()
        self.cwd = "/home/user"

    # -- the session's life ------------------------------------------------------------------

    @property
    def ended_status(self) -> int | None:
        return self._terminal.ended_status

    def wait_for_login(self) -> bytes:
        """The shell's output before its first prompt."""
        capture = Capture(_ROOM)
        stop, _ = self._await(capture, self._limits.start_s)
        head, _, tail = capture.parts()
        if stop != "prompt":
            said = (head + tail).decode("utf-8", "replace").strip()[-400:]
            raise WorldBroken(f"no prompt from the world's shell: {said or stop}", where="sandbox")
        return self._marks.clean(self._before_prompt(head + tail))

    def wait_for_end(self, seconds: float) -> bool:
        """Whether the session has ended within ``seconds``."""
        deadline = time.monotonic() + seconds
        capture = Capture(_ROOM)
        while self.ended_status is None and time.monotonic() < deadline:
            self._listen(capture, deadline - time.monotonic())
        return self.ended_status is not None

    # -- typing ------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """End the command that runs now as a time-out would; may be called from any thread."""
        self._interrupted.set()

    def type(self, command: str, seconds: float) -> Report:
        """Type ``command`` line by line, each after the prompt for it, and report what came."""
        capture = Capture(_ROOM)
        capture.add(self._pending)
        self._pending = b""
        self._interrupted.clear()
        notes: list[str] = []
        stop: Stop = "prompt"
        found: PromptMark | None = None
        # Output since the last prompt, of a background job, belongs to this command; a late second
        # prompt in it must not be taken for the answer.
        self._settle(capture, 0)
        before = self._prompts_in(capture)
        self._forged |= before > 0 and not self._was_interrupted
        self._was_interrupted = False
        if self.ended_status is not None:
            stop = "ended"
        deadline = time.monotonic() + seconds
        for line in command.split("\n") if stop != "ended" else ():
            stop, found = self._type_line(capture, line, deadline)
            if stop not in ("prompt", "more"):
                break
        if stop == "more":  # a quote, a here-document or an `if` that was never closed
            notes.append(UNFINISHED)
            stop, found = self._interrupt(capture, "more")
        elif stop in ("timeout", "flood", "interrupted"):
            notes.append(stop)
            stop, found = self._interrupt(capture, stop, notes)
        answers = self._prompts_in(capture) - before
        asked = command.count("\n") + 1 + command.count(_CTRL_C)
        self._forged |= answers > asked and not self._was_interrupted
        if self._forged:
            notes.append("forged prompt")
        status = None
        if found is not None and stop == "prompt":
            status = None if self._forged else found.status
            self._move(found.cwd)
        head, gone, tail = capture.parts()
        panicked = self._marks.panicked in head or self._marks.panicked in tail
        exit_options = self._marks.exit_options(tail or head)
        if stop == "prompt":
            if gone:
                tail = self._before_prompt(tail)
            else:
                head, tail = self._before_prompt(head + tail), b""
        return Report(
            self._marks.clean(head),
            gone,
            self._marks.clean(tail),
            stop,
            status if stop != "ended" else self.ended_status,
            self.cwd,
            panicked,
            exit_options,
            tuple(notes),
        )

    def _type_line(
        self, capture: Capture, line: str, deadline: float
    ) -> tuple[Stop, PromptMark | None]:
        """Type a line; each Ctrl-C in it discards what is before it and brings a prompt."""
        *dropped, rest = line.encode("utf-8", "replace").split(_CTRL_C.encode())
        for part in dropped:
            self._terminal.write(part + _CTRL_C.encode())
            left = deadline - time.monotonic()
            stop, found = self._await(capture, min(left, _GRACE_S))
            # No prompt comes where the session disabled the key (`stty -isig`).
            if stop not in ("prompt", "more") and not (stop == "timeout" and left > _GRACE_S):
                return stop, found
        self._terminal.write(rest + b"\n")
        return self._await(capture, deadline - time.monotonic())

    def _prompts_in(self, capture: Capture) -> int:
        head, gone, tail = capture.parts()
        parts = (head, tail) if gone else (head + tail,)
        return sum(1 for part in parts for _ in self._marks.prompts(part))

    def _interrupt(
        self, capture: Capture, stop: Stop, notes: list[str] | None = None
    ) -> tuple[Stop, PromptMark | None]:
        """Get the prompt back: Ctrl-C, kill the foreground group, re-open the prompt's output."""
        self._was_interrupted = True
        capture.add(b"^C")
        # A session may have disabled Ctrl-C (`stty -isig`): it would become a part of the next
        # command.
        self._terminal.restore()
        self._terminal.write(_CTRL_C.encode())
        found: PromptMark | None
        again, found = self._await(capture, _GRACE_S, interruptible=False)
        if again in ("timeout", "flood") and self._terminal.kill_foreground():
            if notes is not None:
                notes.append("killed")
            again, found = self._await(capture, _GRACE_S, interruptible=False)
        if again in ("timeout", "flood"):
            # There is a prompt, but the session closed or redirected the shell's stderr.
            self._terminal.restore()
            self._terminal.write(b"exec >/dev/tty 2>&1\n")
            again, found = self._await(capture, _GRACE_S, interruptible=False)
        self._terminal.restore()
        if again in ("prompt", "ended"):
            self._settle(capture, _SETTLE_S)
            return again, found
        self._kill()
        self.wait_for_end(5.0)
        if notes is not None:
            notes.append("shell stuck")
        return "ended", None

    # -- reading -----------------------------------------------------------------------------

    def _await(
        self, capture: Capture, seconds: float, *, interruptible: bool = True
    ) -> tuple[Stop, PromptMark | None]:
        """Read until a prompt, the end, a limit, or (where ``interruptible``) an interrupt."""
        deadline = time.monotonic() + max(seconds, 0.01)
        start = capture.total
        fresh = b""
        while True:
            if self.ended_status is not None:
                return "ended", None
            left = deadline - time.monotonic()
            if left <= 0:
                return "timeout", None
            if interruptible and self._interrupted.is_set():
                return "interrupted", None
            # Output of a background job may follow the prompt: search all of it.
            fresh += self._listen(capture, min(left, _POLL_S))
            found = self._marks.last_prompt(fresh)
            fresh = fresh[-2 * LONGEST_LINE :]
            if found is not None:
                return ("more" if found.more else "prompt"), found
            if capture.total - start > self._limits.flood_bytes:
                return "flood", None

    def _settle(self, capture: Capture, seconds: float) -> None:
        """Read until the terminal is quiet for ``seconds``, or a bound is reached."""
        start = capture.total
        until = time.monotonic() + _SETTLE_MOST_S
        while (
            self.ended_status is None
            and capture.total - start < _ENDLESS
            and time.monotonic() < until
            and self._listen(capture, seconds)
        ):
            pass

    def _listen(self, capture: Capture, seconds: float) -> bytes:
        got = self._terminal.listen(seconds)
        capture.add(got)
        return got

    def _before_prompt(self, data: bytes) -> bytes:
        """``data`` up to its last prompt; what follows belongs to the next command."""
        last = self._marks.last_prompt(data)
        if last is None:
            return data
        self._pending = data[last.end :]
        return data[: last.start]

    def _move(self, cwd: bytes) -> None:
        text = cwd.decode("utf-8", "replace")
        if text.startswith("/"):
            self.cwd = text
