"""The connection to a container's keeper: frames over the pipes of the container client."""

from __future__ import annotations

import os
import select
import struct
import subprocess
import time
from collections.abc import Iterable

from sekft_engine.worlds.shell.world import WorldBroken

_ROOM = 65536
_ANSWER_S = 5.0


def frame(kind: str, payload: bytes = b"") -> bytes:
    return kind.encode() + struct.pack(">I", len(payload)) + payload


def packed(parts: Iterable[bytes | str]) -> bytes:
    """A list of strings as the keeper unpacks it."""
    raw = (p.encode("utf-8", "surrogateescape") if isinstance(p, str) else p for p in parts)
    return b"".join(struct.pack(">I", len(part)) + part for part in raw)


class KeeperConnection:
    """Sends frames to a keeper, and sorts its answers.

    Args:
        process: the client; its stdin and stdout are pipes, owned and closed here.
        words: a descriptor of the file that takes its stderr, for error messages; not owned.
    """

    def __init__(self, process: subprocess.Popen[bytes], words: int) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("the client needs pipes")
        self._process = process
        self._words = words
        self._in, self._out = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._raw = bytearray()
        self.output = bytearray()
        #: Number of bytes of output so far, with those that are no longer in ``output``.
        self.printed = 0
        self.answers: dict[str, bytes] = {}

    def send(self, data: bytes, seconds: float) -> None:
        """Raises WorldBroken where the container does not take it in time."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._in, select.POLLOUT)
        poll.register(self._out, select.POLLIN)
        left = memoryview(data)
        while left:
            wait = deadline - time.monotonic()
            if wait <= 0:
                raise WorldBroken(f"the container does not answer: {self.said()}", where="sandbox")
            ready = dict(poll.poll(int(wait * 1000) + 1))
            if ready.get(self._out, 0) & select.POLLIN:
                self._read()
            if self._in in ready:
                try:
                    left = left[os.write(self._in, left[:_ROOM]) :]
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise self.dead() from error

    def receive(self, seconds: float) -> None:
        """Wait for frames; returns at the first, or after ``seconds``."""
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        if poll.poll(max(int(seconds * 1000), 0)):
            self._read()

    def answer(self, kind: str, seconds: float = _ANSWER_S) -> bytes:
        """The payload of the next frame of ``kind``; output is collected meanwhile."""
        deadline = time.monotonic() + seconds
        while kind not in self.answers:
            left = deadline - time.monotonic()
            if left <= 0:
                raise WorldBroken(f"the container does not answer: {self.said()}", where="sandbox")
            self.receive(left)
        return self.answers.pop(kind)

    def _read(self) -> None:
        try:
            data = os.read(self._out, 4 * _ROOM)
        except BlockingIOError:
            return
        if not data:
            raise self.dead()
        self._raw += data
        while len(self._raw) >= 5:
            size = int.from_bytes(self._raw[1:5], "big")
            if len(self._raw) < 5 + size:
                break
            kind, payload = chr(self._raw[0]), bytes(self._raw[5 : 5 + size])
            del self._raw[: 5 + size]
            if kind == "o":
                self.output += payload
                self.printed += size
            elif kind == "!":
                said = payload.decode("utf-8", "replace").strip()
                raise WorldBroken(f"the world's keeper failed: {said}", where="sandbox")
            else:
                self.answers[kind] = payload

    def dead(self) -> WorldBroken:
        return WorldBroken(f"the container ended: {self.said()}", where="sandbox")

    def said(self) -> str:
        """The end of the client's error output."""
        try:
            size = os.fstat(self._words).st_size
            text = os.pread(self._words, 2000, max(0, size - 2000)).decode("utf-8", "replace")
        except OSError:
            text = ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return (lines[-1] if lines else "no word")[-400:]

    def hang_up(self) -> None:
        """End the orders: the keeper exits, and its container with it."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def close(self) -> None:
        self.hang_up()
        if self._process.stdout is not None:
            self._process.stdout.close()
