"""Draws names for one world: words, files in many shapes, programs. No name comes twice."""

from __future__ import annotations

from random import Random

from sekft_engine.episodes.clean import COMMANDS
from sekft_engine.factory.words import (
    DOMAINS,
    ENDS,
    FETCH,
    KINDS,
    MIDDLES,
    OTHER,
    STARTS,
    TAILS,
    WORDS,
    Share,
    share_of,
)

#: Shapes of file names: ``a`` and ``b`` are words, ``n`` and ``y`` numbers. Small models copy the
#: usual shape well and others badly, so all of them occur.
_SHAPES = (
    *("{a}",) * 8,
    *("{a}-{b}", "{a}_{b}", "{a}{n}", "{a}-{n}") * 2,
    "{A}",
    "{A}{B}",
    "{y}-{a}",
    "{a}.v{n}",
    "{a}-{b}-{n}",
    "{UP}_{n}",
)
#: What syllables can make by chance, and no program in a data set should be called.
_COARSE = ("cock", "cunt", "dick", "fuck", "piss", "shit", "slut")


class Names:
    """Draws names for one world.

    Args:
        rng: the world's own generator.
        share: whose names; see :func:`~sekft_engine.factory.words.share_of`.
    """

    def __init__(self, rng: Random, share: Share) -> None:
        self.rng = rng
        self.share = share
        domain = rng.choice(list(DOMAINS))
        mine = [word for word in WORDS if share_of(word) == share]
        first = [word for word in mine if word in DOMAINS[domain]]
        rest = [word for word in mine if word not in DOMAINS[domain]]
        rng.shuffle(first)
        rng.shuffle(rest)
        self._words = rest + first
        self._fetch = [word for word in FETCH if share_of(word) == share]
        self._other = [word for word in OTHER if share_of(word) == share]
        self._programs: set[str] = set()

    def word(self) -> str:
        """A plain word."""
        return self._words.pop()

    def words(self, count: int) -> list[str]:
        return [self.word() for _ in range(count)]

    def number(self, low: int = 2, high: int = 99) -> int:
        return self.rng.randint(low, high)

    def stem(self) -> str:
        """A file name without its ending, in one of many shapes."""
        shape = self.rng.choice(_SHAPES)
        a = self.word()
        b = self.word() if "{b}" in shape or "{B}" in shape else ""
        return shape.format(
            a=a,
            b=b,
            A=a.capitalize(),
            B=b.capitalize(),
            UP=a.upper(),
            n=self.number(),
            y=self.number(2001, 2029),
        )

    def file(self, kind: str = "") -> str:
        """A file name with an ending."""
        return f"{self.stem()}.{kind or self.rng.choice(KINDS)}"

    def folder(self) -> str:
        """A folder's name."""
        return self.stem() if self.rng.random() < 0.3 else self.word()

    def program(self) -> str:
        """A made-up name for a program."""
        while True:
            pick = self.rng.choice
            name = pick(STARTS) + pick(MIDDLES) + pick(ENDS)
            if self.rng.random() < 0.6:
                name += pick(TAILS)
            taken = name in WORDS or name in COMMANDS or name in self._programs
            coarse = any(word in name for word in _COARSE)
            if len(name) < 4 or taken or coarse or share_of(name) != self.share:
                continue
            self._programs.add(name)
            if self.rng.random() < 0.2:
                name += pick(("-ctl", "2", "_run", "-7"))
            return name

    def fetch_verb(self) -> str:
        return self.rng.choice(self._fetch)

    def other_verbs(self, count: int) -> list[tuple[str, str]]:
        """Other verbs, each with what a help text says about it."""
        return [(verb, OTHER[verb]) for verb in self.rng.sample(self._other, count)]
