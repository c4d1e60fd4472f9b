"""Job: one simple piece of work on files, with its solution and its judge."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from random import Random

import msgspec

from sekft_engine.factory.words import Names


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What an archetype makes.

    Attributes:
        text: the directive, a sentence or two.
        look: the path whose presence decides whether the work can be done.
        acts: the commands that do it.
        files: what stands in the world before, path -> content; a final ``/`` is a folder.
        checks: lines of sh, each of which must succeed afterwards.
        made: paths that a session that gave up must not have made.
    """

    text: str
    look: str
    acts: tuple[str, ...]
    files: dict[str, str]
    checks: tuple[str, ...]
    made: tuple[str, ...] = ()


class Desk:
    """What an archetype works with: a generator, names, and places for its files.

    Args:
        folder: where its files are, with a final ``/``; empty is the home.
        nook: a folder that does not exist, for what it makes; empty is ``folder``.
    """

    def __init__(self, rng: Random, names: Names, folder: str = "", nook: str = "") -> None:
        self.rng = rng
        self.names = names
        self.folder = folder
        self.nook = nook

    def pick(self, options: Iterable[str]) -> str:
        return self.rng.choice(list(options))

    def path(self, kind: str = "") -> str:
        """A fresh file in the desk's folder (or the home)."""
        return self.folder + self.names.file(kind)

    def target(self) -> str:
        """A file that the work is to make; its folder may not be there yet."""
        return (self.nook or self.folder) + self.names.file()

    def text(self, low: int = 3, high: int = 6) -> tuple[str, ...]:
        """Lines of one word each."""
        return tuple(self.names.words(self.rng.randint(low, high)))


def content(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def holds(path: str, lines: Iterable[str]) -> str:
    """A check: ``path`` holds exactly ``lines``."""
    listed = " ".join(shlex.quote(line) for line in lines)
    if not listed:
        return f"[ -f {path} ] && [ ! -s {path} ]"
    return f"printf '%s\\n' {listed} | cmp -s - {path}"


def absent(path: str) -> str:
    """A check: nothing is at ``path``."""
    return f"[ ! -e {path} ] && [ ! -L {path} ]"
