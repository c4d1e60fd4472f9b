"""Names for generated worlds: files, folders, words, programs; held-out worlds have their own."""

from __future__ import annotations

import hashlib
from random import Random

from sekft_engine.episodes.clean import COMMANDS


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_WORDS = _listed("""
acorn almond amber anchor apple apron arrow aster bacon badge bagel bamboo banjo barley barn
basil basket beach beacon bean bell berry birch bishop blanket blossom boat bolt bonnet bottle
branch brass bread brick bridge broom brush bucket button cabin cactus camel candle canoe canvas
carpet carrot castle cedar cellar chain chalk cherry chess chimney cider cinder circus clay cliff
clover coal cobalt comet copper coral cork cotton crane crate creek cricket crown crystal cup
curtain daisy delta desert diamond dragon drum dune eagle ember engine falcon feather fern ferry
fiddle field flag flame flute forest fossil fox frost garden garlic gate ginger glacier glass
globe glove grain granite grape gravel guitar hammer harbor harp hazel hedge heron hinge honey
horn hotel island ivory jacket jasmine jewel jungle kettle kite knot ladder lagoon lake lamp
lantern laurel lava leaf lemon lever lily linen lizard lobster locket lotus magnet mango maple
marble market meadow melon mercury mill mint mirror mitten moon moss motor mountain nectar needle
nest nickel north nutmeg oak oasis ocean olive onion opal orange orchard orchid otter oyster
paddle palace palm panther paper parrot pasture pearl pebble pepper piano pigeon pillow pine
pistol planet plum pocket pond poppy potato prairie pumpkin puzzle quail quarry quartz rabbit
radish raft rain ranch raven reed ribbon river robin rocket rope rose ruby saddle saffron sail
salmon sand satin scarf shadow shell shovel silk silver slate snow spark spice spider spruce
squash stable star steel stone storm straw sugar summer sunset swan table tailor temple thistle
thunder tiger timber toast tomato topaz tower trail tree trout tulip tunnel turnip valley vanilla
velvet vessel violet violin wagon walnut water whale wheat wheel willow window winter wolf wood
wool yarn zebra zinc
""")
_KINDS = ("txt", "txt", "txt", "log", "list", "dat", "md", "csv")
_STARTS = _listed("b br c cl d dr f fl g gr h j k kl l m n p pl qu r s sk st t tr v w z")
_MIDDLES = _listed("a e i o u")
_ENDS = _listed("b ck d g l ll m n nd nk p r rn s sk st t x")
_TAILS = _listed("a o i er el in on us ix")
#: Verbs with which a provider may give its directives.
_FETCH = _listed("""
fetch pull next task orders show get give read open today work job brief plan todo duty ask
agenda list item start print tell say see view need want turn errand chore note call goal
""")
#: Its other verbs, and what its help says about them.
_OTHER = {
    "version": "print the version",
    "count": "count the users",
    "users": "show the list of users",
    "status": "say if the store is open",
    "about": "tell who wrote this",
    "age": "print how old the store is",
    "size": "print the size of the store",
    "check": "check the disk",
    "ping": "say that it lives",
    "owner": "show who runs this",
    "hello": "say hello",
    "stats": "print numbers of last week",
    "date": "print the date",
    "level": "print the water level",
    "color": "show the colours",
    "motto": "print the motto",
    "uptime": "print how long it runs",
    "mood": "tell how it feels",
    "rank": "print the rank of each user",
    "score": "print the score",
    "weather": "show the weather",
    "quote": "print a quote",
    "limit": "show the limits",
    "month": "print the month",
    "news": "print old news",
    "map": "draw the rooms",
    "bill": "print the last bill",
    "menu": "show what is for lunch",
    "keys": "count the keys",
}


def for_holdout(word: str) -> bool:
    """Whether a name is for held-out worlds: about one in four, by the name alone."""
    return hashlib.sha256(word.encode()).digest()[0] < 64


class Names:
    """Draws names for one scenario, no word twice.

    Args:
        rng: the scenario's own generator.
        holdout: draw from the names that no training world has.
    """

    def __init__(self, rng: Random, *, holdout: bool) -> None:
        self.rng = rng
        self._words = [word for word in _WORDS if for_holdout(word) == holdout]
        self._fetch = [word for word in _FETCH if for_holdout(word) == holdout]
        self._other = [word for word in _OTHER if for_holdout(word) == holdout]
        self._holdout = holdout
        rng.shuffle(self._words)

    def word(self) -> str:
        """A plain word."""
        return self._words.pop()

    def words(self, count: int) -> list[str]:
        return [self.word() for _ in range(count)]

    def file(self, kind: str = "") -> str:
        """A file name with an ending."""
        return f"{self.word()}.{kind or self.rng.choice(_KINDS)}"

    def program(self) -> str:
        """A made-up name for a program."""
        while True:
            pick = self.rng.choice
            name = pick(_STARTS) + pick(_MIDDLES) + pick(_ENDS)
            if self.rng.random() < 0.6:
                name += pick(_TAILS)
            taken = name in _WORDS or name in COMMANDS
            if len(name) >= 4 and not taken and for_holdout(name) == self._holdout:
                return name

    def fetch_verb(self) -> str:
        return self.rng.choice(self._fetch)

    def other_verbs(self, count: int) -> list[tuple[str, str]]:
        """Other verbs, each with what a help text says about it."""
        return [(verb, _OTHER[verb]) for verb in self.rng.sample(self._other, count)]
