"""Filters of lines: what one stage of a pipeline does, alone or with another behind it."""

from __future__ import annotations

import base64
from collections.abc import Callable

import msgspec

from sekft_engine.factory.archetypes.wordings import more_wordings
from sekft_engine.factory.part import (
    Archetype,
    Desk,
    Gap,
    Page,
    Part,
    content,
    holds,
    reading,
    showing,
)


class Stage(msgspec.Struct, frozen=True):
    """What a filter does with given lines.

    Attributes:
        command: without its input and output.
        out: the lines that come out.
        fields: values for the wordings.
        slip: a command that a beginner might type instead; empty = none.
        lacks: why it is impossible with these lines; empty = it is possible.
    """

    command: str
    out: list[str]
    fields: dict[str, str] = {}
    slip: str = ""
    lacks: str = ""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """A filter: its stage, whole directives, and phrases for it in a pipeline.

    Attributes:
        name: of the archetype.
        stage: what it does with lines.
        rows: fixtures; None = plain lines.
        say: directives with ``{source}`` and ``{target}``.
        clause: imperative phrases about "the lines", for pipelines; empty = it is in none.
        stdin: the program reads its standard input only.
        page: of its program.
        can_lack: whether its input may lack what is asked for.
    """

    name: str
    stage: Callable[[Desk, list[str]], Stage]
    say: tuple[str, ...]
    clause: tuple[str, ...] = ()
    rows: Callable[[Desk], list[str]] | None = None
    stdin: bool = False
    page: Page | None = None
    can_lack: bool = False

    def archetype(self) -> Archetype:
        return Archetype(
            name=self.name,
            make=self._part,
            wordings=self.say,
            page=self.page,
            can_lack=self.can_lack,
        )

    def _part(self, desk: Desk) -> Part:
        rows = (self.rows or _plain)(desk)
        stage = self.stage(desk, rows)
        source, target = desk.path(), desk.target()
        begin = "< " if self.stdin else ""
        slips = [f"cat {source} > {target}"] if stage.out != rows else []
        if stage.slip:
            slips.append(f"{stage.slip} {begin}{source} > {target}")
        gap = Gap((f"cat {source}",), f"{stage.lacks} in {source}") if stage.lacks else None
        return Part(
            fields={"source": source, "target": target, **stage.fields},
            acts=(f"{stage.command} {begin}{source} > {target}",),
            files={source: content(rows)},
            checks=(holds(target, stage.out), holds(source, rows)),
            source=source,
            made=(target,),
            looks=reading(source),
            verifies=showing(target),
            slips=tuple(slips),
            gap=gap,
        )


def chain(first: Filter, second: Filter) -> Archetype:
    """Two filters in one pipeline, described in one sentence."""

    def make(desk: Desk) -> Part:
        rows = (first.rows or _plain)(desk)
        one = first.stage(desk, rows)
        two = second.stage(desk, one.out)
        source, target, more = desk.path(), desk.target(), more_wordings()
        clauses = [
            desk.say(each.clause, more.clauses.get(each.name, ())).format(**stage.fields)
            for each, stage in ((first, one), (second, two))
        ]
        begin = "< " if first.stdin else ""
        text = desk.say(_CHAINS, more.chains).format(
            source=source, target=target, one=clauses[0], two=clauses[1]
        )
        slips = [f"{one.command} {begin}{source} > {target}"] if one.out != two.out else []
        return Part(
            fields={},
            acts=(f"{one.command} {begin}{source} | {two.command} > {target}",),
            files={source: content(rows)},
            checks=(holds(target, two.out), holds(source, rows)),
            source=source,
            made=(target,),
            looks=reading(source),
            verifies=showing(target),
            slips=tuple(slips),
            text=text,
        )

    return Archetype(name=f"{first.name}+{second.name}", make=make)


_CHAINS = (
    "Of {source}, {one}, then {two}; the result belongs into {target}",
    "Take {source}, {one}, {two}, and write that to {target}",
    "From {source} make {target}: {one}, then {two}",
    "{target} is made from {source}: first {one}, then {two}",
    "With the text of {source}, {one} and after that {two}; save it as {target}",
    "Read {source}, {one}; next {two}. Result in {target}",
    "Two steps for {source}: {one}, and {two}. Keep the outcome as {target}",
    "Produce {target} out of {source}. Step one: {one}. Step two: {two}",
)


def _plain(desk: Desk) -> list[str]:
    return desk.lines()


def sort(_: Desk, rows: list[str]) -> Stage:
    return Stage("sort", sorted(rows), slip="sort -r")


def sort_reverse(_: Desk, rows: list[str]) -> Stage:
    return Stage("sort -r", sorted(rows, reverse=True), slip="sort")


def numbers(desk: Desk) -> list[str]:
    count = desk.number(4, 6)
    return [str(number) for number in desk.rng.sample(range(2, 400), count)]


def sort_numbers(_: Desk, rows: list[str]) -> Stage:
    return Stage("sort -n", sorted(rows, key=int), slip="sort")


def repeated(desk: Desk) -> list[str]:
    rows = desk.words(desk.number(3, 4))
    rows += desk.rng.sample(rows, 2)
    desk.rng.shuffle(rows)
    return rows


