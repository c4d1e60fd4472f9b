"""Puts a streamed chat completion together: server-sent events, each with a piece of the answer."""

from __future__ import annotations

from typing import Any

import msgspec

#: The media type of such an answer.
MEDIA_TYPE = "text/event-stream"
#: Fields of a message whose pieces are texts that follow each other.
_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")


class StreamedCompletion:
    """Takes the bytes of an answer as they come."""

    def __init__(self) -> None:
        self._held = b""
        self._message: dict[str, Any] = {}
        self._finish: Any = None
        self._usage: Any = None
        self._other: Any = None
        self._chunks = 0
        self.done = False  #: whether the server said that this was all

    @property
    def text(self) -> str:
        """The words so far."""
        found = self._message.get("content")
        return found if isinstance(found, str) else ""

    def feed(self, data: bytes) -> None:
        """Take in bytes."""
        *lines, self._held = (self._held + data).split(b"\n")
        for line in lines:
            self._take(line)

    def close(self) -> None:
        """There are no more bytes."""
        line, self._held = self._held, b""
        self._take(line)

    @property
    def whole(self) -> bool:
        """Whether the answer came to its end."""
        return self.done or self._finish is not None or self._other is not None

    def body(self) -> Any:
        """The answer as a server writes it without a stream."""
        if self._other is not None:
            return self._other
        if not self._chunks:
            return {}
        choice = {"index": 0, "message": self._message, "finish_reason": self._finish}
        return {"choices": [choice], "usage": self._usage}

    def _take(self, line: bytes) -> None:
        name, _, value = line.strip().partition(b":")
        value = value.strip()
        if name != b"data" or not value:
            return
        if value == b"[DONE]":
            self.done = True
            return
        try:
            chunk = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if not isinstance(chunk, dict):
            return
        if "choices" not in chunk or chunk.get("error"):  # an error in place of a piece
            self._other = chunk
            return
        self._chunks += 1
        self._usage = chunk.get("usage") or self._usage
        choices = chunk["choices"]
        choice = choices[0] if isinstance(choices, list) and choices else None
        if isinstance(choice, dict):
            self._add(choice)

    def _add(self, choice: dict[str, Any]) -> None:
        if choice.get("error"):
            self._other = {"choices": [choice]}
            return
        delta = choice.get("delta") or choice.get("message")
        for key, value in (delta if isinstance(delta, dict) else {}).items():
            if key in _TEXTS and isinstance(value, str):
                before = self._message.get(key)
                self._message[key] = (before if isinstance(before, str) else "") + value
            elif value:
                self._message[key] = value
        if choice.get("finish_reason") is not None:
            self._finish = choice["finish_reason"]
