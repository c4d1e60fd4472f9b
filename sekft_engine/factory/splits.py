"""The splits: which kinds of work, pairs of kinds and names each of them has, and their specs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Literal, TypeVar, get_args

import msgspec

from sekft_engine.data.scenario import Channel, DocDepth, Terminal
from sekft_engine.factory.archetypes import CHAIN, HELD_OUT, TRAINING, VALIDATION, training_kinds
from sekft_engine.factory.archetypes.filters import STAGES
from sekft_engine.factory.archetypes.stages import Filter, chain
from sekft_engine.factory.part import Archetype
from sekft_engine.factory.providers import CHANNELS, DEPTHS
from sekft_engine.factory.words import Share

T = TypeVar("T")
#: ``train``: where sessions are recorded; ``seen``: other worlds of the same kinds; ``valid``: for
#: choosing recipes; ``compositions``: held-out pairs of kinds that training has; ``primitives``:
#: kinds that training does not have.
Split = Literal["train", "seen", "valid", "compositions", "primitives"]
SPLITS: tuple[Split, ...] = get_args(Split)

#: Of nine worlds two are blocked (22 %).
_TERMINALS: tuple[Terminal, ...] = ("exit",) * 7 + ("panic",) * 2
#: Training has fewer: what is unknown in held-out worlds was given up too readily.
_TRAINING_TERMINALS: tuple[Terminal, ...] = ("exit",) * 6 + ("panic",)
#: Numbers of parts. Training has more: finding the directives costs most of a session's tokens, so
#: a session of four parts teaches the work at half the price.
_COUNTS = (1, 1, 1, 1, 2, 2, 2, 3, 3, 4)
_TRAINING_COUNTS = (1, 2, 2, 3, 3, 4, 4, 5, 6)
#: Why a world cannot be done. The reason shows only when something is tried or read.
BLOCKS = ("missing", "lacking", "readonly", "absent", "contradiction", "sealed")
#: What gets in the way although the work can be done, with the same first signs as the blocks.
TWISTS = (
    *("",) * 6,
    "elsewhere",
    "elsewhere",
    "nook",
    "nook",
    "program",
    "renamed",
    "closed",
    "misled",
    "harmless",
)
#: Mistakes on the way, which are context and not trained.
SLIPS = (*("",) * 9, "wrong", "wrong", "fails", "typo", "verb", "mistyped", *("miscopied",) * 3)
_LAST = ("count", "count-words", "join-lines", "number")


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """The properties of a world, from which it is composed.

    Attributes:
        archetypes: the kinds of its parts; two filters joined by ``+`` are a pipeline.
        block: why it cannot be done; empty = it can.
        twist: what gets in the way; empty = nothing.
        slip: the mistake that the recorded session makes; empty = none.
        core: of training's kinds, only the most usual ones are wanted.
    """

    id: str
    seed: str
    split: Split
    archetypes: tuple[str, ...]
    channel: Channel
    depth: DocDepth
    block: str = ""
    twist: str = ""
    slip: str = ""
    core: bool = False

    @property
    def archetype(self) -> str:
        """The archetype by which results are broken down."""
        first = self.archetypes[0]
        return CHAIN if "+" in first else first

    @property
    def terminal(self) -> Terminal:
        return "panic" if self.block else "exit"

    @property
    def share(self) -> Share:
        return share_of_split(self.split)


def share_of_split(split: Split) -> Share:
    """Whose words and wordings the worlds of ``split`` have."""
    match split:
        case "train" | "seen":
            return "train"
        case "valid":
            return "valid"
        case _:
            return "holdout"


def pair_share(first: str, second: str) -> Share:
    """Whose a pair of kinds in one world is: 25 % are held out, 12 % for validation."""
    byte = hashlib.sha256(f"{first}+{second}".encode()).digest()[0]
    return "holdout" if byte < 64 else "valid" if byte < 96 else "train"


_FILTERS: dict[str, Filter] = {each.name: each for each in STAGES}


def archetype(name: str) -> Archetype:
    """The archetype called ``name``, be it a pipeline of two filters."""
    first, plus, second = name.partition("+")
    if plus:
        return chain(_FILTERS[first], _FILTERS[second])
    return {**TRAINING, **VALIDATION, **HELD_OUT}[name]


def _chains(share: Share, known: Mapping[str, Archetype]) -> list[str]:
    """The pipelines of two filters that ``share`` has."""
    return [
        f"{first.name}+{second.name}"
        for first in STAGES
        for second in STAGES
        if first is not second
        and first.name in known
        and second.name in known
        and first.name not in _LAST
        and pair_share(first.name, second.name) == share
    ]


def _rounds(rng: Random, options: Sequence[T]) -> Iterator[T]:
    """``options`` again and again, each round in a new order, so that any prefix is balanced."""
    while True:
        round_ = list(options)
        rng.shuffle(round_)
        yield from round_


def specs(split: Split, count: int, seed: int, *, core: bool = False) -> list[Spec]:
    """The first ``count`` specs of ``split``; a longer list begins with the same ones.

    Args:
        split: one of :data:`SPLITS`.
        count: number of specs.
        seed: fixes all choices.
        core: of training's kinds, take only the most usual ones.
    """
    known = training_kinds(core=core)
    rng = Random(f"sekft:{seed}:{split}")  # noqa: S311 (reproducible, not secret)
    streams = [Random(rng.random()) for _ in range(9)]  # noqa: S311
    firsts = _rounds(streams[0], _first_kinds(split, known))
    chains = _rounds(streams[1], _chains(share_of_split(split), known))
    channels = _rounds(streams[2], CHANNELS)
    depths = _rounds(streams[3], DEPTHS)
    counts = _rounds(streams[4], _TRAINING_COUNTS if split == "train" else _COUNTS)
    terminals = _rounds(streams[5], _TRAINING_TERMINALS if split == "train" else _TERMINALS)
    blocks = _rounds(streams[6], BLOCKS)
    twists = _rounds(streams[7], TWISTS)
    slips = _rounds(streams[8], SLIPS)
    out = []
    for index in range(count):
        seed_text = f"sekft:{seed}:{split}:{index}"
        choice = Random(f"{seed_text}:kinds")  # noqa: S311
        first = next(firsts)
        first = next(chains) if first == CHAIN else first
        block = next(blocks) if next(terminals) == "panic" else ""
        twist = "" if block else next(twists)
        slip = next(slips) if split == "train" and not block else ""
        if twist == "renamed":
            first = choice.choice([name for name in _pool(split, first, known) if "tool-" in name])
        kinds = _kinds(choice, split, first, known, _parts(split, next(counts), block))
        spec = Spec(
            id="",
            seed=seed_text,
            split=split,
            archetypes=kinds,
            channel=next(channels),
            depth=next(depths),
            block=block,
            twist=twist,
            slip=slip,
            core=core,
        )
        name = f"{split}-{index:04d}-{spec.archetype}"
        out.append(msgspec.structs.replace(spec, id=name))
    return out


def _first_kinds(split: Split, kinds: Mapping[str, Archetype]) -> list[str]:
    """The kinds with which a world of ``split`` may begin, each as often as it should."""
    known = sorted(kinds)
    match split:
        case "train" | "seen":
            tools = [name for name in known if name.startswith("tool-")]
            # About one world in four begins with an invented program, and one in six with a
            # pipeline: to read a usage and to join two filters are skills, not kinds of work.
            tools *= max(1, len(known) // 10)
            return [*known, *tools, *[CHAIN] * (len(known) // 4)]
        case "valid":
            return [*[CHAIN] * 12, *known[::3], *sorted(VALIDATION) * 4]
        case "compositions":
            # A world of two parts or more begins with a known kind; one of one part is a pipeline.
            return [*[CHAIN] * len(known), *known]
        case "primitives":
            return sorted(HELD_OUT)


def _parts(split: Split, wanted: int, block: str) -> int:
    """How many parts a world has."""
    if split == "primitives":
        return min(wanted, 2)
    return min(wanted, 3) if block else wanted


def _pool(split: Split, first: str, known: Mapping[str, Archetype]) -> list[str]:
    """The kinds that may stand in a world of ``split`` with ``first``."""
    if split == "primitives":
        return sorted(HELD_OUT)
    return sorted(VALIDATION if first in VALIDATION else known)


def _kinds(
    rng: Random, split: Split, first: str, known: Mapping[str, Archetype], wanted: int
) -> tuple[str, ...]:
    """``first`` and further kinds, whose pairs belong to ``split``."""
    share, pool = share_of_split(split), _pool(split, first, known)
    kinds = [first]
    if split == "compositions" and "+" not in first:
        wanted = max(wanted, 2)
    while len(kinds) < wanted:
        last = kinds[-1].rpartition("+")[2]
        free = split == "primitives" or first in VALIDATION
        fits = [
            name for name in pool if name not in kinds and (free or pair_share(last, name) == share)
        ]
        if not fits:
            break
        kinds.append(rng.choice(fits))
    return tuple(kinds)