def unique(_: Desk, rows: list[str]) -> Stage:
    return Stage("sort -u", sorted(set(rows)), slip="sort")


def head(desk: Desk, rows: list[str]) -> Stage:
    number = desk.number(1, max(1, min(4, len(rows) - 1)))
    return Stage(f"head -n {number}", rows[:number], {"n": str(number)}, f"tail -n {number}")


def tail(desk: Desk, rows: list[str]) -> Stage:
    number = desk.number(1, max(1, min(4, len(rows) - 1)))
    return Stage(f"tail -n {number}", rows[-number:], {"n": str(number)}, f"head -n {number}")


def nth(desk: Desk, rows: list[str]) -> Stage:
    if desk.lacking:
        number = len(rows) + desk.number(2, 9)
        return Stage(
            f"sed -n {number}p", [], {"n": str(number)}, lacks=f"there is no line {number}"
        )
    number = desk.number(1, len(rows))
    return Stage(f"sed -n {number}p", [rows[number - 1]], {"n": str(number)}, f"head -n {number}")


def mixed(desk: Desk) -> list[str]:
    """Lines of two words, of which one word is in two lines and not in the others."""
    key, *others = desk.words(6)
    rows = [f"{key} {others[0]}", f"{others[1]} {others[2]}", f"{others[3]} {key}", others[4]]
    desk.rng.shuffle(rows)
    return rows


def _key(desk: Desk, rows: list[str]) -> str:
    """A word of ``rows``, if possible one that is not in all of them."""
    words = [word for row in rows for word in row.split() if word.isalpha()]
    some = [word for word in words if words.count(word) > 1 and not all(word in r for r in rows)]
    return desk.pick(sorted(set(some or words)))


def matching(desk: Desk, rows: list[str]) -> Stage:
    if desk.lacking:
        key = desk.word()
        return Stage(f"grep {key}", [], {"word": key}, lacks=f"there is no {key}")
    key = _key(desk, rows)
    return Stage(f"grep {key}", [r for r in rows if key in r], {"word": key}, f"grep -v {key}")


def without(desk: Desk, rows: list[str]) -> Stage:
    key = _key(desk, rows)
    return Stage(f"grep -v {key}", [r for r in rows if key not in r], {"word": key}, f"grep {key}")


def count(_: Desk, rows: list[str]) -> Stage:
    return Stage("wc -l", [str(len(rows))], slip="wc -w")


def count_words(_: Desk, rows: list[str]) -> Stage:
    return Stage("wc -w", [str(sum(len(row.split()) for row in rows))], slip="wc -c")


def count_with(desk: Desk, rows: list[str]) -> Stage:
    key = _key(desk, rows)
    out = str(sum(key in row for row in rows))
    return Stage(f"grep -c {key}", [out], {"word": key}, f"grep {key}")


def upper(_: Desk, rows: list[str]) -> Stage:
    return Stage("tr a-z A-Z", [row.upper() for row in rows], slip="tr A-Z a-z")


def shouting(desk: Desk) -> list[str]:
    return [row.upper() for row in desk.lines()]


def lower(_: Desk, rows: list[str]) -> Stage:
    return Stage("tr A-Z a-z", [row.lower() for row in rows], slip="tr a-z A-Z")


def reverse(_: Desk, rows: list[str]) -> Stage:
    return Stage("tac", rows[::-1], slip="sort -r")


def number(_: Desk, rows: list[str]) -> Stage:
    return Stage("cat -n", [f"{at:6}\t{row}" for at, row in enumerate(rows, 1)])


def begin(desk: Desk, rows: list[str]) -> Stage:
    word = desk.word()
    return Stage(
        f"sed s/^/{word}/", [word + row for row in rows], {"word": word}, f"sed s/$/{word}/"
    )


def end(desk: Desk, rows: list[str]) -> Stage:
    word = desk.word()
    return Stage(
        f"sed s/$/{word}/", [row + word for row in rows], {"word": word}, f"sed s/^/{word}/"
    )


def exchange(desk: Desk, rows: list[str]) -> Stage:
    old, new = _key(desk, rows), desk.word()
    out = [row.replace(old, new) for row in rows]
    return Stage(f"sed s/{old}/{new}/g", out, {"old": old, "new": new}, f"sed s/{new}/{old}/g")


def join(desk: Desk, rows: list[str]) -> Stage:
    sign, name = desk.rng.choice(((",", "commas"), (":", "colons"), ("+", "plus signs")))
    return Stage(f"paste -s -d{sign}", [sign.join(rows)], {"name": name})


def few(desk: Desk) -> list[str]:
    """So few that their base64 form is one line."""
    return desk.words(desk.number(2, 3))


def encode(_: Desk, rows: list[str]) -> Stage:
    return Stage("base64", [base64.b64encode(content(rows).encode()).decode()])


def drop_letter(desk: Desk, rows: list[str]) -> Stage:
    letter = desk.pick(sorted({char for row in rows for char in row if char.isalpha()} or {"a"}))
    return Stage(f"tr -d {letter}", [row.replace(letter, "") for row in rows], {"letter": letter})
