"""A part: one simple piece of work, with its solution, its checks and ways to look at it.

An archetype is a function that makes a part from random choices, with its wordings beside it. A
world has one part or several.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from random import Random

import msgspec

from sekft_engine.data.scenario import Fixture
from sekft_engine.factory.names import Names
from sekft_engine.factory.words import Share, wordings


class Page(msgspec.Struct, frozen=True):
    """What a manual page says of a program.

    Attributes:
        name: the program.
        purpose: what it is for, without its name, such as ``double each line``.
        usage: one line per form; words in capitals stand for arguments.
    """

    name: str
    purpose: str
    usage: tuple[str, ...]

    def text(self) -> str:
        lines = "".join(f"usage: {line}\n" for line in self.usage)
        return f"{self.name} - {self.purpose}\n{lines}"


class Gap(msgspec.Struct, frozen=True):
    """What makes a part impossible.

    Attributes:
        shown_by: commands whose output shows it; none where the directive itself does.
        reason: what is given to ``panic``.
    """

    shown_by: tuple[str, ...]
    reason: str


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of work that an archetype makes.

    Attributes:
        fields: values for the wording.
        acts: the commands that do the work.
        files: fixtures, path -> content; a path with a final ``/`` is a folder.
        checks: lines of sh, each of which must succeed after the work.
        source: the file or folder that the work reads or changes; empty = none.
        made: paths that the work makes, and that must not exist where it was given up.
        looks: commands to look at the input, of which a session uses one or none.
        verifies: commands to look at the result, of which a session uses one or none.
        slips: commands a beginner might type instead of the first act, which leave a wrong result
            that ``verifies`` show and ``acts`` repair.
        fails: commands a beginner might type instead, which fail with an error.
        scripts: programs in the world, path -> text.
        page: the manual page of the program that the first act runs; None = it is well known.
        gap: where the work is impossible, why.
        text: the directive; made from the wordings where it is empty.
    """

    fields: dict[str, str]
    acts: tuple[str, ...]
    files: dict[str, str]
    checks: tuple[str, ...]
    source: str = ""
    made: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()
    verifies: tuple[str, ...] = ()
    slips: tuple[str, ...] = ()
    fails: tuple[str, ...] = ()
    scripts: dict[str, str] = {}
    page: Page | None = None
    gap: Gap | None = None
    text: str = ""

    def fixtures(self) -> list[Fixture]:
        """The files of the world that the part needs."""
        plain = [
            Fixture(path=path, content=text, mode="0755" if path.endswith("/") else "0644")
            for path, text in self.files.items()
        ]
        programs = [
            Fixture(path=path, content=text, mode="0755") for path, text in self.scripts.items()
        ]
        return [*plain, *programs]


class Desk:
    """The random choices of an archetype: wordings, names, contents, and paths for its files.

    Args:
        rng: the world's own generator.
        names: gives unused names.
        folder: of its files, with a final ``/``; empty = the home.
        nook: a folder that does not exist, for the files that the work makes; empty = ``folder``.
        lacking: make a part that is impossible since its input lacks what is asked for, where the
            archetype can.
    """

    def __init__(
        self,
        rng: Random,
        names: Names,
        folder: str = "",
        nook: str = "",
        *,
        lacking: bool = False,
    ) -> None:
        self.rng = rng
        self.names = names
        self.folder = folder
        self.nook = nook
        self.lacking = lacking

    @property
    def share(self) -> Share:
        return self.names.share

    def pick(self, options: Iterable[str]) -> str:
        return self.rng.choice(list(options))

    def say(self, options: Sequence[str], more: Sequence[str] = ()) -> str:
        """One of the wordings that this world may use; ``more`` are for training only."""
        own = wordings(options, self.share)
        return self.rng.choice([*own, *more] if self.share == "train" else list(own))

    def number(self, low: int, high: int) -> int:
        return self.rng.randint(low, high)

    def word(self) -> str:
        return self.names.word()

    def words(self, count: int) -> list[str]:
        return self.names.words(count)

    def path(self, kind: str = "") -> str:
        """The path of a new file in :attr:`folder`."""
        return self.folder + self.names.file(kind)

    def target(self, kind: str = "") -> str:
        """The path of a file that the work makes; its folder may not exist yet."""
        return (self.nook or self.folder) + self.names.file(kind)

    def subfolder(self) -> str:
        """The path of a folder in :attr:`folder`, without a final ``/``."""
        return self.folder + self.names.folder()

    def lines(self, low: int = 3, high: int = 5) -> list[str]:
        """Lines of one or two words, or of a word and a number."""
        count = self.number(low, high)
        match self.rng.choice("wwwwpn"):
            case "p":
                return [f"{self.word()} {self.word()}" for _ in range(count)]
            case "n":
                return [f"{self.word()} {self.number(1, 99)}" for _ in range(count)]
            case _:
                return self.words(count)


Maker = Callable[[Desk], Part]


class Archetype(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of work.

    Attributes:
        name: of the archetype.
        make: makes a part of it.
        wordings: directives with the fields of a part in braces; the last ones are held out.
        more: further wordings, for training only.
        page: of the program it teaches; None = the part has its own, or needs none.
        can_lack: whether :attr:`Desk.lacking` makes an impossible part.
        share: the worlds that have it. One that training does not have has no held-out wordings.
    """

    name: str
    make: Maker
    wordings: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    page: Page | None = None
    can_lack: bool = False
    share: Share = "train"

    def part(self, desk: Desk) -> Part:
        """A part with its directive."""
        made = self.make(desk)
        if not made.text:
            own = self.share != "train"
            wording = desk.pick(self.wordings) if own else desk.say(self.wordings, self.more)
            made = msgspec.structs.replace(made, text=wording.format(**made.fields))
        return msgspec.structs.replace(made, page=made.page or self.page)


def work(
    name: str, *wordings: str, page: Page | None = None, can_lack: bool = False
) -> Callable[[Maker], Archetype]:
    """Declare the function below as the archetype ``name`` with its wordings."""

    def declare(make: Maker) -> Archetype:
        return Archetype(name=name, make=make, wordings=wordings, page=page, can_lack=can_lack)

    return declare


def content(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def quoted(path: str) -> str:
    """``path`` as it is typed."""
    return shlex.quote(path)


def holds(path: str, lines: Iterable[str]) -> str:
    """A check: ``path`` holds exactly ``lines``."""
    listed = " ".join(shlex.quote(line) for line in lines)
    if not listed:
        return f"[ -f {quoted(path)} ] && [ ! -s {quoted(path)} ]"
    return f"printf '%s\\n' {listed} | cmp -s - {quoted(path)}"


def absent(path: str) -> str:
    """A check: there is nothing at ``path``."""
    return f"[ ! -e {quoted(path)} ] && [ ! -L {quoted(path)} ]"


def reading(path: str) -> tuple[str, ...]:
    """Commands to look at a short file before something is done with it.

    They are others than those that show a result: a small model that sees ``cat`` in both places
    takes its look at the input for the end of the work.
    """
    return (f"head {path}", f"head {path}", f"wc -l {path}", f"ls {path}")


def showing(path: str) -> tuple[str, ...]:
    """Commands to look at a short file that was just made."""
    return (f"cat {path}", f"cat {path}", f"cat {path}", f"cat {path}", f"tail {path}")
