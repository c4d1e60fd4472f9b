"""The scaffold: what a chat template writes around the contents of the turns.

Rendered once per number of turns with placeholders for the contents, and kept: normalised turns
alternate, so their number says everything about their roles.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import msgspec

from sekft_engine.render.guard import CLOSE, OPEN
from sekft_engine.render.normalise import Refused
from sekft_engine.render.template import ChatTemplate

#: A placeholder and its number.
PLACEHOLDER = re.compile(f"{OPEN}turn ([0-9]+){CLOSE}")


#: Scaffolds are kept up to so many parts in all, of some 8 bytes each.
_KEPT = 2_000_000

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """What was made for sessions of some numbers of turns, up to ``most`` turns in all; beyond,
    everything is forgotten, and made again when it is asked for. Safe to use from several threads.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[Key, Value] = {}
        self._turns = 0
        self._lock = threading.Lock()

    def get(self, key: Key, turns: int, make: Callable[[], Value]) -> Value:
        found = self._known.get(key)
        if found is None:
            found = make()
            with self._lock:
                if self._turns + turns > self._most:
                    self._known, self._turns = {}, 0
                self._known[key] = found
                self._turns += turns
        return found

    def forget(self) -> None:
        with self._lock:
            self._known, self._turns = {}, 0


class Scaffold(msgspec.Struct, frozen=True):
    """``parts[k]`` stands before the content of turn *k*; the last one closes the render."""

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
        self._kept: Kept[tuple[int, bool], Scaffold] = Kept(_KEPT)

    def get(self, turns: int, *, prompt: bool = False) -> Scaffold:
        """The scaffold of ``turns`` alternating turns, with the generation prompt if ``prompt``.

        Raises:
            Refused: the template refuses such a session, or moves or repeats its contents.
        """
        return self._kept.get((turns, prompt), turns, lambda: self.make(turns, prompt))

    def make(self, turns: int, prompt: bool = False) -> Scaffold:
        """The same, rendered anew and not kept."""
        text = self._template.render(messages(placeholders(turns)), add_generation_prompt=prompt)
        parts = PLACEHOLDER.split(text)
        # Parts and the numbers of the placeholders between them, in turns.
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
    """Contents that stand for any, told apart by their numbers."""
    return [f"{OPEN}turn {number}{CLOSE}" for number in range(turns)]


def messages(contents: Sequence[str]) -> list[dict[str, str]]:
    """``contents`` as the alternating messages that a chat template takes."""
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(contents)]
