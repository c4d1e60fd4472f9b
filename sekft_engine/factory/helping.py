"""How a world tells which program does a part: a hint, a manual page, or a list of tools."""

from __future__ import annotations

from random import Random

import msgspec

from sekft_engine.data.scenario import Fixture
from sekft_engine.data.world_paths import MAN_PAGES
from sekft_engine.factory.archetypes.tools import other_purposes
from sekft_engine.factory.names import Names
from sekft_engine.factory.part import Page, Part
from sekft_engine.factory.words import wordings

#: How a directive names the program, without its usage.
_HINTS = (" ({tool})", ", use {tool}", " using {tool}", " by {tool}", " with {tool}", " via {tool}")
#: How it says where to read of it.
_SEE = (
    " (see {ask})",
    ". {ask} tells how",
    ", {ask} explains the way",
    " ({tool} does it: {ask})",
    ". For that there is {tool}, try {ask}",
    ", with {tool}. Read {ask} first",
    " ({ask} helps)",
    ", {ask} says how",
)
#: How it points to the list of tools.
_LISTED = (
    " (see {file})",
    ". {file} names a program for it",
    ", {file} lists what helps",
    ", with a program of {file}",
    ". The right tool stands in {file}",
    " (tools: {file})",
    ", look into {file} for the tool",
    " ({file} has the program)",
)
_FILES = ("TOOLS", "HELPERS", "PROGRAMS", "tools.txt", "COMMANDS", "helpers.txt", "KIT", "AIDS")
_HEADERS = {
    "help": (
        "each has --help",
        "call any with --help",
        "usage: by --help",
        "they know --help",
        "try --help on them",
        "--help shows how",
    ),
    "man": (
        "each has a page: man NAME",
        "read man NAME for any",
        "usage: by man NAME",
        "man NAME explains each",
        "try man NAME",
        "man NAME shows how",
    ),
}


class Helped(msgspec.Struct, frozen=True):
    """A part whose program a session can get to know.

    Attributes:
        part: with its directive complete.
        asks: the commands that ask.
        way: ``""``, ``hint``, ``see`` or ``list``.
    """

    part: Part
    asks: tuple[str, ...] = ()
    way: str = ""


class HelpDesk:
    """Decides for each part of a world how its program gets known, and collects the files for that.

    Args:
        rng: the world's own generator.
        names: gives unused names.
    """

    def __init__(self, rng: Random, names: Names) -> None:
        self._rng = rng
        self._names = names
        self._listed: list[Page] = []
        self._pages: dict[str, list[Page]] = {}
        self._file = rng.choice(list(wordings(_FILES, names.share)))
        # A page of a usual program is short here; its own --help is not.
        self._mode = "man" if rng.random() < 0.5 else "help"
        self._read = False

    def help(self, part: Part, *, new: bool, named: bool = False) -> Helped:
        """Add a way to the program of ``part``.

        Args:
            part: the work.
            new: a session cannot know the program otherwise, or is not meant to.
            named: the directive names an invented program.
        """
        page, draw = part.page, self._rng.random()
        if page is None:
            return Helped(part)
        invented = bool(part.scripts)
        if not new and draw < 0.5:
            return Helped(part)
        if not new and draw < 0.82:
            if page.name in part.text.replace("(", " ").split():
                return Helped(part)
            return self._say(part, _HINTS, (), "hint", tool=page.name)
        mode = self._mode if invented else "man"
        ask = f"man {page.name}" if mode == "man" else f"{page.name} --help"
        if mode == "man":
            self._pages.setdefault(page.name, []).append(page)
        if not named and self._rng.random() < 0.5 and (invented or self._mode == "man"):
            self._listed.append(page)
            asks = (ask,) if self._read else (f"cat {self._file}", ask)
            self._read = True
            return self._say(part, _LISTED, asks, "list", file=self._file)
        return self._say(part, _SEE, (ask,), "see", ask=ask, tool=page.name)

    def _say(
        self, part: Part, options: tuple[str, ...], asks: tuple[str, ...], way: str, **fields: str
    ) -> Helped:
        said = self._rng.choice(list(wordings(options, self._names.share))).format(**fields)
        return Helped(msgspec.structs.replace(part, text=part.text + said), asks, way)

    def forget(self, name: str) -> None:
        """Leave the manual page of ``name`` out; a list still names it."""
        self._pages.pop(name, None)

    def fixtures(self) -> list[Fixture]:
        """The list of tools and the manual pages."""
        out = []
        for name, pages in self._pages.items():
            first = pages[0]
            usage = dict.fromkeys(line for page in pages for line in page.usage)
            merged = Page(name, first.purpose, tuple(usage))
            out.append(Fixture(path=f"{MAN_PAGES}/{name}", content=merged.text()))
        if self._listed:
            lines = {f"{page.name}: {page.purpose}" for page in self._listed}
            known = {page.purpose for page in self._listed}
            others = [each for each in other_purposes(self._names.share) if each not in known]
            for purpose in self._rng.sample(others, min(len(others), self._rng.randint(1, 2))):
                lines.add(f"{self._names.program()}: {purpose}")
            ordered = sorted(lines)
            self._rng.shuffle(ordered)
            header = self._rng.choice(list(wordings(_HEADERS[self._mode], self._names.share)))
            text = "".join(f"{line}\n" for line in [header, *ordered])
            out.append(Fixture(path=self._file, content=text))
        return out
