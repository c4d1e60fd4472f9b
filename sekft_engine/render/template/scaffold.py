"""The scaffold: what a chat template writes around the contents of the turns.

It is rendered once per number of turns, with placeholders for the contents, and cached: normalised
turns alternate, so their number determines their roles.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import msgspec

from sekft_engine.render.template.guard import CLOSE, OPEN
from sekft_engine.render.template.normalise import Refused
from sekft_engine.render.template.template import ChatTemplate

#: A placeholder and its number.
PLACEHOLDER = re.compile(f"{OPEN}turn ([0-9]+){CLOSE}")


#: Scaffolds are cached up to so many parts in all, of some 8 bytes each.
_CACHED_PARTS = 2_000_000

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class TurnCache(Generic[Key, Value]):
    """A cache of values that take memory in proportion to a number of turns. Thread-safe.

    Args:
        limit: total number of turns; beyond it, the cache is emptied.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: dict[Key, Value] = {}
        self._turns = 0
        self._lock = threading.Lock()

    def get(self, key: Key, turns: int, make: Callable[[], Value]) -> Value:
        """The value of ``key``; made and cached if there is none.

        Args:
            key: what it is found by.
            turns: how many turns it counts for.
            make: makes it.
        """
        found = self._values.get(key)
        if found is None:
            found = make()
            with self._lock:
                if self._turns + turns > self._limit:
                    self._values, self._turns = {}, 0
                self._values[key] = found
                self._turns += turns
        return found

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self._values, self._turns = {}, 0


class Scaffold(msgspec.Struct, frozen=True):
    """The text around the contents of *n* turns.

    Attributes:
        parts: *n* + 1 texts; ``parts[k]`` precedes the content of turn *k*, the last one ends the
            render.
    """

    parts: tuple[str, ...]

    def fill(self, contents: Sequence[str]) -> str:
        """The text with ``contents`` between the parts."""
        return fill(self.parts, contents)


def fill(parts: Sequence[str], contents: Sequence[str]) -> str:
    """The text of ``parts`` with ``contents`` between them."""
    out = [parts[0]]
    for content, part in zip(contents, parts[1:], strict=True):
        out += (content, part)
    return "".join(out)


class Scaffolds:
    """The scaffolds of one chat template, for sessions of any number of turns."""

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template
        self._cache: TurnCache[tuple[int, bool], Scaffold] = TurnCache(_CACHED_PARTS)

    def get(self, turns: int, *, prompt: bool = False) -> Scaffold:
        """The scaffold of ``turns`` alternating turns.

        Args:
            turns: how many.
            prompt: whether to add the generation prompt.

        Raises:
            Refused: the template refuses such a session, or moves or repeats its contents.
        """
        return self._cache.get((turns, prompt), turns, lambda: self.make(turns, prompt))

    def make(self, turns: int, prompt: bool = False) -> Scaffold:
        """The same, rendered anew and not cached."""
        text = self._template.render(messages(placeholders(turns)), add_generation_prompt=prompt)
        parts = PLACEHOLDER.split(text)
        # Parts and the numbers of the placeholders between them alternate.
        shown, expected = parts[1::2], [str(number) for number in range(turns)]
        if shown != expected:
            missing = next(
                (number for number in expected if shown.count(number) != 1), "out of order"
            )
            raise Refused(
                "template_rewrites_content",
                f"the chat template does not show each of {turns} turns once, in order "
                f"(turn {missing})",
                where=self._template.where,
            )
        # The same few parts stand in thousands of scaffolds.
        return Scaffold(tuple(map(sys.intern, parts[::2])))


def placeholders(turns: int) -> list[str]:
    """``turns`` placeholder contents, each with its number."""
    return [f"{OPEN}turn {number}{CLOSE}" for number in range(turns)]


def messages(contents: Sequence[str]) -> list[dict[str, str]]:
    """``contents`` as the alternating messages that a chat template takes."""
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(contents)]


def written_content(
    template: ChatTemplate, scaffold: Scaffold, contents: Sequence[str], turn: int
) -> str | None:
    """What the template writes for the content of ``turn``, with plain words in the others."""
    plain = ["x"] * len(contents)
    head = fill(scaffold.parts[: turn + 1], plain[:turn])
    tail = fill(scaffold.parts[turn + 1 :], plain[turn + 1 :])
    plain[turn] = contents[turn]
    text = template.render(messages(plain), add_generation_prompt=True)
    if not (text.startswith(head) and text.endswith(tail) and len(text) >= len(head) + len(tail)):
        return None
    return text[len(head) : len(text) - len(tail)]
