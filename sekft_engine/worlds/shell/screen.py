"""The output of a command, bounded in memory: its beginning and its end."""

from __future__ import annotations

MARK = "[... {count} bytes left out ...]"


class Capture:
    """Collects the output of one command; beyond ``room`` bytes the middle is dropped and counted.

    The newest ``room`` bytes are always complete, and so is a prompt mark at the end.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.total = 0
        self._head = b""
        self._tail = bytearray()

    def add(self, data: bytes) -> None:
        self.total += len(data)
        if len(self._head) < self.room:
            take = self.room - len(self._head)
            self._head += data[:take]
            data = data[take:]
        self._tail += data
        if len(self._tail) > 4 * self.room:
            del self._tail[: -2 * self.room]

    def parts(self) -> tuple[bytes, int, bytes]:
        """The beginning, the number of bytes left out after it, and the end."""
        gone = self.total - len(self._head) - len(self._tail)
        return self._head, gone, bytes(self._tail)


def cut(head: bytes, gone: int, tail: bytes, limit: int) -> tuple[str, bool]:
    """At most ``limit`` bytes as text, with a mark for what is left out.

    Returns:
        The text, and whether something was left out.
    """
    if not gone and len(head) + len(tail) <= limit:
        return (head + tail).decode("utf-8", "replace"), False
    whole = head + tail if not gone else b""
    front = (whole or head)[: limit // 2]
    back = (whole or tail or head)[-(limit - limit // 2) :]
    left_out = len(head) + gone + len(tail) - len(front) - len(back)
    mark = MARK.format(count=left_out)
    text = front.decode("utf-8", "replace")
    return f"{text}\n{mark}\n{back.decode('utf-8', 'replace')}", True
