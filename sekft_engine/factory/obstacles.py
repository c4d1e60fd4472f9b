"""What makes a world impossible, and what only looks so.

The first signs are the same on both sides, so no single error decides: a file that is not found may
lie elsewhere, a folder may be made, a program may have another name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random

import msgspec

from sekft_engine.data.scenario import Fixture
from sekft_engine.factory.archetypes import HELD_OUT, VALIDATION
from sekft_engine.factory.helping import HelpDesk, Helped
from sekft_engine.factory.names import Names
from sekft_engine.factory.part import Archetype, Desk, Part, content
from sekft_engine.factory.session import Step
from sekft_engine.factory.words import wordings

_BIN = "/usr/local/bin"
#: Pairs of directives of which only one can be followed.
_CONTRADICTIONS = (
    ("Delete {a}", "{a} must stay where it is, unchanged"),
    ("Write the word {w} and nothing else into {t}", "The file {t} must be empty"),
    ("Rename {a} to {t}", "{a} has to keep its name"),
    ("Make the file {t} with the line {w}", "There must be no file {t}"),
    ("Append {w} to {a}", "Do not change {a}"),
    ("Copy {a} to {t}", "{t} must not exist"),
    ("Remove the file {a}", "The file {a} is to be kept"),
    ("Move {a} to {t}", "Nothing may be done to {a}"),
)
_CONFLICTS = (
    "the directives contradict each other",
    "contradiction about {x}",
    "conflicting directives on {x}",
)


class Blocked(msgspec.Struct, frozen=True):
    """Work that cannot be done.

    Attributes:
        texts: the directives.
        files: fixtures.
        commands: what shows that it is impossible.
        reason: what is given to ``panic``.
        made: paths that must not exist afterwards.
    """

    texts: list[str]
    files: list[Fixture]
    commands: list[str]
    reason: str
    made: tuple[str, ...] = ()


def contradiction(desk: Desk) -> Blocked:
    """Two directives of which only one can be followed."""
    one, two = desk.rng.choice(list(wordings(_CONTRADICTIONS, desk.share)))
    a, t, w = desk.path(), desk.target(), desk.word()
    texts = [one.format(a=a, t=t, w=w), two.format(a=a, t=t, w=w)]
    if desk.rng.random() < 0.3:
        texts.reverse()
    reason = desk.say(_CONFLICTS).format(x=a if a in texts[0] and a in texts[1] else t)
    looks = [f"ls {a}"] if desk.rng.random() < 0.2 and a in " ".join(texts) else []
    files = [Fixture(path=a, content=content(desk.words(2)))]
    return Blocked(texts, files, looks, reason)


def block(
    cause: str,
    kind: Archetype,
    known: Mapping[str, Archetype],
    desk: Desk,
    help_desk: HelpDesk,
) -> Blocked:
    """Work of ``kind`` that ``cause`` makes impossible, or of another kind where it cannot.

    Args:
        cause: one of :data:`~sekft_engine.factory.splits.BLOCKS`.
        kind: the archetype that is wanted.
        known: training's archetypes, to choose another from.
        desk: of the world.
        help_desk: of the world.
    """
    own = {"train": known, "valid": VALIDATION, "holdout": HELD_OUT}[kind.share]
    match cause:
        case "lacking":
            if not kind.can_lack:
                kind = desk.rng.choice([each for each in known.values() if each.can_lack])
            lacking = Desk(desk.rng, desk.names, desk.folder, lacking=True)
            part = kind.part(lacking)
            if part.gap is None:
                raise AssertionError(f"{kind.name} cannot lack anything")
            return Blocked(
                [part.text], part.fixtures(), list(part.gap.shown_by), part.gap.reason, part.made
            )
        case "readonly":
            nook = f"/usr/local/{desk.pick(('lib', 'share', 'etc', 'src'))}/{desk.word()}/"
            part = _writing(kind, known, desk, nook)
            files = [*part.fixtures(), Fixture(path=f"{nook}{desk.names.file()}", content="x\n")]
            commands = [desk.pick(part.looks)] if desk.rng.random() < 0.4 and part.looks else []
            return Blocked(
                [part.text],
                files,
                [*commands, part.acts[0]],
                f"{part.made[0]} is read-only",
                part.made,
            )
        case "absent":
            tools = [each for each in own.values() if "tool" in each.name]
            part = desk.rng.choice(tools).part(desk)
            helped = help_desk.help(part, new=True)
            asks = list(helped.asks)
            name = part.page.name if part.page else ""
            text = helped.part.text
            bare = msgspec.structs.replace(part, scripts={})
            help_desk.forget(name)
            return Blocked(
                [text],
                bare.fixtures(),
                [*asks, f"ls {_BIN}"],
                f"{name} is not installed",
                part.made,
            )
        case _:
            part = _reading(kind, known, desk)
            name = part.source.rpartition("/")[2]
            look = desk.pick([look for look in part.looks if part.source in look] or part.acts)
            files = [
                fixture
                for fixture in part.fixtures()
                if fixture.path.rstrip("/") != part.source
                and not fixture.path.startswith(f"{part.source}/")
            ]
            return Blocked(
                [part.text], files, [look, f"find . -name {name}"], f"{name} is missing", part.made
            )


def _reading(kind: Archetype, known: Mapping[str, Archetype], desk: Desk) -> Part:
    """A part of ``kind`` that reads one input, or of a kind that does."""
    part = kind.part(desk)
    while not part.source or " " in part.source or not part.looks:
        part = desk.rng.choice([*known.values()]).part(desk)
    return part


def _writing(kind: Archetype, known: Mapping[str, Archetype], desk: Desk, nook: str) -> Part:
    """A part of ``kind`` that makes a file in ``nook``, or of a kind that does."""
    inner = Desk(desk.rng, desk.names, desk.folder, nook)
    part = kind.part(inner)
    while (
        not part.made
        or not part.made[0].startswith(nook)
        or part.scripts
        or len(part.acts) > 1
        or "||" in part.acts[0]
    ):
        part = desk.rng.choice([*known.values()]).part(inner)
    return part


Sessions = Callable[[list[Step]], list[Step]]


def in_the_way(
    twist: str, helped: Helped, nook: str, rng: Random, names: Names
) -> tuple[Part, tuple[str, ...], tuple[str, ...], Sessions]:
    """Put ``twist`` in the way of a part that can be done all the same.

    Args:
        twist: one of :data:`~sekft_engine.factory.splits.TWISTS`.
        helped: the part, with how its program gets known.
        nook: the missing folder of its results; empty = none.
        rng, names: of the world.

    Returns:
        The part, commands in place of a look, commands that ask, and what to do with the steps.
    """
    part, asks = helped.part, helped.asks
    match twist:
        case "elsewhere" if _may_move(part):
            folder = names.folder()
            moved = f"{folder}/{part.source}"
            look = rng.choice([each for each in part.looks if part.source in each])
            return (
                _moved(part, moved),
                (look, f"find . -name {part.source.rpartition('/')[2]}"),
                asks,
                no_change,
            )
        case "nook" if any(path.startswith(nook) for path in part.made) and len(part.acts) == 1:
            make = f"mkdir {nook.rstrip('/')}"
            act = part.acts[0]

            def with_folder(steps: list[Step]) -> list[Step]:
                at = next(n for n, step in enumerate(steps) if step.command == act)
                return [*steps[: at + 1], Step(make), *steps[at:]]

            return msgspec.structs.replace(part, slips=(), fails=()), (), asks, with_folder
        case "program" if not part.scripts and part.page and not helped.way:
            # Where GNU tools are not the system's own, their names begin with g; here they do not.
            name, act = part.page.name, part.acts[0]
            if name not in act.split() or name == "echo" or not act.startswith(f"{name} "):
                return part, (), asks, no_change
            text = part.text + rng.choice(
                list(wordings((" (g{t})", ", use g{t}", " with g{t}", " by g{t}"), names.share))
            ).format(t=name)

            def without_g(steps: list[Step]) -> list[Step]:
                at = next(n for n, step in enumerate(steps) if step.command == act)
                return [*steps[:at], Step(f"g{act}"), *steps[at:]]

            changed = msgspec.structs.replace(part, text=text, slips=(), fails=())
            return changed, (), asks, without_g
        case "renamed" if part.scripts and helped.way == "see":
            return _renamed(part, asks, rng)
    return part, (), asks, no_change


def no_change(steps: list[Step]) -> list[Step]:
    """The steps as they are."""
    return steps


def _may_move(part: Part) -> bool:
    """Whether the input of ``part`` may lie in another folder than its directive says."""
    return (
        part.source in part.files
        and "/" not in part.source
        and " " not in part.source
        and not any(part.source in path for path in part.made)
        and len(part.files) == 1
        and any(part.source in look for look in part.looks)
        and not part.acts[0].startswith(("mv ", "ln ", "rm ", "split "))
        and len(part.acts) == 1
        and part.source in part.acts[0]
    )


def _moved(part: Part, place: str) -> Part:
    """``part`` with its input at ``place``, which its directive does not say."""
    bare = re.compile(rf"(?<![\w./-]){re.escape(part.source)}(?![\w./-])")

    def there(commands: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(bare.sub(place, command) for command in commands)

    return msgspec.structs.replace(
        part,
        source=place,
        acts=there(part.acts),
        files={place: part.files[part.source]},
        checks=there(part.checks),
        looks=there(part.looks),
        verifies=there(part.verifies),
        slips=there(part.slips),
        fails=there(part.fails),
    )


def _renamed(
    part: Part, asks: tuple[str, ...], rng: Random
) -> tuple[Part, tuple[str, ...], tuple[str, ...], Sessions]:
    """``part`` whose program has another name here: the old one with something after it."""
    path, script = next(iter(part.scripts.items()))
    old = path.rpartition("/")[2]
    new = old + rng.choice(("2", "-2", "3", ".new", "-x"))
    word = re.compile(rf"(?<![\w/-]){re.escape(old)}(?![\w-])")

    def there(commands: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(word.sub(new, command) for command in commands)

    changed = msgspec.structs.replace(
        part,
        acts=there(part.acts),
        fails=there(part.fails),
        scripts={f"{_BIN}/{new}": word.sub(new, script)},
    )
    return changed, (), (*asks, f"ls {_BIN}", f"{new} --help"), no_change
