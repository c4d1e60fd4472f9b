"""A task: one simple piece of work on files, with its solution and its checks."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from random import Random

import msgspec

from sekft_engine.factory.words import Names


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of work that an archetype makes.

    Attributes:
        text: the directive, a sentence or two.
        look: the path that must exist for the work to be possible.
        acts: the commands that do the work.
        files: the fixtures, path -> content; a path with a final ``/`` is a folder.
        checks: lines of sh, each of which must succeed after the work.
        made: paths that must not exist after a session that gave up.
    """

    text: str
    look: str
    acts: tuple[str, ...]
    files: dict[str, str]
    checks: tuple[str, ...]
    made: tuple[str, ...] = ()


class Desk:
    """The random choices of an archetype: phrases, names, and paths for its files.

    Args:
        rng: the scenario's own generator.
        names: gives unused names.
        folder: of its files, with a final ``/``; empty = the home.
        nook: a folder that does not exist, for the files that the work makes; empty = ``folder``.
    """

    def __init__(self, rng: Random, names: Names, folder: str = "", nook: str = "") -> None:
        self.rng = rng
        self.names = names
        self.folder = folder
        self.nook = nook

    def pick(self, options: Iterable[str]) -> str:
        return self.rng.choice(list(options))

    def path(self, kind: str = "") -> str:
        """The path of a new file in :attr:`folder`."""
        return self.folder + self.names.file(kind)

    def target(self) -> str:
        """The path of a file that the work makes; its folder may not exist yet."""
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
    """A check: there is nothing at ``path``."""
    return f"[ ! -e {path} ] && [ ! -L {path} ]"
